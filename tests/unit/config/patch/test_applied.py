"""Patches of a whole bootstrap: what comes of them, and who is to blame."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxeny.config.errors import ConfigError
from proxeny.config.loader import LoadedBootstrap, LoadOptions, load_bootstrap

ECHO = "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo"
CONFIG = f"""
node: {{id: sidecar~1}}
static_resources:
  listeners:
  - name: one
    address: {{socket_address: {{address: 127.0.0.1, port_value: 1}}}}
    filter_chains: [{{filters: [{{name: echo, typed_config: {{'@type': {ECHO}}}}}]}}]
  - name: two
    address: {{socket_address: {{address: 127.0.0.1, port_value: 2}}}}
    filter_chains: [{{filters: [{{name: echo, typed_config: {{'@type': {ECHO}}}}}]}}]
  clusters:
  - {{name: a, connect_timeout: 1s}}
  - {{name: b, connect_timeout: 1s}}
"""


def load(folder: Path, *patches: str, config: str = CONFIG, **options: object) -> LoadedBootstrap:
    files = []
    for index, patch in enumerate(patches):
        (folder / f"{index}.yaml").write_text(patch)
        files.append(str(folder / f"{index}.yaml"))
    return load_bootstrap(None, config, options=LoadOptions(patch=tuple(files), **options))  # type: ignore[arg-type]


def one(kind: str, operation: str, match: str = "{}", value: str = "") -> str:
    with_value = f", value: {value}" if value else ""
    return f"configPatches: [{{applyTo: {kind}, match: {match}, patch: {{operation: {operation}{with_value}}}}}]"


def test_listeners_clusters_and_the_bootstrap(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        one("LISTENER", "REMOVE", "{listener: {name: one}}"),
        one("CLUSTER", "REMOVE", "{cluster: {name: b}}"),
        one("CLUSTER", "ADD", "{context: SIDECAR_OUTBOUND}", "{name: c, connect_timeout: 1s}"),
        one("CLUSTER", "ADD", "{context: GATEWAY}", "{name: d, connect_timeout: 1s}"),
        one("BOOTSTRAP", "MERGE", "{}", "{static_resources: {clusters: [{name: e, connect_timeout: 1s}]}}"),
        one("CLUSTER", "MERGE", "{cluster: {name: e}}", "{connect_timeout: 2s}"),
        one("BOOTSTRAP", "MERGE", "{context: GATEWAY}", "{header_prefix: x-own}"),
    )
    resources = loaded.bootstrap.static_resources
    assert [listener.name for listener in resources.listeners] == ["two"]
    assert [(cluster.name, cluster.connect_timeout.seconds) for cluster in resources.clusters] == [
        ("a", 1),
        ("e", 2),
        ("c", 1),
    ]
    assert loaded.bootstrap.header_prefix == ""
    assert loaded.patches is not None
    assert (loaded.patches.applied, loaded.patches.unmatched) == (5, 2)
    assert len(loaded.patches.summary) == 5
    assert len([text for text in loaded.warnings if text.endswith("matches nothing")]) == 2


def test_the_node_of_the_command_line_decides(tmp_path: Path) -> None:
    patch = one("BOOTSTRAP", "MERGE", "{context: GATEWAY}", "{stats_flush_interval: 7s}")
    assert load(tmp_path, patch, service_node="router~1").bootstrap.stats_flush_interval.seconds == 7


def test_places_are_counted_when_they_are_many(tmp_path: Path) -> None:
    config = "{static_resources: {clusters: [" + ", ".join(f"{{name: c{i}}}" for i in range(7)) + "]}}"
    loaded = load(tmp_path, one("CLUSTER", "MERGE", "{}", "{connect_timeout: 1s}"), config=config)
    assert loaded.patches is not None
    text = loaded.patches.summary[0]
    assert text.endswith("cluster 'c0', cluster 'c1', cluster 'c2', cluster 'c3' and 3 more")


def test_the_first_patch_that_spoils_the_configuration_is_named(tmp_path: Path) -> None:
    good = one("CLUSTER", "MERGE", "{}", "{alt_stat_name: x}")
    bad = one("CLUSTER", "MERGE", "{cluster: {name: b}}", "{dns_refresh_rate: 0s}")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, good, bad, good)
    assert str(caught.value).startswith(
        f"{tmp_path}/1.yaml, configPatches[0] (MERGE CLUSTER) leaves a configuration that is refused: "
        "static_resources.clusters[1].dns_refresh_rate: Proto constraint validation failed"
    )


def test_unsupported_fields_of_a_patch_name_it(tmp_path: Path) -> None:
    patch = one("LISTENER", "MERGE", "{listener: {name: two}}", "{fcds_config: {name: x}}")
    with pytest.raises(ConfigError, match=r"0\.yaml, configPatches\[0\] \(MERGE LISTENER\) leaves .*not supported"):
        load(tmp_path, patch)
    assert load(tmp_path, patch, accept_unsupported_fields=True).unsupported_fields


def test_a_configuration_that_is_wrong_by_itself_keeps_its_place(tmp_path: Path) -> None:
    config = CONFIG.replace("name: b, connect_timeout: 1s", "name: b, connect_timeout: -1s")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, one("CLUSTER", "REMOVE", "{cluster: {name: a}}"), config=config)
    assert str(caught.value).startswith("--config-yaml:13: static_resources.clusters[1].connect_timeout: Invalid")


def test_a_configuration_can_be_mended_by_a_patch(tmp_path: Path) -> None:
    config = CONFIG.replace("name: b, connect_timeout: 1s", "name: b, connect_timeout: -1s")
    loaded = load(tmp_path, one("CLUSTER", "MERGE", "{cluster: {name: b}}", "{connect_timeout: 1s}"), config=config)
    assert loaded.bootstrap.static_resources.clusters[1].connect_timeout.seconds == 1


def test_unknown_fields_are_counted_once(tmp_path: Path) -> None:
    patch = one("CLUSTER", "MERGE", "{}", "{connect_time: 1s, alt_stat_name: x}")
    loaded = load(tmp_path, patch, allow_unknown_static_fields=True)
    assert loaded.unknown_fields == 1
    assert any("connect_time" in text for text in loaded.warnings)
