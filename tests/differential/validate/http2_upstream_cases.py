"""What is spoken to upstreams: HttpProtocolOptions, the older fields, and tunnels of the TCP proxy."""
# ruff: noqa: E501 - a case is a line

from tests.differential.validate.corpus import TYPE, Verdict, cluster, listener

_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_TLS = f"transport_socket: {{name: tls, typed_config: {{'@type': {TYPE}/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext}}}}"
_RAW = f"{{name: raw, typed_config: {{'@type': {TYPE}/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer}}}}"
_TCP = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"


def _spoken(name: str, fields: str, more: str = "") -> Verdict:
    typed = f"typed_extension_protocol_options: {{{_OPTIONS}: {{'@type': {TYPE}/{_OPTIONS}, {fields}}}}}"
    return cluster(f"spoken-{name}", f"{typed}\n{more}")


def _http2(name: str, fields: str) -> Verdict:
    return _spoken(f"http2-{name}", f"explicit_http_config: {{http2_protocol_options: {{{fields}}}}}")


def _tunnel(name: str, fields: str) -> Verdict:
    typed = f"{{'@type': {TYPE}/{_TCP}, stat_prefix: a, cluster: one, tunneling_config: {{{fields}}}}}"
    return listener(f"tunnel-{name}", f"filter_chains: [{{filters: [{{name: tcp, typed_config: {typed}}}]}}]")


CASES: list[Verdict] = [
    _http2("plain", ""),
    _http2("few-streams", "max_concurrent_streams: 1"),
    _http2("no-streams", "max_concurrent_streams: 0"),
    _http2("push", "custom_settings_parameters: [{identifier: 2, value: 1}]"),
    _http2("named-twice", "max_concurrent_streams: 10, custom_settings_parameters: [{identifier: 3, value: 1}]"),
    _http2("inconsistent", "custom_settings_parameters: [{identifier: 10, value: 1}, {identifier: 10, value: 2}]"),
    _http2("pings", "connection_keepalive: {interval: 1s, timeout: 1s, connection_idle_interval: 5s}"),
    _http2("pings-without-time", "connection_keepalive: {interval: 1s, timeout: 0s}"),
    _http2("small-window", "initial_stream_window_size: 1000"),
    _spoken("as-downstream", "use_downstream_protocol_config: {http_protocol_options: {}, http2_protocol_options: {}}"),
    _spoken("auto", "auto_config: {}"),
    _spoken("auto-tls", "auto_config: {}", _TLS),
    _spoken(
        "auto-match", "auto_config: {}", f"{_TLS}\ntransport_socket_matches: [{{name: a, transport_socket: {_RAW}}}]"
    ),
    _spoken("auto-http3", "auto_config: {http3_protocol_options: {}}", _TLS),
    cluster("spoken-older", "http2_protocol_options: {}"),
    cluster("spoken-older-both", "http2_protocol_options: {}\nhttp_protocol_options: {}"),
    cluster(
        "spoken-older-downstream",
        "http2_protocol_options: {}\nhttp_protocol_options: {}\nprotocol_selection: USE_DOWNSTREAM_PROTOCOL",
    ),
    _tunnel("plain", "hostname: 'a:1'"),
    _tunnel(
        "formatted",
        "hostname: '%DOWNSTREAM_LOCAL_ADDRESS%', headers_to_add: [{header: {key: a, value: '%START_TIME%'}}]",
    ),
    _tunnel("no-host", "hostname: ''"),
    _tunnel("unknown-command", "hostname: '%FOO%'"),
    _tunnel("path-without-post", "hostname: a, post_path: /x"),
    _tunnel("post", "hostname: a, use_post: true, post_path: /x"),
    _tunnel("host-header", "hostname: a, headers_to_add: [{header: {key: host, value: a}}]"),
]
