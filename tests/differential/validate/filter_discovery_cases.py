"""Filters whose configuration is discovered: of connection managers, routers, clusters, chains and listeners."""

from textwrap import dedent

from tests.differential.validate.corpus import ROUTER, ROUTER_FILTER, TYPE, Verdict, listener, manager

_NODE = "node: {id: node, cluster: cluster}\n"
_FILE = "{path: /dev/null}"
_MUTATION = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"
_ECHO = "envoy.extensions.filters.network.echo.v3.Echo"
_TLS = "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"
_CODEC = "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec"


def _discovery(*types: str, source: str = _FILE, default: str = "", more: str = "") -> str:
    urls = ", ".join(f"{TYPE}/{one}" for one in types)
    given = f', default_config: {{"@type": {TYPE}/{default}}}' if default else ""
    return f"config_discovery: {{config_source: {source}, type_urls: [{urls}]{given}{more}}}"


def _named(verdict: Verdict, node: bool = True) -> Verdict:
    return Verdict(verdict.name, (_NODE if node else "") + verdict.text, verdict.stricter)


def _http(name: str, *types: str, last: bool = False, node: bool = True, stricter: str = "", **more: str) -> Verdict:
    one = f"{{name: a, {_discovery(*types, **more)}}}"
    filters = one if last else f"{one}, {ROUTER_FILTER}"
    return _named(manager(f"discovery-{name}", "", stricter, filters), node)


def _upstream(name: str, *types: str, **more: str) -> Verdict:
    codec = f'{{name: codec, typed_config: {{"@type": {TYPE}/{_CODEC}}}}}'
    chain = f"upstream_http_filters: [{{name: a, {_discovery(*types, **more)}}}, {codec}]"
    router = f'{{name: router, typed_config: {{"@type": {TYPE}/{ROUTER}, {chain}}}}}'
    return _named(manager(f"discovery-upstream-{name}", "", "", router))


def _network(name: str, *types: str, behind: str = "", **more: str) -> Verdict:
    chain = f"{{name: a, {_discovery(*types, **more)}}}{behind}"
    return _named(listener(f"discovery-network-{name}", f"filter_chains: [{{filters: [{chain}]}}]"))


def _listener(name: str, *types: str, **more: str) -> Verdict:
    return _named(
        listener(f"discovery-filter-{name}", f"listener_filters: [{{name: a, {_discovery(*types, **more)}}}]")
    )


_A = f"{{name: a, {_discovery(_MUTATION)}}}"
_WITHOUT = ", apply_default_config_without_warming: true"
_UDP = dedent("""
    listener_filters: [{name: a, config_discovery: {config_source: {path: /dev/null}, type_urls: [a/b]}}]
    udp_listener_config: {}
    filter_chains: []
""")

CASES = [
    _http("plain", _MUTATION),
    _http("no-node", _MUTATION, node=False),
    _http("no-types"),
    _http("unknown-type", "no.such.Type"),
    _http("type-of-another-kind", _ECHO),
    _http("no-file", _MUTATION, source="{path: /no/such/file}"),
    _http("no-source", _MUTATION, source="{}"),
    _http("default", _MUTATION, default=_MUTATION),
    _http("default-of-another-type", _MUTATION, default=ROUTER),
    _http("default-unknown", _MUTATION, default="google.protobuf.Struct"),
    _http("default-terminal", ROUTER, default=ROUTER),
    _http("default-terminal-last", ROUTER, default=ROUTER, last=True),
    _http("default-not-terminal-last", _MUTATION, default=_MUTATION, last=True),
    _http("last", ROUTER, last=True),
    _http("without-warming", _MUTATION, default=_MUTATION, more=_WITHOUT),
    _http("without-warming-or-default", _MUTATION, more=_WITHOUT),
    _named(
        manager("discovery-same-name", "", "a route's configuration is for one of them", f"{_A}, {_A}, {ROUTER_FILTER}")
    ),
    _named(manager("discovery-last-disabled", "", "", f"{{name: a, disabled: true, {_discovery(ROUTER)}}}")),
    _named(manager("last-disabled", "", "", ROUTER_FILTER.replace("typed_config", "disabled: true, typed_config"))),
    _upstream("plain", _MUTATION),
    _upstream("downstream-only", "envoy.extensions.filters.http.cors.v3.Cors"),
    _upstream("default-terminal", _CODEC, default=_CODEC),
    _network("plain", _ECHO),
    _network("unknown-type", "no.such.Type"),
    _network("default", _ECHO, default=_ECHO),
    _network("default-of-another-type", _ECHO, default=_MUTATION),
    _network("default-not-last", _ECHO, default=_ECHO, behind=f", {{name: b, {_discovery(_ECHO)}}}"),
    _network("without-warming-or-default", _ECHO, more=_WITHOUT),
    _listener("plain", _TLS),
    _listener("unknown-type", "no.such.Type"),
    _listener("default", _TLS, default=_TLS),
    _listener("default-of-another-type", _TLS, default=_ECHO),
    _listener("without-warming-or-default", _TLS, more=_WITHOUT),
    _named(
        listener("discovery-udp", _UDP, address="{socket_address: {protocol: UDP, address: 127.0.0.1, port_value: 0}}")
    ),
]
