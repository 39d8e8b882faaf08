"""Transport sockets around others."""

from tests.differential.validate.corpus import TYPE, Verdict, cluster, listener

_SOCKETS = f"{TYPE}/envoy.extensions.transport_sockets"
_RAW = f'{{name: raw, typed_config: {{"@type": {_SOCKETS}.raw_buffer.v3.RawBuffer}}}}'
_LATER = "refused by name until it is served"


def _typed(message: str, fields: str = "") -> str:
    return f'{{name: x, typed_config: {{"@type": {_SOCKETS}.{message}{", " if fields else ""}{fields}}}}}'


def _upstream(name: str, message: str, fields: str = "", stricter: str = "") -> Verdict:
    return cluster(f"socket-{name}", f"transport_socket: {_typed(message, fields)}", stricter)


def _downstream(name: str, message: str, fields: str = "", stricter: str = "") -> Verdict:
    chain = f"filter_chains: [{{filters: [], transport_socket: {_typed(message, fields)}}}]"
    return listener(f"socket-{name}", chain, stricter)


def _tlv(name: str, *tlvs: str) -> Verdict:
    config = f"config: {{version: V2, added_tlvs: [{', '.join(tlvs)}]}}, transport_socket: {_RAW}"
    return _upstream(f"tlv-{name}", _PROXY, config)


_PROXY = "proxy_protocol.v3.ProxyProtocolUpstreamTransport"
_CONNECT = "http_11_proxy.v3.Http11ProxyUpstreamTransport"
_STATS = "tcp_stats.v3.Config"
_SINKS = "output_config: {sinks: [{file_per_tap: {path_prefix: /tmp/tap}}]}"
_TAP = f"common_config: {{static_config: {{match: {{any_match: true}}, {_SINKS}}}}}, transport_socket: {_RAW}"
_FORMAT = "format_string: {text_format_source: {inline_string: '%UPSTREAM_HOST%'}}"

CASES: list[Verdict] = [
    _upstream("proxy-protocol", _PROXY, f"transport_socket: {_RAW}"),
    _upstream("proxy-protocol-without-inner", _PROXY),
    _upstream("proxy-protocol-unknown-inner", _PROXY, "transport_socket: {name: nope}"),
    _upstream(
        "proxy-protocol-pass", _PROXY, f"config: {{pass_through_tlvs: {{tlv_type: [1]}}}}, transport_socket: {_RAW}"
    ),
    _upstream(
        "proxy-protocol-far-tlv",
        _PROXY,
        f"config: {{pass_through_tlvs: {{tlv_type: [256]}}}}, transport_socket: {_RAW}",
    ),
    _upstream(
        "proxy-protocol-flags",
        _PROXY,
        f"allow_unspecified_address: true, tlv_as_pool_key: true, transport_socket: {_RAW}",
    ),
    _downstream("proxy-protocol-downstream", _PROXY, f"transport_socket: {_RAW}"),
    _tlv("value", "{type: 240, value: YQ==}"),
    _tlv("format", f"{{type: 240, {_FORMAT}}}"),
    _tlv("both", f"{{type: 240, value: YQ==, {_FORMAT}}}"),
    _tlv("neither", "{type: 240}"),
    _tlv("far", "{type: 256, value: YQ==}"),
    _tlv("bad-format", "{type: 240, format_string: {text_format_source: {inline_string: '%NOPE%'}}}"),
    _tlv("twice", "{type: 240, value: YQ==}", "{type: 240, value: Yg==}"),
    _upstream("http-11-proxy", _CONNECT, f"transport_socket: {_RAW}"),
    _upstream("http-11-proxy-without-inner", _CONNECT),
    _downstream("http-11-proxy-downstream", _CONNECT, f"transport_socket: {_RAW}"),
    _upstream("tcp-stats", _STATS, f"transport_socket: {_RAW}"),
    _upstream("tcp-stats-without-inner", _STATS),
    _upstream("tcp-stats-period", _STATS, f"update_period: 0.001s, transport_socket: {_RAW}"),
    _upstream("tcp-stats-short-period", _STATS, f"update_period: 0.0005s, transport_socket: {_RAW}"),
    _downstream("tcp-stats-downstream", _STATS, f"transport_socket: {_RAW}"),
    _upstream("starttls", "starttls.v3.UpstreamStartTlsConfig", "tls_socket_config: {}"),
    _upstream("starttls-without-tls", "starttls.v3.UpstreamStartTlsConfig"),
    _downstream("starttls-without-tls-downstream", "starttls.v3.StartTlsConfig"),
    _upstream("starttls-of-the-other-side", "starttls.v3.StartTlsConfig", "tls_socket_config: {}"),
    _downstream("starttls-of-the-other-side-downstream", "starttls.v3.UpstreamStartTlsConfig", "tls_socket_config: {}"),
    _upstream("tap", "tap.v3.Tap", _TAP, _LATER),
    _downstream("tap-downstream", "tap.v3.Tap", _TAP, _LATER),
    _upstream("alts", "alts.v3.Alts", "handshaker_service: 'localhost:1'", _LATER),
    _upstream("quic", "quic.v3.QuicUpstreamTransport", "upstream_tls_context: {sni: a}", _LATER),
    _upstream("raw-buffer", "raw_buffer.v3.RawBuffer"),
    cluster("socket-without-type", "transport_socket: {name: raw}"),
]
