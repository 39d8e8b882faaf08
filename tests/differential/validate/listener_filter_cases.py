"""Listener filters that look at a connection's first bytes, and the one that counts connections."""
# ruff: noqa: E501 - a case is a line

from tests.differential.validate.corpus import TYPE, listener

_FILTERS = f"{TYPE}/envoy.extensions.filters.listener"


def _filter(kind: str, message: str, name: str, fields: str, stricter: str = "") -> object:
    typed = f'{{"@type": {_FILTERS}.{kind}.v3.{message}, {fields}}}'
    return listener(f"{kind}-{name}", f"listener_filters: [{{name: one, typed_config: {typed}}}]", stricter)


def _tls(name: str, fields: str) -> object:
    return _filter("tls_inspector", "TlsInspector", name, fields)


def _proxy(name: str, fields: str, stricter: str = "") -> object:
    return _filter("proxy_protocol", "ProxyProtocol", name, fields, stricter)


def _limit(name: str, fields: str, stricter: str = "") -> object:
    return _filter("local_ratelimit", "LocalRateLimit", name, fields, stricter)


_BUCKET = "token_bucket: {max_tokens: 1, fill_interval: 1s}"

CASES = [
    _filter("http_inspector", "HttpInspector", "plain", ""),
    _filter("http_inspector", "HttpInspector", "unknown-field", "max: 1"),
    _tls("plain", ""),
    _tls(
        "all",
        "enable_ja3_fingerprinting: true, enable_ja4_fingerprinting: false, initial_read_buffer_size: 256, max_client_hello_size: 256, close_connection_on_client_hello_parsing_errors: true",
    ),
    _tls("hello-too-large", "max_client_hello_size: 16385"),
    _tls("hello-largest", "max_client_hello_size: 16384"),
    _tls("hello-too-small", "max_client_hello_size: 255"),
    _tls("first-read-too-small", "initial_read_buffer_size: 255"),
    _tls("first-read-too-large", "initial_read_buffer_size: 65537"),
    _tls("first-read-largest", "initial_read_buffer_size: 65536"),
    _tls("ja3-no-boolean", "enable_ja3_fingerprinting: 3"),
    _proxy("plain", ""),
    _proxy(
        "all",
        "rules: [{tlv_type: 255, on_tlv_present: {key: a, metadata_namespace: n}}], allow_requests_without_proxy_protocol: true, pass_through_tlvs: {match_type: INCLUDE, tlv_type: [0, 255]}, disallowed_versions: [V1], stat_prefix: a, tlv_location: FILTER_STATE",
    ),
    _proxy("no-version", "disallowed_versions: [V1, V2]"),
    _proxy("version-twice", "disallowed_versions: [V2, V2]"),
    _proxy("version-unknown", "disallowed_versions: [V3]"),
    _proxy("type-too-large", "rules: [{tlv_type: 256}]"),
    _proxy("rule-without-key", "rules: [{tlv_type: 2, on_tlv_present: {metadata_namespace: n}}]"),
    _proxy("rule-without-effect", "rules: [{tlv_type: 2}]"),
    _proxy("rule-twice", "rules: [{tlv_type: 2, on_tlv_present: {key: a}}, {tlv_type: 2, on_tlv_present: {key: b}}]"),
    _proxy("passed-type-too-large", "pass_through_tlvs: {match_type: INCLUDE, tlv_type: [256]}"),
    _proxy("match-type-unknown", "pass_through_tlvs: {match_type: EXCLUDE}"),
    _proxy("location-unknown", "tlv_location: NOWHERE"),
    _proxy("location-lower-case", "tlv_location: filter_state"),
    _limit("plain", f"stat_prefix: a, {_BUCKET}"),
    _limit("without-prefix", _BUCKET),
    _limit("without-bucket", "stat_prefix: a"),
    _limit("no-tokens", "stat_prefix: a, token_bucket: {max_tokens: 0, fill_interval: 1s}", "no connection ever"),
    _limit("without-interval", "stat_prefix: a, token_bucket: {max_tokens: 1}"),
    _limit("interval-zero", "stat_prefix: a, token_bucket: {max_tokens: 1, fill_interval: 0s}"),
    _limit("interval-short", "stat_prefix: a, token_bucket: {max_tokens: 1, fill_interval: 0.0499s}"),
    _limit("interval-shortest", "stat_prefix: a, token_bucket: {max_tokens: 1, fill_interval: 0.05s}"),
    _limit("interval-negative", "stat_prefix: a, token_bucket: {max_tokens: 1, fill_interval: -1s}"),
    _limit("nothing-filled", "stat_prefix: a, token_bucket: {max_tokens: 1, tokens_per_fill: 0, fill_interval: 1s}"),
    _limit("runtime", f"stat_prefix: a, {_BUCKET}, runtime_enabled: {{default_value: false, runtime_key: k}}"),
    _limit("runtime-without-default", f"stat_prefix: a, {_BUCKET}, runtime_enabled: {{runtime_key: k}}"),
]
