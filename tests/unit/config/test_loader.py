"""Files and texts to bootstraps; places of faults; contents of Anys."""

import gc
from pathlib import Path

import pytest
from envoy.config.core.v3.base_pb2 import Locality
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from google.protobuf.any_pb2 import Any

from proxeny.config.errors import ConfigError
from proxeny.config.loader import LoadOptions, duration_ms, duration_seconds, load_bootstrap, unpack_any


def write(folder: Path, name: str, content: str | bytes) -> str:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.yaml", "node: {id: me}"),
        ("a.YML", "node: {id: me}"),
        ("a.json", '{"node": {"id": "me"}}'),
        ("a.conf", '{"node": {"id": "me"}}'),
        ("a.pb_text", 'node { id: "me" }'),
        ("a.pb", b"\n\x04\n\x02me"),
        ("bom.yaml", b"\xef\xbb\xbfnode: {id: me}"),
    ],
)
def test_the_ending_decides_how_a_file_is_read(tmp_path: Path, name: str, content: str | bytes) -> None:
    assert load_bootstrap(write(tmp_path, name, content)).bootstrap.node.id == "me"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.yaml", "", "Unable to convert YAML as JSON"),
        ("a.yaml", "5", "Unable to convert YAML as JSON"),
        ("a.yaml", b"node: \xff", "not valid UTF-8"),
        ("a.json", "node: {id: me}", "Unable to parse JSON as proto"),
        ("a.json", '{"node": {"id": NaN}}', "invalid number"),
        ("a.json", '{"node":' * 5000, "Unable to parse JSON"),
        ("a.json", '{"node": {"metadata": {"a": ' + "[" * 200 + "]" * 200 + "}}}", "too deeply nested"),
        ("a.pb_text", "nodes {}", "as a text protobuf .type envoy.config.bootstrap.v3.Bootstrap."),
        ("a.pb", b"garbage", "as a binary protobuf"),
        ("a.pb", b"\xf8\x7f\x01", r"Bootstrap with unknown field set \{2047\}"),
    ],
)
def test_bad_files_name_the_file(tmp_path: Path, name: str, content: str | bytes, words: str) -> None:
    path = write(tmp_path, name, content)
    with pytest.raises(ConfigError, match=words) as caught:
        load_bootstrap(path)
    assert str(caught.value).startswith(path)


def test_text_format_knows_all_any_types(tmp_path: Path) -> None:
    text = (
        'static_resources { listeners { filter_chains { filters { name: "t" typed_config { '
        "[type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy] "
        '{ stat_prefix: "a" cluster: "b" } } } } } }'
    )
    loaded = load_bootstrap(write(tmp_path, "a.pb_text", text)).bootstrap
    assert unpack_any(loaded.static_resources.listeners[0].filter_chains[0].filters[0].typed_config).cluster == "b"


def test_a_missing_file() -> None:
    with pytest.raises(ConfigError, match="Invalid path: /no/such/file"):
        load_bootstrap("/no/such/file")


def test_nothing_to_load() -> None:
    with pytest.raises(ConfigError, match="At least one of --config-path or --config-yaml"):
        load_bootstrap(None)


def test_the_command_line_is_merged_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "a.yaml", "node: {id: a, cluster: b, client_features: [f]}")
    node = load_bootstrap(path, "node: {id: c, client_features: [g]}").bootstrap.node
    assert (node.id, node.cluster, list(node.client_features)) == ("c", "b", ["f", "g"])


TEXT = """\
static_resources:
  clusters:
  - name: a
  - name: b
    connectTimeout: 0s
"""


def test_constraints_name_file_line_and_path(tmp_path: Path) -> None:
    path = write(tmp_path, "a.yaml", TEXT)
    with pytest.raises(ConfigError) as caught:
        load_bootstrap(path)
    assert str(caught.value).startswith(f"{path}:5: static_resources.clusters[1].connect_timeout: Proto constraint")


def test_unknown_fields_name_file_line_and_path(tmp_path: Path) -> None:
    path = write(tmp_path, "a.yaml", TEXT.replace("connectTimeout", "connectTimeoutt"))
    with pytest.raises(ConfigError) as caught:
        load_bootstrap(path)
    assert str(caught.value).startswith(f"{path}:5: static_resources.clusters[1].connectTimeoutt: Protobuf message")


def test_unknown_fields_may_be_allowed() -> None:
    options = LoadOptions(allow_unknown_static_fields=True)
    loaded = load_bootstrap(None, "{foo: 1, bar: 2, node: {id: a}}", options=options)
    assert loaded.unknown_fields == 1  # Envoy counts texts that have some, not fields
    assert len(loaded.warnings) == 2
    assert "no such field: 'foo'" in loaded.warnings[0]


def test_deprecated_fields_are_kept_for_the_runtime_to_judge() -> None:
    text = "static_resources: {clusters: [{name: a, max_requests_per_connection: 5}]}"
    (use,) = load_bootstrap(None, text).deprecated
    assert use.feature == "envoy.config.cluster.v3.Cluster.max_requests_per_connection"
    assert use.path == "static_resources.clusters[0]"


def test_accepted_and_unsupported_fields_warn() -> None:
    text = "{perf_tracing_file_path: p, header_prefix: x}"
    loaded = load_bootstrap(None, text, options=LoadOptions(accept_unsupported_fields=True))
    assert loaded.accepted_fields == ["perf_tracing_file_path"]
    assert loaded.unsupported_fields == ["header_prefix"]
    assert len(loaded.warnings) == 2


@pytest.mark.parametrize(
    "text",
    [
        "{stats_flush_interval: 1s, stats_flush_on_admin: true}",
        "{watchdog: {}, watchdogs: {}}",
    ],
)
def test_exclusive_fields(text: str) -> None:
    with pytest.raises(ConfigError, match="Only one of"):
        load_bootstrap(None, text)


def test_the_collector_is_as_it_was() -> None:
    assert gc.isenabled()
    load_bootstrap(None, "{}")
    assert gc.isenabled()
    with pytest.raises(ConfigError):
        load_bootstrap(None, "foo: 1")
    assert gc.isenabled()


def packed(message: object, type_url: str = "") -> Any:
    made = Any()
    made.Pack(message)
    if type_url:
        made.type_url = type_url
    return made


def test_unpacking_checks_constraints() -> None:
    assert unpack_any(packed(TcpProxy(stat_prefix="a", cluster="b"))).cluster == "b"
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"TcpProxyValidationError\.StatPrefix"):
            unpack_any(packed(TcpProxy(cluster="b")))


def test_unpacking_the_unknown_and_the_malformed() -> None:
    with pytest.raises(ConfigError, match=r"could not find @type 'a/b\.C'"):
        unpack_any(packed(Locality(), "a/b.C"))
    with pytest.raises(ConfigError, match=r"Unable to unpack as envoy\.config\.core\.v3\.Locality"):
        unpack_any(Any(type_url="a/envoy.config.core.v3.Locality", value=b"garbage"))


def test_durations() -> None:
    loaded = load_bootstrap(None, "stats_flush_interval: 1.2345s").bootstrap.stats_flush_interval
    assert duration_seconds(loaded) == pytest.approx(1.2345)
    assert duration_ms(loaded) == 1234
