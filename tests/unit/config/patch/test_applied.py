"""Patches of a whole bootstrap: what comes of them, and who is to blame."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

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
    assert (
        len([text for text in loaded.warnings if "matches nothing: nothing here has the context GATEWAY" in text]) == 2
    )


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


def test_a_context_that_nothing_has_is_named(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        one("LISTENER", "MERGE", "{context: GATEWAY}", "{stat_prefix: x}"),
        one("CLUSTER", "MERGE", "{context: SIDECAR_OUTBOUND, cluster: {name: x}}", "{alt_stat_name: x}"),
    )
    first, second = loaded.warnings
    assert first.endswith("(MERGE LISTENER) matches nothing: nothing here has the context GATEWAY")
    assert second.endswith("(MERGE CLUSTER) matches nothing")


SCALARS = [None, True, -1, 0, 5, 1e308, "", "x", "$", "\x00", [], {}, [[]], [None], {"": None}, {"@type": "a/b"}]


def mutated(random: Random, tree: object) -> object:
    """The tree with a part of it replaced, dropped or doubled."""
    if isinstance(tree, dict) and tree and random.random() < 0.9:
        key = random.choice(sorted(tree))
        kept = {name: value for name, value in tree.items() if name != key or random.random() < 0.95}
        if key in kept:
            kept[key if random.random() < 0.95 else key + "x"] = mutated(random, kept[key])
        return kept
    if isinstance(tree, list) and tree and random.random() < 0.9:
        index = random.randrange(len(tree))
        return [*tree[:index], mutated(random, tree[index]), *tree[index + (random.random() < 0.9) :]]
    return random.choice(SCALARS)


def test_no_patch_file_does_worse_than_be_refused(tmp_path: Path) -> None:
    """Whatever is in it: the configuration is loaded or a ConfigError says why not."""
    echo = {"name": "echo", "typed_config": {"@type": ECHO}}
    chain = {"name": "", "sni": "", "filter": {"name": "echo"}}
    entries = [
        {"applyTo": kind, "match": {"context": "ANY", "listener": {"portNumber": 1, "filterChain": chain}},
         "patch": {"operation": operation, "value": echo}}
        for kind in ("NETWORK_FILTER", "HTTP_FILTER")
        for operation in ("MERGE", "ADD", "INSERT_BEFORE")
    ]  # fmt: skip
    entries.append({"applyTo": "CLUSTER", "patch": {"operation": "MERGE", "value": {"connect_timeout": "2s"}}})
    spec = {"priority": 1, "workloadSelector": {"labels": {"a": "b"}}, "configPatches": entries}
    resource = {"apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter", "metadata": {"name": "x"}}
    listed = {"apiVersion": "v1", "kind": "List", "items": [{**resource, "spec": spec}]}
    random = Random(5)
    outcomes = {"loaded": 0, "refused": 0}
    for round in range(400):
        tree = random.choice([listed, spec, {**spec, "configPatches": [random.choice(entries)]}])
        for _ in range(round % 4 + 1):
            tree = mutated(random, tree)  # type: ignore[assignment]
        try:
            load(tmp_path, json.dumps(tree))
            outcomes["loaded"] += 1
        except ConfigError as error:
            assert str(error)
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 10, outcomes
