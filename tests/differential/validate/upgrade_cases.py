"""Upgrades and CONNECT: the connection manager's and routes' ``upgrade_configs``, clusters' ``upstream_config``."""
# ruff: noqa: E501 - a case is a line

from tests.differential.validate.corpus import ROUTER, ROUTER_FILTER, TYPE, Verdict, cluster, manager, route

_UPSTREAMS = f"{TYPE}/envoy.extensions.upstreams.http"
_STATE = f'{{name: state, typed_config: {{"@type": {TYPE}/envoy.extensions.filters.http.set_filter_state.v3.Config, on_request_headers: [{{object_key: a, factory_key: envoy.string, format_string: {{text_format_source: {{inline_string: b}}}}}}]}}}}'


def _manager(name: str, upgrade: str, stricter: str = "") -> Verdict:
    return manager(f"upgrade-{name}", f"upgrade_configs: [{{{upgrade}}}]", stricter)


def _route(name: str, upgrades: str, stricter: str = "", match: str = "connect_matcher: {}") -> Verdict:
    return route(
        f"upgrade-{name}", f"match: {{{match}}}\nroute: {{cluster: one, upgrade_configs: [{upgrades}]}}", stricter
    )


def _pool(name: str, message: str, stricter: str = "", fields: str = "") -> Verdict:
    config = f'{{"@type": {_UPSTREAMS}.{message}{fields}}}'
    return cluster(
        f"upstream-{name}", f"upstream_config: {{name: envoy.upstreams.{name}, typed_config: {config}}}", stricter
    )


CASES = [
    _manager("connect", "upgrade_type: CONNECT"),
    _manager("disabled", "upgrade_type: websocket, enabled: false"),
    _manager("enabled-null", "upgrade_type: websocket, enabled: null"),
    _manager("nameless", "upgrade_type: ''"),
    _manager("filters", f"upgrade_type: a, filters: [{_STATE}, {ROUTER_FILTER}]"),
    _manager("filters-empty", "upgrade_type: a, filters: []"),
    _manager("filters-without-router", f"upgrade_type: a, filters: [{_STATE}]"),
    _manager("filters-router-first", f"upgrade_type: a, filters: [{ROUTER_FILTER}, {_STATE}]"),
    _manager("filters-twice", f"upgrade_type: a, filters: [{_STATE}, {_STATE}, {ROUTER_FILTER}]"),
    _manager("filters-unknown", f"upgrade_type: a, filters: [{{name: nothing}}, {ROUTER_FILTER}]"),
    _manager(
        "filters-bad-config",
        f'upgrade_type: a, filters: [{{name: r, typed_config: {{"@type": {TYPE}/{ROUTER}, strict_check_headers: [x]}}}}]',
    ),
    _manager("filters-of-a-disabled-type", f"upgrade_type: a, enabled: false, filters: [{_STATE}]"),
    _manager("connect-config", "upgrade_type: CONNECT, connect_config: {}"),
    _manager("connect-udp", "upgrade_type: CONNECT-UDP", "datagrams in HTTP are refused by name"),
    manager("upgrade-three", "upgrade_configs: [{upgrade_type: a}, {upgrade_type: b}, {upgrade_type: c}]"),
    _route("connect", "{upgrade_type: CONNECT, connect_config: {}}"),
    _route("connect-lower-case", "{upgrade_type: connect, connect_config: {}}"),
    _route("connect-disabled", "{upgrade_type: CONNECT, enabled: false, connect_config: {}}"),
    _route("connect-post", "{upgrade_type: CONNECT, connect_config: {allow_post: true}}"),
    _route("connect-on-prefix", "{upgrade_type: CONNECT, connect_config: {allow_post: true}}", match="prefix: /"),
    _route("connect-proxy-v1", "{upgrade_type: CONNECT, connect_config: {proxy_protocol_config: {version: V1}}}"),
    _route("connect-proxy-v2", "{upgrade_type: CONNECT, connect_config: {proxy_protocol_config: {version: V2}}}"),
    _route("connect-proxy-v3", "{upgrade_type: CONNECT, connect_config: {proxy_protocol_config: {version: V3}}}"),
    _route(
        "connect-proxy-tlvs",
        "{upgrade_type: CONNECT, connect_config: {proxy_protocol_config: {pass_through_tlvs: {match_type: INCLUDE_ALL}}}}",
    ),
    _route("connect-config-of-websocket", "{upgrade_type: websocket, connect_config: {}}"),
    _route("connect-config-unknown-field", "{upgrade_type: CONNECT, connect_config: {nothing: true}}"),
    _route("connect-twice", "{upgrade_type: CONNECT}, {upgrade_type: connect}"),
    _route("connect-udp", "{upgrade_type: CONNECT-UDP, connect_config: {}}", "datagrams in HTTP are refused by name"),
    _route("filters", "{upgrade_type: websocket, filters: []}"),
    _pool("generic", "generic.v3.GenericConnectionPoolProto"),
    _pool("http", "http.v3.HttpConnectionPoolProto"),
    _pool("tcp", "tcp.v3.TcpConnectionPoolProto"),
    _pool("udp", "udp.v3.UdpConnectionPoolProto", "datagrams in HTTP are refused by name"),
    _pool("unknown-field", "tcp.v3.TcpConnectionPoolProto", fields=", nothing: 1"),
    cluster(
        "upstream-wrong-type",
        f'upstream_config: {{name: a, typed_config: {{"@type": {TYPE}/envoy.config.core.v3.Node}}}}',
        "Envoy looks for the pool at the first request",
    ),
    cluster("upstream-nameless", "upstream_config: {name: ''}"),
    cluster("upstream-by-name", "upstream_config: {name: envoy.filters.connection_pools.http.tcp}"),
    cluster("upstream-unknown", "upstream_config: {name: nothing}"),
]
