"""Active health checks of clusters, and the HTTP filter that answers them."""
# ruff: noqa: E501 - a case is a line

from tests.differential.validate.corpus import TYPE, Verdict, cluster, manager

_ALL = "timeout: 1s, interval: 1s, unhealthy_threshold: 2, healthy_threshold: 1"
_HTTP = 'http_health_check: {path: "/"}'
_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_HTTP2 = (
    f'typed_extension_protocol_options: {{{_OPTIONS}: {{"@type": {TYPE}/{_OPTIONS}, '
    "use_downstream_protocol_config: {http_protocol_options: {}, http2_protocol_options: {}}}}"
)


def _check(name: str, fields: str, stricter: str = "", more: str = "", common: str = _ALL) -> Verdict:
    """A cluster with one health check: ``common`` fields and ``fields``."""
    joined = ", ".join(part for part in (common, fields) if part)
    return cluster(f"hc-{name}", f"{more}\nhealth_checks: [{{{joined}}}]", stricter)


def _http(name: str, fields: str, stricter: str = "") -> Verdict:
    return _check(f"http-{name}", f'http_health_check: {{path: "/", {fields}}}', stricter)


def _tcp(name: str, fields: str, stricter: str = "") -> Verdict:
    return _check(f"tcp-{name}", f"tcp_health_check: {{{fields}}}", stricter)


def _grpc(name: str, fields: str, stricter: str = "", more: str = _HTTP2) -> Verdict:
    return _check(f"grpc-{name}", f"grpc_health_check: {{{fields}}}", stricter, more)


def _without(field: str) -> str:
    return ", ".join(part for part in _ALL.split(", ") if not part.startswith(f"{field}:"))


def _endpoint(name: str, config: str, stricter: str = "") -> Verdict:
    return cluster(
        f"hc-endpoint-{name}",
        f"health_checks: [{{{_ALL}, {_HTTP}}}]\n"
        "load_assignment: {cluster_name: one, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: "
        f"{{address: 127.0.0.1, port_value: 80}}}}, health_check_config: {{{config}}}}}}}]}}]}}",
        stricter,
    )


_FILTER = "envoy.extensions.filters.http.health_check.v3.HealthCheck"


def _filter(name: str, fields: str, stricter: str = "") -> Verdict:
    router = (
        "{name: router, typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}"
    )
    return manager(
        f"hc-filter-{name}",
        "",
        stricter,
        filters=f"{{name: envoy.filters.http.health_check, typed_config: {{'@type': type.googleapis.com/{_FILTER}, {fields}}}}}, {router}",
    )


CASES = [
    _check("http", _HTTP),
    _check("none", ""),
    cluster(
        "hc-two-named",
        f"health_checks: [{{name: a, {_ALL}, {_HTTP}}}, {{name: b, {_ALL}, tcp_health_check: {{}}}}]",
    ),
    cluster("hc-two-names-equal", f"health_checks: [{{name: a, {_ALL}, {_HTTP}}}, {{name: a, {_ALL}, {_HTTP}}}]"),
    cluster("hc-two", f"health_checks: [{{{_ALL}, {_HTTP}}}, {{{_ALL}, {_HTTP}}}]"),
    *[
        _check(f"without-{field}", _HTTP, common=_without(field))
        for field in ("timeout", "interval", "unhealthy_threshold", "healthy_threshold")
    ],
    _check("timeout-zero", f"timeout: 0s, {_HTTP}", common=_without("timeout")),
    _check("timeout-negative", f"timeout: -1s, {_HTTP}", common=_without("timeout")),
    _check("interval-zero", f"interval: 0s, {_HTTP}", common=_without("interval")),
    _check("threshold-zero", f"healthy_threshold: 0, {_HTTP}", common=_without("healthy_threshold")),
    _check("alt-port", f"alt_port: 65535, {_HTTP}"),
    _check("alt-port-too-big", f"alt_port: 65536, {_HTTP}"),
    _check("no-traffic-interval-zero", f"no_traffic_interval: 0s, {_HTTP}"),
    _check("no-traffic-healthy-interval-zero", f"no_traffic_healthy_interval: 0s, {_HTTP}"),
    _check("unhealthy-interval-zero", f"unhealthy_interval: 0s, {_HTTP}"),
    _check("unhealthy-edge-interval-zero", f"unhealthy_edge_interval: 0s, {_HTTP}"),
    _check("healthy-edge-interval-zero", f"healthy_edge_interval: 0s, {_HTTP}"),
    _check("jitters", f"initial_jitter: 1s, interval_jitter: 1s, interval_jitter_percent: 200, {_HTTP}"),
    _check("jitter-zero", f"interval_jitter: 0s, {_HTTP}"),
    _check("event-log", f"event_log_path: /dev/null, {_HTTP}"),
    _check("always-log", f"always_log_health_check_failures: true, always_log_health_check_success: true, {_HTTP}"),
    _check(
        "event-logger-file",
        f'event_logger: [{{name: file, typed_config: {{"@type": {TYPE}/envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink, event_log_path: /dev/null}}}}], {_HTTP}',
    ),
    _check(
        "event-logger-file-empty",
        f'event_logger: [{{name: file, typed_config: {{"@type": {TYPE}/envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink}}}}], {_HTTP}',
    ),
    _check("event-logger-unknown", f"event_logger: [{{name: nobody}}], {_HTTP}"),
    _check(
        "event-service",
        f"event_service: {{grpc_service: {{envoy_grpc: {{cluster_name: one}}}}}}, {_HTTP}",
        "not supported",
    ),
    _check("event-service-empty", f"event_service: {{}}, {_HTTP}"),
    _check("tls-options", f"tls_options: {{alpn_protocols: [http1]}}, {_HTTP}"),
    _check("match-criteria", f"transport_socket_match_criteria: {{a: b}}, {_HTTP}"),
    _check("custom-unknown", "custom_health_check: {name: nobody}"),
    _check(
        "custom-redis",
        f'custom_health_check: {{name: envoy.health_checkers.redis, typed_config: {{"@type": {TYPE}/envoy.extensions.health_checkers.redis.v3.Redis, key: foo}}}}',
        "not supported",
    ),
    _check("http-empty", "http_health_check: {}"),
    _check("http-path-bad", 'http_health_check: {path: "/a\\nb"}'),
    _check("http-path-space", 'http_health_check: {path: "a b"}'),
    _http("host", "host: a.test"),
    _http("host-bad", 'host: "a\\nb"'),
    _http("method-connect", "method: CONNECT"),
    _http("method-post", "method: POST"),
    _http("send-get", 'send: {text: "00"}'),
    _http("send-post", 'send: {text: "00"}, method: POST'),
    _http("receive", 'receive: [{text: "6f6b"}]'),
    _http("receive-bad-hex", 'receive: [{text: "6f6"}]'),
    _http("receive-empty-text", 'receive: [{text: ""}]'),
    _http("receive-nothing", "receive: [{}]"),
    _http("receive-binary", 'receive: [{binary: "b2s="}]'),
    _http("receive-longer-than-buffer", 'response_buffer_size: 1, receive: [{text: "6f6b"}]'),
    _http("buffer-zero", 'response_buffer_size: 0, receive: [{text: "6f6b"}]'),
    _http("statuses", "expected_statuses: [{start: 200, end: 300}, {start: 404, end: 405}]"),
    _http("statuses-empty-range", "expected_statuses: [{start: 200, end: 200}]"),
    _http("statuses-low", "expected_statuses: [{start: 99, end: 200}]"),
    _http("statuses-high", "expected_statuses: [{start: 200, end: 601}]"),
    _http("statuses-negative", "expected_statuses: [{start: -1, end: 600}]"),
    _http("retriable", "retriable_statuses: [{start: 500, end: 600}]"),
    _http("retriable-bad", "retriable_statuses: [{start: 600, end: 500}]"),
    _http(
        "headers",
        "request_headers_to_add: [{header: {key: a, value: '%UPSTREAM_REMOTE_ADDRESS%'}}], request_headers_to_remove: [user-agent]",
    ),
    _http("headers-host-removed", "request_headers_to_remove: [host]"),
    _http("headers-bad-command", "request_headers_to_add: [{header: {key: a, value: '%NOTHING%'}}]"),
    _http("headers-pseudo", "request_headers_to_add: [{header: {key: ':path', value: a}}]"),
    _http("codec-http2", "codec_client_type: HTTP2"),
    _http("codec-http3", "codec_client_type: HTTP3", "not supported"),
    _http("service-name", "service_name_matcher: {prefix: a}"),
    _http("service-name-empty", "service_name_matcher: {}"),
    _http("service-name-bad-regex", "service_name_matcher: {safe_regex: {regex: '('}}"),
    _tcp("empty", ""),
    _tcp("send", 'send: {text: "0102"}'),
    _tcp("send-bad-hex", 'send: {text: "010"}'),
    _tcp("send-binary", 'send: {binary: "AAE="}'),
    _tcp("receive", 'receive: [{text: "0A0b"}, {text: "0c"}]'),
    _tcp("receive-bad-hex", 'receive: [{text: "xx"}]'),
    _tcp("receive-nothing", "receive: [{}]"),
    _tcp("proxy-protocol", "proxy_protocol_config: {version: V2}"),
    _tcp("proxy-protocol-tlvs", "proxy_protocol_config: {version: V1, added_tlvs: [{type: 1, value: YQ==}]}"),
    _grpc("http2", ""),
    _grpc("http1", "", more=""),
    _grpc("fields", "service_name: a, authority: b, initial_metadata: [{header: {key: a, value: b}}]"),
    _grpc("authority-bad", 'authority: "a\\nb"'),
    _endpoint("port", "port_value: 81"),
    _endpoint("port-too-big", "port_value: 65536"),
    _endpoint("hostname", "hostname: a.test"),
    _endpoint("address", "address: {socket_address: {address: 127.0.0.2, port_value: 81}}"),
    _endpoint("address-and-port", "port_value: 1, address: {socket_address: {address: 127.0.0.2, port_value: 81}}"),
    _endpoint("address-name", "address: {socket_address: {address: localhost, port_value: 81}}"),
    _endpoint("disabled", "disable_active_health_check: true"),
    cluster(
        "hc-alt-port-pipe",
        f"health_checks: [{{{_ALL}, alt_port: 1, {_HTTP}}}]\n"
        "load_assignment: {cluster_name: one, endpoints: [{lb_endpoints: [{endpoint: {address: {pipe: {path: /tmp/x}}}}]}]}",
    ),
    cluster(
        "hc-port-pipe",
        f"health_checks: [{{{_ALL}, {_HTTP}}}]\n"
        "load_assignment: {cluster_name: one, endpoints: [{lb_endpoints: [{endpoint: {address: {pipe: {path: /tmp/x}}, health_check_config: {port_value: 1}}}]}]}",
    ),
    cluster(
        "hc-original-dst",
        f"type: ORIGINAL_DST\nlb_policy: CLUSTER_PROVIDED\nhealth_checks: [{{{_ALL}, {_HTTP}}}]",
        "hosts that workers make are not checked",
    ),
    _filter("pass-through", "pass_through_mode: true"),
    _filter("without-mode", ""),
    _filter("not-pass-through", "pass_through_mode: false"),
    _filter("cached", "pass_through_mode: true, cache_time: 1s"),
    _filter("cached-not-pass-through", "pass_through_mode: false, cache_time: 1s"),
    _filter("cache-zero", "pass_through_mode: true, cache_time: 0s"),
    _filter("percentages", "pass_through_mode: false, cluster_min_healthy_percentages: {one: {value: 50}}"),
    _filter("percentages-pass-through", "pass_through_mode: true, cluster_min_healthy_percentages: {one: {value: 50}}"),
    _filter("percentages-too-big", "pass_through_mode: false, cluster_min_healthy_percentages: {one: {value: 101}}"),
    _filter("percentages-unknown", "pass_through_mode: false, cluster_min_healthy_percentages: {nobody: {value: 1}}"),
    _filter("headers", "pass_through_mode: false, headers: [{name: ':path', string_match: {exact: /health}}]"),
]
