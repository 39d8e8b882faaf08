"""Runtime layers and readings; the expectations are Envoy's answers for the same layers."""

import asyncio
from pathlib import Path

import pytest
from envoy.config.bootstrap.v3 import bootstrap_pb2
from google.protobuf import json_format

from proxeny.config.errors import ConfigError
from proxeny.runtime.loader import LOAD_ERROR, LOAD_SUCCESS, NUM_KEYS, NUM_LAYERS, RuntimeLoader
from proxeny.runtime.snapshot import RuntimeReader, Snapshot, make_entry
from proxeny.stats.store import MainStore


def load(*layers: dict[str, object], cluster: str = "") -> RuntimeLoader:
    bootstrap = json_format.ParseDict({"layered_runtime": {"layers": list(layers)}}, bootstrap_pb2.Bootstrap())
    return RuntimeLoader(bootstrap, MainStore(), cluster)


def test_no_layers_are_one_admin_layer() -> None:
    runtime = load()
    runtime.merge_admin_values({"a": "1"})
    assert runtime.layer_table() == ([""], {"a": ["1"]})
    absent = RuntimeLoader(bootstrap_pb2.Bootstrap(), MainStore())
    with pytest.raises(ConfigError, match="No admin layer specified"):
        absent.merge_admin_values({"a": "1"})


def test_a_disk_layer_must_be_watchable(tmp_path: Path) -> None:
    root = str(tmp_path / "no" / "root")
    with pytest.raises(ConfigError, match=f"unable to add filesystem watch for file {root}: No such file"):
        load({"name": "d", "disk_layer": {"symlink_root": root}})
    with pytest.raises(ConfigError, match="invalid file path "):
        load({"name": "d", "disk_layer": {"subdirectory": "x"}})


async def _swapped(root: Path) -> int:
    """The value of ``a`` after ``root`` was replaced by another link."""
    loop = asyncio.get_running_loop()
    layer = {"name": "d", "disk_layer": {"symlink_root": str(root)}}
    bootstrap = json_format.ParseDict({"layered_runtime": {"layers": [layer]}}, bootstrap_pb2.Bootstrap())
    runtime = RuntimeLoader(bootstrap, MainStore(), loop=loop)
    assert runtime.get_integer("a", 0) == 1
    changed = asyncio.Event()
    runtime.on_change = lambda snapshot: changed.set()
    (root.parent / "new").symlink_to("v2")
    (root.parent / "new").rename(root)
    await asyncio.wait_for(changed.wait(), 20)
    runtime.close()
    return runtime.get_integer("a", 0)


def test_a_disk_layer_is_read_again_when_its_root_is_replaced(tmp_path: Path) -> None:
    for version in ("1", "2"):
        (tmp_path / f"v{version}").mkdir()
        (tmp_path / f"v{version}" / "a").write_text(version)
    (tmp_path / "current").symlink_to("v1")
    assert asyncio.run(_swapped(tmp_path / "current")) == 2


def test_static_layer() -> None:
    runtime = load(
        {
            "name": "s",
            "static_layer": {
                "a": 1,
                "b": {"c": "true", "d": 1.5, "e": "numerator: 5"},
                "f": {"numerator": 5},
                "g": "7",
                "neg": "-4",
                "t": True,
            },
        }
    )
    assert runtime.get_integer("a", 0) == 1
    assert not runtime.get_boolean("b.c", False)
    assert runtime.get_integer("b.d", 0) == 1
    assert not runtime.feature_enabled("b.e", 0, 100, 0)
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
