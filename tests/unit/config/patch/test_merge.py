"""What a merge does to each kind of field."""

from __future__ import annotations

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from tests.unit.config.patch.conftest import message

from proxeny.config.anys import open_any
from proxeny.config.errors import ConfigError
from proxeny.config.patch.merge import merge, merge_any, merge_configured, merge_with_transport_socket, pack

TCP_PROXY = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
ECHO = "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo"


@pytest.mark.parametrize(
    ("kind", "target", "source", "merged", "changed"),
    [
        ("LISTENER", "{name: a}", "{name: b}", "{name: b}", True),
        ("LISTENER", "{name: a}", "{name: a}", "{name: a}", False),
        ("LISTENER", "{reuse_port: true}", "{reuse_port: false}", "{reuse_port: true}", False),
        ("LISTENER", "{enable_reuse_port: false}", "{enable_reuse_port: true}", "{enable_reuse_port: true}", True),
        ("LISTENER", "{enable_reuse_port: true}", "{enable_reuse_port: false}", "{enable_reuse_port: true}", False),
        ("LISTENER", "{}", "{enable_reuse_port: false}", "{enable_reuse_port: false}", True),
        ("LISTENER", "{tcp_backlog_size: 5}", "{tcp_backlog_size: 7}", "{tcp_backlog_size: 7}", True),
        ("LISTENER", "{listener_filters_timeout: 1.5s}", "{listener_filters_timeout: 2s}",
         "{listener_filters_timeout: 2s}", True),
        ("LISTENER", "{listener_filters_timeout: 2s}", "{listener_filters_timeout: 2s}",
         "{listener_filters_timeout: 2s}", False),
        ("LISTENER", "{address: {socket_address: {address: a, port_value: 1}}}",
         "{address: {socket_address: {port_value: 2}}}", "{address: {socket_address: {address: a, port_value: 2}}}",
         True),
        ("LISTENER", "{address: {socket_address: {address: a, port_value: 1}}}", "{address: {pipe: {path: /p}}}",
         "{address: {pipe: {path: /p}}}", True),
        ("LISTENER", "{listener_filters: [{name: a}]}", "{listener_filters: [{name: b}]}",
         "{listener_filters: [{name: a}, {name: b}]}", True),
        ("LISTENER", "{metadata: {filter_metadata: {a: {x: 1, y: 2}, b: {z: 3}}}}",
         "{metadata: {filter_metadata: {a: {x: 4}}}}", "{metadata: {filter_metadata: {a: {x: 4}, b: {z: 3}}}}", True),
        ("LISTENER", "{metadata: {filter_metadata: {a: {x: 1}}}}", "{metadata: {filter_metadata: {a: {x: 1}}}}",
         "{metadata: {filter_metadata: {a: {x: 1}}}}", False),
        ("HTTP_ROUTE", "{match: {prefix: /}, redirect: {path_redirect: /a}}", "{direct_response: {status: 200}}",
         "{match: {prefix: /}, direct_response: {status: 200}}", True),
        ("HTTP_ROUTE", "{match: {path: /a}}", "{match: {prefix: ''}}", "{match: {prefix: ''}}", True),
    ],
)  # fmt: skip
def test_merge(kind: str, target: str, source: str, merged: str, changed: bool) -> None:
    made = message(kind, target)
    assert merge(made, message(kind, source)) is changed
    assert made == message(kind, merged)


def test_lists_can_be_replaced_at_any_depth() -> None:
    made = message("LISTENER", "{listener_filters: [{name: a}], filter_chains: [{name: a}], name: l}")
    assert merge(made, message("LISTENER", "{listener_filters: [{name: b}]}"), replace_lists=True)
    assert made == message("LISTENER", "{listener_filters: [{name: b}], filter_chains: [{name: a}], name: l}")
    assert not merge(made, message("LISTENER", "{listener_filters: [{name: b}]}"), replace_lists=True)
    made = message("FILTER_CHAIN", "{filter_chain_match: {server_names: [a, b]}}")
    assert merge(made, message("FILTER_CHAIN", "{filter_chain_match: {server_names: [c]}}"), replace_lists=True)
    assert made == message("FILTER_CHAIN", "{filter_chain_match: {server_names: [c]}}")


def test_an_any_is_one_value() -> None:
    made = message("NETWORK_FILTER", f"{{typed_config: {{'@type': {TCP_PROXY}, stat_prefix: a}}}}")
    other = message("NETWORK_FILTER", f"{{typed_config: {{'@type': {ECHO}}}}}")
    assert merge(made, other)
    assert made == other


def test_configurations_of_one_type_are_merged_inside() -> None:
    made = message("NETWORK_FILTER", f"{{name: a, typed_config: {{'@type': {TCP_PROXY}, stat_prefix: a, cluster: c}}}}")
    patch = message(
        "NETWORK_FILTER", f"{{name: b, typed_config: {{'@type': {TCP_PROXY}, stat_prefix: b, idle_timeout: 5s}}}}"
    )
    assert merge_configured(made, patch)
    assert made == message(
        "NETWORK_FILTER",
        f"{{name: b, typed_config: {{'@type': {TCP_PROXY}, stat_prefix: b, cluster: c, idle_timeout: 5s}}}}",
    )
    assert not merge_configured(made, patch)


def test_a_typed_struct_is_merged_as_what_it_describes() -> None:
    made = message(
        "NETWORK_FILTER",
        "{typed_config: {'@type': type.googleapis.com/xds.type.v3.TypedStruct, type_url: "
        f"{TCP_PROXY}, value: {{stat_prefix: a, cluster: c}}}}}}",
    )
    patch = message("NETWORK_FILTER", f"{{typed_config: {{'@type': {TCP_PROXY}, stat_prefix: b}}}}")
    assert merge_any(made.typed_config, patch.typed_config)
    assert made == message("NETWORK_FILTER", f"{{typed_config: {{'@type': {TCP_PROXY}, stat_prefix: b, cluster: c}}}}")


def test_configurations_of_two_types_cannot_be_merged() -> None:
    made = message("NETWORK_FILTER", f"{{typed_config: {{'@type': {TCP_PROXY}, stat_prefix: a}}}}")
    patch = message("NETWORK_FILTER", f"{{typed_config: {{'@type': {ECHO}}}}}")
    with pytest.raises(ConfigError, match=r"cannot merge a \S+\.Echo into a \S+\.TcpProxy"):
        merge_any(made.typed_config, patch.typed_config)


TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"


@pytest.mark.parametrize(
    ("source", "merged"),
    [
        (f"{{connect_timeout: 2s, transport_socket: {{name: tls, typed_config: {{'@type': {TLS}, sni: b}}}}}}",
         f"{{name: c, connect_timeout: 2s, transport_socket: {{name: tls, typed_config: "
         f"{{'@type': {TLS}, sni: b, allow_renegotiation: true}}}}}}"),
        (f"{{transport_socket: {{name: other, typed_config: {{'@type': {TLS}, sni: b}}}}}}",
         f"{{name: c, transport_socket: {{name: other, typed_config: {{'@type': {TLS}, sni: b}}}}}}"),
        ("{connect_timeout: 2s}",
         f"{{name: c, connect_timeout: 2s, transport_socket: {{name: tls, typed_config: "
         f"{{'@type': {TLS}, sni: a, allow_renegotiation: true}}}}}}"),
    ],
)  # fmt: skip
def test_transport_sockets(source: str, merged: str) -> None:
    made = message(
        "CLUSTER",
        f"{{name: c, transport_socket: {{name: tls, typed_config: "
        f"{{'@type': {TLS}, sni: a, allow_renegotiation: true}}}}}}",
    )
    patch = message("CLUSTER", source)
    kept = message("CLUSTER", source)
    assert merge_with_transport_socket(made, patch)
    assert made == message("CLUSTER", merged)
    assert patch == kept


def test_pack_keeps_the_type_url_as_written() -> None:
    inside = open_any(message("NETWORK_FILTER", f"{{typed_config: {{'@type': {ECHO}}}}}").typed_config)
    target = AnyMessage(type_url="example.com/envoy.extensions.filters.network.echo.v3.Echo")
    pack(target, inside)
    assert target.type_url == "example.com/envoy.extensions.filters.network.echo.v3.Echo"
    target = AnyMessage(type_url="example.com/x.Y")
    pack(target, inside)
    assert target.type_url == ECHO
