"""Files to patches: forms, order, refusals with their place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxeny.config.errors import ConfigError
from proxeny.config.patch.reader import PatchFiles, read_patches

HEAD = "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\n"
ONE = "{configPatches: [{applyTo: LISTENER, patch: {operation: MERGE, value: {name: a}}}]}"


def read(folder: Path, text: str, name: str = "p.yaml", allow_unknown: bool = False) -> PatchFiles:
    (folder / name).write_text(text)
    return read_patches([str(folder / name)], allow_unknown)


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        (ONE, ["configPatches[0]"]),
        (f"{HEAD}spec: {ONE}", ["configPatches[0]"]),
        (f"{HEAD}metadata: {{name: one, namespace: space, labels: {{a: b}}}}\nspec: {ONE}\nstatus: {{}}",
         ["EnvoyFilter space/one, configPatches[0]"]),
        (f"# first\n---\n{HEAD}metadata: {{name: one}}\nspec: {ONE}\n---\n---\n{ONE}\n",
         ["document 1: EnvoyFilter one, configPatches[0]", "document 3, configPatches[0]"]),
        ("apiVersion: v1\nkind: List\nitems:\n- apiVersion: networking.istio.io/v1alpha3\n  kind: EnvoyFilter\n"
         f"  metadata: {{name: one}}\n  spec: {ONE}\n", ["EnvoyFilter one, items[0].configPatches[0]"]),
        ("apiVersion: v1\nkind: List\n", []),
        (f"{HEAD}spec: {{}}", []),
        (f"{HEAD}metadata: 5", []),
    ],
)  # fmt: skip
def test_forms(tmp_path: Path, text: str, origins: list[str]) -> None:
    found = [patch.origin.replace(str(tmp_path / "p.yaml"), "") for patch in read(tmp_path, text).patches]
    assert [origin.lstrip(":, ") for origin in found] == origins


def test_json(tmp_path: Path) -> None:
    spec = {"configPatches": [{"applyTo": "LISTENER", "patch": {"operation": "MERGE", "value": {"name": "a"}}}]}
    resource = {"apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter", "spec": spec}
    (patch,) = read(tmp_path, json.dumps(resource, indent="\t"), "p.json").patches
    assert patch.value.name == "a"


def test_priority_comes_first_then_the_order_of_files(tmp_path: Path) -> None:
    texts = {"a.yaml": (5, 0), "b.yaml": (-1, 0), "c.yaml": (0,)}
    for name, priorities in texts.items():
        documents = [ONE.replace("{configPatches", f"{{priority: {priority}, configPatches") for priority in priorities]
        (tmp_path / name).write_text("\n---\n".join(documents))
    patches = read_patches([str(tmp_path / name) for name in texts]).patches
    shown = [patch.origin.removeprefix(str(tmp_path) + "/").removesuffix(", configPatches[0]") for patch in patches]
    assert shown == [
        "b.yaml, document 1",
        "a.yaml, document 2",
        "b.yaml, document 2",
        "c.yaml",
        "a.yaml, document 1",
    ]


def entry(text: str) -> str:
    return f"configPatches:\n- {{applyTo: LISTENER, patch: {{operation: REMOVE}}}}\n- {text}\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "p.yaml: no EnvoyFilter in it"),
        ("[]", "p.yaml: not an EnvoyFilter: not a mapping"),
        ("{a: 1}", "neither an EnvoyFilter"),
        ("a: 1\nb: c: d", "p.yaml:2: yaml: mapping values"),
        ("apiVersion: v1\nkind: Service", "p.yaml:2: kind: kind 'Service' is not EnvoyFilter"),
        ("kind: EnvoyFilter", "p.yaml:1: apiVersion: apiVersion 'None' is not networking.istio.io/v1alpha3"),
        (f"{HEAD}specs: {{}}", "p.yaml:3: specs: an EnvoyFilter has no such field: 'specs'"),
        (f"{HEAD}spec: 5", "p.yaml:3: spec: Unable to parse JSON as proto"),
        (f"{HEAD}spec: {{configPatch: []}}",
         r"p.yaml:3: spec.configPatch: Protobuf message \(type istio.networking.v1alpha3.EnvoyFilter reason "
         "INVALID_ARGUMENT: no such field: 'configPatch'"),
        (f"{HEAD}---\n{HEAD}spec: {{a: 1}}", "document 1: apiVersion|document 2: spec.a"),
        ("apiVersion: v1\nkind: List\nitems: [{kind: EnvoyFilter}]", r"p.yaml:3: items\[0\].apiVersion: apiVersion"),
        ("apiVersion: v1\nkind: List\nitems: {a: 1}", "p.yaml:3: items: not a list"),
        ("workloadSelector: {labels: {a: b}}\ntargetRefs: [{kind: a, name: b}]\nconfigPatches: []",
         "only one of targetRefs or workloadSelector"),
        (entry("{}"), r"p.yaml:3: config_patches\[1\].apply_to: missing applyTo"),
        (entry("{applyTo: LISTENERS}"), "LISTENERS"),
        (entry("{applyTo: 99}"), r"config_patches\[1\].apply_to: ApplyTo has no value 99"),
        (entry("{applyTo: LISTENER, match: {context: 99}}"), "match.context: Context has no value 99"),
        ("apiVersion: [1]\nkind: [1]", r"kind '\[1\]' is not EnvoyFilter"),
        (entry("{applyTo: LISTENER}"), r"config_patches\[1\].patch: missing patch"),
        (entry("{applyTo: LISTENER, patch: {value: {}}}"), "patch.operation: missing patch operation"),
        (entry("{applyTo: LISTENER, patch: {operation: ADD}}"), "patch.value: missing patch value for non-remove"),
        (entry("{applyTo: LISTENER, patch: {operation: REPLACE, value: {}}}"),
         "REPLACE is not an operation of LISTENER: MERGE, ADD, REMOVE, MERGE_AND_REPLACE_LIST are"),
        (entry("{applyTo: ROUTE_CONFIGURATION, patch: {operation: INSERT_FIRST, value: {}}}"), "is not an operation"),
        (entry("{applyTo: HTTP_FILTER, patch: {operation: MERGE_AND_REPLACE_LIST, value: {}}}"), "is not an operation"),
        (entry("{applyTo: LISTENER, match: {context: WAYPOINT}, patch: {operation: REMOVE}}"), "WAYPOINT is not supp"),
        (entry("{applyTo: LISTENER, match: {cluster: {}}, patch: {operation: REMOVE}}"),
         "match.cluster: applyTo for listener class objects cannot have non listener match"),
        (entry("{applyTo: HTTP_ROUTE, match: {cluster: {}}, patch: {operation: REMOVE}}"), "non route configuration"),
        (entry("{applyTo: CLUSTER, match: {listener: {}}, patch: {operation: REMOVE}}"), "non cluster match"),
        (entry("{applyTo: CLUSTER, match: {listener: {}, cluster: {}}, patch: {operation: REMOVE}}"), "only one of"),
        (entry("{applyTo: LISTENER, match: {proxy: {proxyVersion: '('}}, patch: {operation: REMOVE}}"),
         "match.proxy.proxy_version: invalid regex for proxy version: missing"),
        (entry("{applyTo: LISTENER, match: {proxy: {proxyVersion: " + "a" * 1025 + "}}, patch: {operation: REMOVE}}"),
         "longer than 1024"),
        (entry("{applyTo: NETWORK_FILTER, patch: {operation: REMOVE}}"),
         "match: REMOVE NETWORK_FILTER needs a match of listener.filterChain.filter"),
        (entry("{applyTo: HTTP_FILTER, match: {listener: {filterChain: {filter: {name: x}}}}, "
               "patch: {operation: REPLACE, value: {}}}"), "needs a match of listener.filterChain.filter.subFilter"),
        (entry("{applyTo: LISTENER_FILTER, patch: {operation: MERGE, value: {}}}"), "listener.listenerFilter"),
        (entry("{applyTo: NETWORK_FILTER, match: {listener: {filterChain: {filter: {}}}}, "
               "patch: {operation: ADD, value: {}}}"), "filter match has no name to match on"),
        (entry("{applyTo: NETWORK_FILTER, match: {listener: {filterChain: {filter: {name: a, subFilter: {name: b}}}}}, "
               "patch: {operation: ADD, value: {}}}"), "subfilter match can be used with applyTo HTTP_FILTER only"),
        (entry("{applyTo: HTTP_FILTER, match: {listener: {filterChain: {filter: {name: a, subFilter: {name: b}}}}}, "
               "patch: {operation: ADD, value: {}}}"), "subfilter match requires filter match with envoy.filters"),
        (entry("{applyTo: HTTP_FILTER, match: {listener: {filterChain: {filter: {name: "
               "envoy.filters.network.http_connection_manager, subFilter: {}}}}}, patch: {operation: ADD, value: {}}}"),
         "subfilter match has no name"),
        (entry("{applyTo: LISTENER,\n   patch: {operation: MERGE,\n   value: {enable_reuse_prt: true}}}"),
         r"p.yaml:5: config_patches\[1\].patch.value.enable_reuse_prt: .*Listener reason .*no such field"),
        (entry("{applyTo: LISTENER, patch: {operation: MERGE, value: {enableReusePort: 5}}}"),
         "patch.value.enableReusePort: .*expected 'true' or 'false'"),
        (entry("{applyTo: NETWORK_FILTER, patch: {operation: ADD, value: {name: a, typed_config: {'@type': a/b.C}}}}"),
         "patch.value.typed_config.@type\"?.*could not find @type 'a/b.C'|could not find @type 'a/b.C'"),
    ],
)  # fmt: skip
def test_refusals(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read(tmp_path, text)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Invalid path: /none \(No such file"):
        read_patches(["/none"])
    (tmp_path / "p.yaml").write_bytes(b"a: \xff")
    with pytest.raises(ConfigError, match=r"p\.yaml: the file is not valid UTF-8"):
        read_patches([str(tmp_path / "p.yaml")])
    with pytest.raises(ConfigError, match=r"p\.json:1"):
        read(tmp_path, "{", "p.json")


def test_insertions_become_additions_where_order_means_nothing(tmp_path: Path) -> None:
    found = read(tmp_path, "configPatches: [{applyTo: CLUSTER, patch: {operation: INSERT_FIRST, value: {name: a}}}]")
    assert [str(patch).partition(" (")[2] for patch in found.patches] == ["ADD CLUSTER)"]


def test_what_has_no_effect_is_a_warning(tmp_path: Path) -> None:
    text = """
    targetRefs: [{kind: Gateway, name: g}]
    configPatches:
    - applyTo: LISTENER
      match: {listener: {portName: http, filterChain: {filter: {name: x}}}}
      patch: {operation: MERGE, filterClass: AUTHZ, value: {name: a}}
    - applyTo: BOOTSTRAP
      match: {listener: {name: a}}
      patch: {operation: MERGE, value: {header_prefix: x}}
    """
    warnings = [text.rpartition(": ")[2] for text in read(tmp_path, text).warnings]
    assert len(warnings) == 5
    joined = "\n".join(read(tmp_path, text).warnings)
    for words in ("targetRefs are not evaluated", "portName has no effect", "the filter match has no effect when used "
                  "with LISTENER", "filterClass AUTHZ has no effect", "the listener match has no effect when used with "
                  "BOOTSTRAP"):  # fmt: skip
        assert words in joined


def test_unknown_fields_can_be_noted(tmp_path: Path) -> None:
    text = "configPatches: [{applyTo: LISTENER, what: 1, patch: {operation: MERGE, value: {nam: a, name: b}}}]"
    found = read(tmp_path, text, allow_unknown=True)
    assert [patch.value.name for patch in found.patches] == ["b"]
    assert ["what" in text or "nam" in text for text in found.unknown] == [True, True]
