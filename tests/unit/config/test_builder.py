"""Trees to messages: every leniency and strictness of protobuf's C++ JSON reader that Envoy shows."""

import json
from typing import Any

import pytest
from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.base_pb2 import Node
from envoy.config.route.v3.route_components_pb2 import DirectResponseAction, Route, RouteMatch
from google.protobuf import json_format
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from proxeny.config.builder import Builder
from proxeny.config.errors import ConfigError, UnknownFieldError
from proxeny.config.yaml_loader import load_yaml


def build(message: Message, text: str) -> Any:
    Builder().build(message, load_yaml(text))
    return message


def fault(message: Message, text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        build(message, text)
    return caught.value


def test_fields_by_any_of_their_names() -> None:
    assert build(Cluster(), "{lbPolicy: RANDOM, connect_timeout: 1s}").lb_policy == Cluster.RANDOM


def test_one_field_under_two_names_is_refused() -> None:
    assert "already been set" in str(fault(Cluster(), "{lbPolicy: RANDOM, lb_policy: RANDOM}"))
    assert build(Cluster(), "{lbPolicy: RANDOM, lb_policy: null}").lb_policy == Cluster.RANDOM


@pytest.mark.parametrize("name", ["LEAST_REQUEST", "least_request", "Least_Request", "1", "'1'"])
def test_enum_values(name: str) -> None:
    assert build(Cluster(), f"lb_policy: {name}").lb_policy == Cluster.LEAST_REQUEST


def test_unknown_enum_numbers_are_left_to_the_constraints() -> None:
    assert build(Cluster(), "lb_policy: 77").lb_policy == 77


@pytest.mark.parametrize("value", ["fastest", "least-request", "''"])
def test_unknown_enum_names(value: str) -> None:
    error = fault(Cluster(), f"lb_policy: {value}")
    assert isinstance(error, UnknownFieldError)
    assert error.path == "lb_policy"


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1s", 10**9),
        ("1.5s", 1_500_000_000),
        ("0.000000001s", 1),
        ("-0.5s", -500_000_000),
        ("{seconds: 5}", 5 * 10**9),
        ("{seconds: '5', nanos: 7}", 5 * 10**9 + 7),
        ("315576000000s", 315576000000 * 10**9),
    ],
)
def test_durations(text: str, nanoseconds: int) -> None:
    assert build(Cluster(), f"connect_timeout: {text}").connect_timeout.ToNanoseconds() == nanoseconds


@pytest.mark.parametrize(
    "text", ["1", "1.s", "+1s", "1 s", "1ms", "1.0000000000s", "''", "[]", "1e3s", "--1s", "315576000001s", "٣s"]
)
def test_bad_durations(text: str) -> None:
    assert fault(Cluster(), f"connect_timeout: {text}").path == "connect_timeout"


@pytest.mark.parametrize("text", ["7", "'7'", "7.0", "7e0", "{value: 7}", "+7", "007"])
def test_wrappers(text: str) -> None:
    assert build(Cluster(), f"per_connection_buffer_limit_bytes: {text}").per_connection_buffer_limit_bytes.value == 7


@pytest.mark.parametrize("text", ["-1", "7.5", "1_000", "' 7'", "4294967296", "true", "[7]", "''", "inf", "9" * 5000])
def test_bad_integers(text: str) -> None:
    assert fault(Cluster(), f"per_connection_buffer_limit_bytes: {text}").path == "per_connection_buffer_limit_bytes"


@pytest.mark.parametrize(("text", "value"), [("yes", True), ("'t'", True), ("'0'", False), ("'No'", False)])
def test_booleans(text: str, value: bool) -> None:
    assert build(Bootstrap(), f"enable_dispatcher_stats: {text}").enable_dispatcher_stats is value


@pytest.mark.parametrize("text", ["1", "maybe", "{}", "''"])
def test_bad_booleans(text: str) -> None:
    assert "expected 'true' or 'false'" in str(fault(Bootstrap(), f"enable_dispatcher_stats: {text}"))


@pytest.mark.parametrize("value", ["5", "yes", "{}", "[a]"])
def test_strings_are_strings(value: str) -> None:
    assert fault(Node(), f"id: {value}").path == "id"


@pytest.mark.parametrize(("text", "value"), [("aGk=", b"hi"), ("aGk", b"hi"), ("_-_-", b"\xff\xef\xfe"), ("''", b"")])
def test_bytes(text: str, value: bytes) -> None:
    action = build(DirectResponseAction(), f"body: {{inline_bytes: {text}}}")
    assert action.body.inline_bytes == value


@pytest.mark.parametrize("text", ["a", "aGk==", "'a b'", "====", "aGk=aGk="])
def test_corrupt_bytes(text: str) -> None:
    assert "corrupt base64" in str(fault(DirectResponseAction(), f"body: {{inline_bytes: {text}}}"))


def test_lists() -> None:
    node = build(Node(), "client_features: [a, [b, [c]], null]")
    assert list(node.client_features) == ["a", "b", "c", ""]
    assert list(build(Node(), "client_features: a").client_features) == ["a"]
    assert fault(Node(), "client_features: [a, 5]").path == "client_features[1]"


def test_one_message_stands_for_a_list_of_one() -> None:
    assert len(build(Bootstrap(), "static_resources: {clusters: {name: a}}").static_resources.clusters) == 1


def test_null_sets_nothing_but_a_mapping_of_nothing_is_present() -> None:
    assert not build(Bootstrap(), "node: null").HasField("node")
    assert build(Bootstrap(), "node: {}").HasField("node")
    assert build(Bootstrap(), "node: {id: null}").HasField("node")


@pytest.mark.parametrize("value", ["[]", "''", "5", "yes"])
def test_messages_are_mappings(value: str) -> None:
    assert "expected '{'" in str(fault(Bootstrap(), f"node: {value}"))


def test_maps() -> None:
    node = build(Node(), "{dynamic_parameters: {a: null, 5: {params: {x: z}}}, metadata: {a: {b: [1, yes, x, null]}}}")
    assert sorted(node.dynamic_parameters) == ["5", "a"]
    assert json_format.MessageToDict(node.metadata) == {"a": {"b": [1.0, True, "x", None]}}


def test_only_one_member_of_a_oneof() -> None:
    assert "already been set" in str(fault(RouteMatch(), "{prefix: '', path: /a}"))
    assert build(RouteMatch(), "{prefix: null, path: /a}").path == "/a"


OPTIONS = "type.googleapis.com/envoy.config.core.v3.Locality"


def test_anys() -> None:
    route = build(Route(), f'typed_per_filter_config: {{a.b: {{"@type": {OPTIONS}, region: r}}, empty: {{}}}}')
    packed = route.typed_per_filter_config["a.b"]
    assert packed.type_url == OPTIONS
    assert packed.value == b"\x0a\x01r"
    assert route.typed_per_filter_config["empty"].type_url == ""


def test_a_well_known_type_stands_under_value() -> None:
    url = "type.googleapis.com/google.protobuf.Duration"
    route = build(Route(), f'typed_per_filter_config: {{a: {{"@type": {url}, value: 5s}}}}')
    assert route.typed_per_filter_config["a"].value == b"\x08\x05"
    error = fault(Route(), f'typed_per_filter_config: {{a: {{"@type": {url}, seconds: 5}}}}')
    assert error.path == "typed_per_filter_config.a.seconds"


@pytest.mark.parametrize(
    ("content", "path"),
    [
        (f'"@type": {OPTIONS}, regionn: r', "regionn"),
        ('"@type": type.googleapis.com/envoy.Nothing', "@type"),
        ('"@type": type.googleapis.com/os.path', "@type"),
        ('"@type": envoy.config.core.v3.Locality', "@type"),
        ('"@type": /envoy.config.core.v3.Locality', "@type"),
        ('"@type": 5', "@type"),
        ("region: r", ""),
    ],
)
def test_bad_anys(content: str, path: str) -> None:
    expected = 'typed_per_filter_config["a.b"]' + (f".{path}" if path else "")
    assert fault(Route(), f"typed_per_filter_config: {{a.b: {{{content}}}}}").path == expected


def test_unknown_fields_are_refused_with_their_path() -> None:
    error = fault(Bootstrap(), "static_resources: {clusters: [{name: a}, {nam: b}]}")
    assert isinstance(error, UnknownFieldError)
    assert error.path == "static_resources.clusters[1].nam"
    assert error.message == (
        "Protobuf message (type envoy.config.cluster.v3.Cluster reason INVALID_ARGUMENT: no such field: 'nam') "
        "has unknown fields"
    )


def test_unknown_fields_may_be_noted_instead() -> None:
    unknown: list[str] = []
    cluster = Cluster()
    Builder(unknown).build(cluster, load_yaml("{name: a, foo: {bar: 1}, lb_policy: fastest}"))
    assert cluster == Cluster(name="a")
    assert len(unknown) == 2


def test_invalid_unicode_is_refused() -> None:
    with pytest.raises(ConfigError):
        Builder().build(Node(), {"id": "\ud800"})


SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8)
KEYS = st.sampled_from([field.name for field in Cluster.DESCRIPTOR.fields]) | st.text(max_size=4)
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(KEYS, TREES, max_size=5))
def test_any_tree_is_a_message_or_a_config_error(tree: dict[str, object]) -> None:
    cluster = Cluster()
    try:
        Builder().build(cluster, tree)
    except ConfigError:
        return
    cluster.SerializeToString()


def test_what_json_format_writes_is_read_back() -> None:
    text = "{name: a, type: STRICT_DNS, connect_timeout: 1.25s, metadata: {filter_metadata: {a: {b: [1, {c: d}]}}}}"
    cluster = build(Cluster(), text)
    again = Cluster()
    Builder().build(again, json.loads(json_format.MessageToJson(cluster)))
    assert again == cluster
