"""The HTTP connection manager, HTTP filters and access logs."""
# ruff: noqa: E501 - a case is a line

from tests.differential.validate.corpus import ROUTER, ROUTER_FILTER, TYPE, access_log, manager

_HTTP = f"{TYPE}/envoy.extensions.filters.http"
_STDOUT = f"{TYPE}/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"
_FILE = f"{TYPE}/envoy.extensions.access_loggers.file.v3.FileAccessLog"
_STRUCT = f"{TYPE}/xds.type.v3.TypedStruct"


def _format(name: str, text: str, stricter: str = "") -> object:
    return access_log(
        f"format-{name}",
        f'{{name: l, typed_config: {{"@type": {_STDOUT}, log_format: {{text_format_source: {{inline_string: "{text}"}}}}}}}}',
        stricter,
    )


def _filter(name: str, fields: str, stricter: str = "") -> object:
    return access_log(
        f"filter-{name}", f'{{name: l, typed_config: {{"@type": {_STDOUT}}}, filter: {{{fields}}}}}', stricter
    )


CASES = [
    manager("plain", ""),
    manager("without-prefix", "stat_prefix: ''"),
    manager("without-routes", "", routed=False),
    manager("routes-null", "route_config: null", routed=False),
    manager("no-filters", "", filters=""),
    manager("two-routers", f"http_filters: [{ROUTER_FILTER}, {ROUTER_FILTER}]"),
    manager(
        "router-not-last", f'http_filters: [{ROUTER_FILTER}, {{name: b, typed_config: {{"@type": {TYPE}/{ROUTER}}}}}]'
    ),
    manager("filter-nameless", "http_filters: [{name: ''}]"),
    manager("filter-without-config", "http_filters: [{name: envoy.filters.http.router}]"),
    manager("filter-unknown", "http_filters: [{name: nothing}]"),
    manager(
        "filter-unknown-optional",
        "http_filters: [{name: nothing, is_optional: true}]",
        "a filter without configuration is a slip",
    ),
    manager(
        "filter-wrong-type", f'http_filters: [{{name: a, typed_config: {{"@type": {TYPE}/envoy.config.core.v3.Node}}}}]'
    ),
    manager(
        "filter-network-type",
        f'http_filters: [{{name: a, typed_config: {{"@type": {TYPE}/envoy.extensions.filters.network.echo.v3.Echo}}}}]',
    ),
    manager("router-other-name", f'http_filters: [{{name: mine, typed_config: {{"@type": {TYPE}/{ROUTER}}}}}]'),
    manager(
        "router-disabled", f'http_filters: [{{name: mine, disabled: true, typed_config: {{"@type": {TYPE}/{ROUTER}}}}}]'
    ),
    manager(
        "router-bad-strict-header",
        f'http_filters: [{{name: a, typed_config: {{"@type": {TYPE}/{ROUTER}, strict_check_headers: [a]}}}}]',
    ),
    manager(
        "router-strict-header",
        f'http_filters: [{{name: a, typed_config: {{"@type": {TYPE}/{ROUTER}, strict_check_headers: [x-envoy-max-retries]}}}}]',
    ),
    manager(
        "typed-struct",
        f'http_filters: [{{name: a, typed_config: {{"@type": {_STRUCT}, type_url: {TYPE}/{ROUTER}, value: {{suppress_envoy_headers: true}}}}}}]',
    ),
    manager(
        "typed-struct-bad",
        f'http_filters: [{{name: a, typed_config: {{"@type": {_STRUCT}, type_url: {TYPE}/{ROUTER}, value: {{foo: true}}}}}}]',
    ),
    manager(
        "typed-struct-constraint",
        f'http_filters: [{{name: a, typed_config: {{"@type": {_STRUCT}, type_url: {TYPE}/{ROUTER}, value: {{strict_check_headers: [a]}}}}}}]',
    ),
    manager(
        "typed-struct-unknown",
        f'http_filters: [{{name: a, typed_config: {{"@type": {_STRUCT}, type_url: {TYPE}/a.B, value: {{}}}}}}]',
    ),
    manager("codec-undefined", "codec_type: 9"),
    manager("codec-http1", "codec_type: http1"),
    manager("server-name-newline", 'server_name: "a\\n"'),
    manager("server-transformation", "server_header_transformation: pass_through"),
    manager("via", "via: x"),
    manager("request-headers-zero", "max_request_headers_kb: 0"),
    manager("request-headers-too-big", "max_request_headers_kb: 8193"),
    manager("idle-negative", "stream_idle_timeout: -1s"),
    manager("idle-zero", "stream_idle_timeout: 0s"),
    manager("headers-timeout-negative", "request_headers_timeout: -1s"),
    manager("headers-count-zero", "common_http_protocol_options: {max_headers_count: 0}"),
    manager("headers-underscores", "common_http_protocol_options: {headers_with_underscores_action: REJECT_REQUEST}"),
    manager("scheme-overwrite", "scheme_header_transformation: {scheme_to_overwrite: https}"),
    manager("scheme-overwrite-other", "scheme_header_transformation: {scheme_to_overwrite: ftp}"),
    manager("http10", "http_protocol_options: {accept_http_10: true, default_host_for_http_10: a}"),
    manager(
        "internal-addresses", "internal_address_config: {cidr_ranges: [{address_prefix: 10.0.0.0, prefix_len: 8}]}"
    ),
    manager("internal-addresses-bad", "internal_address_config: {cidr_ranges: [{address_prefix: ten, prefix_len: 8}]}"),
    manager("internal-addresses-empty", "internal_address_config: {cidr_ranges: [{address_prefix: ''}]}"),
    manager("upgrade", "upgrade_configs: [{upgrade_type: websocket}]"),
    manager("upgrade-twice", "upgrade_configs: [{upgrade_type: websocket}, {upgrade_type: WebSocket}]"),
    manager("strip-both-ports", "strip_matching_host_port: true\nstrip_any_host_port: true"),
    manager(
        "escaped-slashes-undefined", "path_with_escaped_slashes_action: 9", "an undefined enum number means nothing"
    ),
    manager("normalize", "normalize_path: true\nmerge_slashes: true\npath_with_escaped_slashes_action: reject_request"),
    manager("trusted-hops-and-remote", "use_remote_address: true\nxff_num_trusted_hops: 1"),
    manager("detection-with-remote", "use_remote_address: true\noriginal_ip_detection_extensions: [{name: nothing}]"),
    manager("flush-interval-short", "access_log_options: {access_log_flush_interval: 0.0001s}"),
    manager(
        "local-reply-bad-format",
        "local_reply_config: {body_format: {text_format_source: {inline_string: '%NOTHING%'}}}",
    ),
    manager("local-reply-without-filter", "local_reply_config: {mappers: [{status_code: 500}]}"),
    manager(
        "local-reply-status",
        "local_reply_config: {mappers: [{filter: {not_health_check_filter: {}}, status_code: 100}]}",
    ),
    manager("proxy-status-both", "proxy_status_config: {use_node_id: true, literal_proxy_name: a}"),
    manager("request-timeout", "request_timeout: 5s"),
    manager("drain-timeout-negative", "drain_timeout: -1s"),
    access_log("stdout", f'{{name: l, typed_config: {{"@type": {_STDOUT}}}}}'),
    access_log("name-only", "{name: envoy.access_loggers.stdout}"),
    access_log("unknown", "{name: nothing}"),
    access_log("wrong-type", f'{{name: l, typed_config: {{"@type": {TYPE}/envoy.config.core.v3.Node}}}}'),
    access_log("file", f'{{name: l, typed_config: {{"@type": {_FILE}, path: /dev/null}}}}'),
    access_log("file-without-path", f'{{name: l, typed_config: {{"@type": {_FILE}}}}}'),
    access_log("file-bad-folder", f'{{name: l, typed_config: {{"@type": {_FILE}, path: /no/such/folder/log}}}}'),
    access_log(
        "file-deprecated-format",
        f'{{name: l, typed_config: {{"@type": {_FILE}, path: /dev/null, format: "%PROTOCOL%"}}}}',
    ),
    access_log(
        "file-two-formats",
        f'{{name: l, typed_config: {{"@type": {_FILE}, path: /dev/null, format: a, log_format: {{}}}}}}',
    ),
    access_log(
        "file-json",
        f'{{name: l, typed_config: {{"@type": {_FILE}, path: /dev/null, log_format: {{json_format: {{a: "%PROTOCOL%", b: {{c: 5}}}}}}}}}}',
    ),
    access_log(
        "file-json-bad",
        f'{{name: l, typed_config: {{"@type": {_FILE}, path: /dev/null, log_format: {{json_format: {{a: "%NOTHING%"}}}}}}}}',
    ),
    access_log(
        "file-format-none", f'{{name: l, typed_config: {{"@type": {_FILE}, path: /dev/null, log_format: {{}}}}}}'
    ),
    _format("fine", "%START_TIME(%Y)% %REQ(:path?x-a):5% %RESP(a)% %TRAILER(a)% %DURATION%\\n"),
    _format("unknown", "%NOTHING%"),
    _format("unclosed", "%PROTOCOL"),
    _format("unclosed-parameter", "%REQ(a%"),
    _format("stray-percent", "50% done"),
    _format("double-percent", "50%% done"),
    _format("no-parameter", "%REQ%"),
    _format("needless-parameter", "%PROTOCOL(a)%"),
    _format("bad-length", "%REQ(a):x%"),
    _format("three-names", "%REQ(a?b?c)%"),
    _format("empty-name", "%REQ()%"),
    _format("duration-kind", "%COMMON_DURATION(DS_RX_BEG:US_TX_BEG:ms)%"),
    _format("duration-kind-bad", "%COMMON_DURATION(A:B:weeks)%"),
    _format("metadata", "%DYNAMIC_METADATA(a:b)%"),
    _format("empty", ""),
    _filter("status", "status_code_filter: {comparison: {op: GE, value: {default_value: 400, runtime_key: a}}}"),
    _filter("status-bad-op", "status_code_filter: {comparison: {op: 9, value: {runtime_key: a}}}"),
    _filter("status-no-key", "status_code_filter: {comparison: {op: GE, value: {default_value: 400}}}"),
    _filter("status-empty", "status_code_filter: {}"),
    _filter("nothing", ""),
    _filter("flags", "response_flag_filter: {flags: [UF, NR]}"),
    _filter("flags-unknown", "response_flag_filter: {flags: [XX]}"),
    _filter("and-one", "and_filter: {filters: [{not_health_check_filter: {}}]}"),
    _filter(
        "and-two",
        "and_filter: {filters: [{not_health_check_filter: {}}, {duration_filter: {comparison: {op: GE, value: {default_value: 1, runtime_key: a}}}}]}",
    ),
    _filter("header", "header_filter: {header: {name: a, present_match: true}}"),
    _filter("header-empty", "header_filter: {}"),
    _filter("header-bad-regex", "header_filter: {header: {name: a, string_match: {safe_regex: {regex: '('}}}}"),
    _filter("runtime", "runtime_filter: {runtime_key: a}"),
    _filter("runtime-without-key", "runtime_filter: {}"),
    _filter("grpc-undefined", "grpc_status_filter: {statuses: [99]}"),
    _filter("type", "log_type_filter: {types: [DownstreamEnd]}"),
    _filter("type-undefined", "log_type_filter: {types: [99]}"),
    _filter("extension-unknown", "extension_filter: {name: nothing}"),
    manager(
        "per-filter-unknown-name",
        f'route_config: {{virtual_hosts: [{{name: a, domains: [a], typed_per_filter_config: {{nothing: {{"@type": {TYPE}/envoy.config.route.v3.FilterConfig, disabled: true}}}}}}]}}',
    ),
    manager(
        "per-filter-empty",
        "route_config: {virtual_hosts: [{name: a, domains: [a], typed_per_filter_config: {nothing: {}}}]}",
    ),
    manager(
        "per-filter-wrong-type",
        f'route_config: {{virtual_hosts: [{{name: a, domains: [a], typed_per_filter_config: {{nothing: {{"@type": {TYPE}/envoy.config.core.v3.Node}}}}}}]}}',
    ),
    manager(
        "per-filter-optional",
        f'route_config: {{virtual_hosts: [{{name: a, domains: [a], typed_per_filter_config: {{nothing: {{"@type": {TYPE}/envoy.config.route.v3.FilterConfig, is_optional: true, config: {{"@type": {TYPE}/envoy.config.core.v3.Node}}}}}}}}]}}',
    ),
    manager(
        "compressor-is-not-served",
        f'http_filters: [{{name: a, typed_config: {{"@type": {_HTTP}.buffer.v3.Buffer, max_request_bytes: 5}}}}, {ROUTER_FILTER}]',
        "the buffer filter is not served yet",
    ),
]
