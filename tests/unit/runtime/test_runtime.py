"""Runtime layers and readings; the expectations are Envoy's answers for the same layers."""

from pathlib import Path

import pytest
from envoy.config.bootstrap.v3 import bootstrap_pb2
from google.protobuf import json_format

from proxeny.config.errors import ConfigError
from proxeny.runtime.loader import LOAD_ERROR, LOAD_SUCCESS, NUM_KEYS, NUM_LAYERS, RuntimeLoader
from proxeny.runtime.snapshot import RuntimeReader, Snapshot, make_entry
from proxeny.stats.store import MainStore


def load(*layers: dict[str, object], cluster: str = "") -> RuntimeLoader:
    layered = json_format.ParseDict({"layers": list(layers)}, bootstrap_pb2.LayeredRuntime())
    return RuntimeLoader(layered, MainStore(), cluster)


def test_static_layer() -> None:
    runtime = load(
        {
            "name": "s",
            "static_layer": {
                "a": 1,
                "b": {"c": "true", "d": 1.5},
                "f": {"numerator": 5},
                "g": "7",
                "neg": "-4",
                "t": True,
            },
        }
    )
    assert runtime.get_integer("a", 0) == 1
    assert runtime.get_boolean("b.c", False)
    assert runtime.get_boolean("t", False)
    assert runtime.get_float("b.d", 0.0) == 1.5
    assert runtime.get_integer("g", 0) == 7
    assert runtime.get_integer("neg", 9) == 9
    assert runtime.get_float("neg", 0.0) == -4.0
    assert runtime.get_integer("missing", 3) == 3
    assert [runtime.feature_enabled("f", 0, 100, value) for value in (4, 5, 104)] == [True, False, True]
    assert [runtime.feature_enabled("g", 0, 100, value) for value in (6, 7)] == [True, False]
    assert runtime.feature_enabled("missing", 1, 10_000, 10_000)


def test_disk_layer(tmp_path: Path) -> None:
    (tmp_path / "envoy" / "sub").mkdir(parents=True)
    (tmp_path / "envoy" / "a").write_text("5\n")
    (tmp_path / "envoy" / "sub" / "b").write_text("# comment\nhello\n")
    (tmp_path / "envoy" / "frac").write_text("numerator: 3\ndenominator: TEN_THOUSAND\n")
    runtime = load(
        {"name": "s", "static_layer": {"a": 1}},
        {"name": "d", "disk_layer": {"symlink_root": str(tmp_path), "subdirectory": "envoy"}},
        {"name": "o", "disk_layer": {"symlink_root": str(tmp_path / "x"), "append_service_cluster": True}},
        {"name": "ad", "admin_layer": {}},
    )
    assert runtime.get_integer("a", 0) == 5
    assert runtime.snapshot.entries["sub.b"].raw == "hello"
    assert runtime.snapshot.entries["frac"].fraction == (3, 10_000)
    assert runtime.layer_table()[0] == ["s", "d", "ad"]
    assert runtime.layer_table()[1]["a"] == ["1", "5", ""]
    runtime.merge_admin_values({"a": "77"})
    assert runtime.get_integer("a", 0) == 77
    runtime.merge_admin_values({"a": ""})
    assert runtime.get_integer("a", 0) == 5


def test_stats_and_changes() -> None:
    runtime = load({"name": "s", "static_layer": {"a": 1}}, {"name": "ad", "admin_layer": {}})
    changes: list[Snapshot] = []
    runtime.on_change = changes.append
    runtime.merge_admin_values({"x": "1"})
    stats = runtime._stats
    assert (stats.get(LOAD_SUCCESS), stats.get(LOAD_ERROR), stats.get(NUM_KEYS), stats.get(NUM_LAYERS)) == (2, 0, 2, 2)
    worker = RuntimeReader(Snapshot.from_json(changes[0].to_json()))
    assert worker.get_integer("x", 0) == 1


@pytest.mark.parametrize(
    ("layers", "text"),
    [
        ([{"name": "s", "static_layer": {"a": [1]}}], "Invalid runtime entry value for a"),
        ([{"name": "s", "static_layer": {"a": {"b": None}}}], "Invalid runtime entry value for a.b"),
        ([{"name": "s", "admin_layer": {}}, {"name": "t", "admin_layer": {}}],
         "Too many admin layers specified in LayeredRuntime, at most one may be specified"),
        ([{"name": "s", "admin_layer": {}}, {"name": "s", "static_layer": {}}], "Duplicate layer name: s"),
    ],
)  # fmt: skip
def test_layers_that_are_refused(layers: list[dict[str, object]], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(*layers)
    assert caught.value.message == text


@pytest.mark.parametrize("text", ["1_0", "٣", "nan", "inf", "0x10", "1e999", "", "-", "e"])
def test_texts_that_are_no_numbers(text: str) -> None:
    assert make_entry(text).number is None
