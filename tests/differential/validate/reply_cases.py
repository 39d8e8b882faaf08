"""Local replies, Proxy-Status, and the connection manager's timeouts and limits."""
# ruff: noqa: E501 - a case is a line

from tests.differential.validate.corpus import ROUTER_FILTER, TYPE, manager, route

_ANY = "filter: {not_health_check_filter: {}}"
_FORMATTER = f"{TYPE}/envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery"


def _mapper(name: str, fields: str, stricter: str = "") -> object:
    return manager(f"mapper-{name}", f"local_reply_config: {{mappers: [{{{_ANY}, {fields}}}]}}", stricter)


def _filter(name: str, fields: str, stricter: str = "") -> object:
    return manager(
        f"mapper-filter-{name}",
        f"local_reply_config: {{mappers: [{{filter: {{{fields}}}, status_code: 500}}]}}",
        stricter,
    )


def _body_format(name: str, fields: str, stricter: str = "") -> object:
    return manager(f"body-format-{name}", f"local_reply_config: {{body_format: {{{fields}}}}}", stricter)


CASES = [
    manager("local-reply-empty", "local_reply_config: {}"),
    _mapper("status", "status_code: 599"),
    _mapper("status-too-small", "status_code: 199"),
    _mapper("status-too-large", "status_code: 600"),
    _mapper("body", "body: {inline_string: x}"),
    _mapper("body-empty", "body: {inline_string: ''}"),
    _mapper("body-of-nothing", "body: {}"),
    _mapper("body-of-no-file", "body: {filename: /nonexistent/file}"),
    _mapper("body-of-no-variable", "body: {environment_variable: PROXENY_NO_SUCH_VARIABLE}"),
    _mapper("format", "body_format_override: {text_format_source: {inline_string: '%LOCAL_REPLY_BODY%'}}"),
    _mapper("format-of-nothing", "body_format_override: {}"),
    _mapper("format-bad-syntax", "body_format_override: {text_format_source: {inline_string: '%REQ(:path%'}}"),
    _mapper("header", "headers_to_add: [{header: {key: a, value: '%RESPONSE_CODE%'}}]"),
    _mapper("header-pseudo", "headers_to_add: [{header: {key: ':status', value: '200'}}]"),
    _mapper("header-host", "headers_to_add: [{header: {key: host, value: a}}]"),
    _mapper("header-without-key", "headers_to_add: [{header: {value: a}}]"),
    _mapper("header-bad-format", "headers_to_add: [{header: {key: a, value: '%NOTHING%'}}]"),
    _mapper(
        "header-two-actions",
        "headers_to_add: [{header: {key: a, value: b}, append: true, append_action: ADD_IF_ABSENT}]",
    ),
    _mapper("header-undefined-action", "headers_to_add: [{header: {key: a, value: b}, append_action: 9}]"),
    _filter("empty", ""),
    _filter("flag", "response_flag_filter: {flags: [UF, URX]}"),
    _filter("unknown-flag", "response_flag_filter: {flags: [XX]}"),
    _filter("and-of-one", "and_filter: {filters: [{not_health_check_filter: {}}]}"),
    _filter("regex", "header_filter: {header: {name: a, string_match: {safe_regex: {regex: '('}}}}"),
    _filter("metadata", "metadata_filter: {matcher: {filter: a, path: [{key: b}], value: {present_match: true}}}"),
    _filter("log-type", "log_type_filter: {types: [NotSet]}"),
    _filter("status-without-value", "status_code_filter: {comparison: {op: EQ}}"),
    _filter("unknown-extension", "extension_filter: {name: nothing}"),
    _body_format("nothing", ""),
    _body_format("json", "json_format: {a: '%LOCAL_REPLY_BODY%', b: {c: ['%RESPONSE_CODE%', 1, null]}}"),
    _body_format("json-bad", "json_format: {a: '%NOTHING%'}"),
    _body_format("content-type", "content_type: text/html, text_format_source: {inline_string: x}"),
    _body_format("content-type-newline", 'content_type: "a\\n", text_format_source: {inline_string: x}'),
    _body_format(
        "formatter",
        f'text_format_source: {{inline_string: "%REQ_WITHOUT_QUERY(:path)%"}}, formatters: [{{name: f, typed_config: {{"@type": {_FORMATTER}}}}}]',
    ),
    _body_format("without-formatter", 'text_format_source: {inline_string: "%REQ_WITHOUT_QUERY(:path)%"}'),
    _body_format("unknown-formatter", "text_format_source: {inline_string: x}, formatters: [{name: nothing}]"),
    manager("proxy-status-empty", "proxy_status_config: {}"),
    manager("proxy-status-literal", "proxy_status_config: {literal_proxy_name: a}"),
    manager("proxy-status-node", "proxy_status_config: {use_node_id: false}"),
    manager(
        "proxy-status-all",
        "proxy_status_config: {remove_details: true, remove_connection_termination_details: true, remove_response_flags: true, set_recommended_response_code: true}",
    ),
    manager("stream-error-override", "http_protocol_options: {override_stream_error_on_invalid_http_message: false}"),
    manager("stream-flush-timeout", "stream_flush_timeout: 1s"),
    manager("stream-flush-timeout-negative", "stream_flush_timeout: -1s"),
    manager("delayed-close-negative", "delayed_close_timeout: -1s"),
    manager("delayed-close-zero", "delayed_close_timeout: 0s"),
    manager("max-duration-zero", "common_http_protocol_options: {max_connection_duration: 0s}"),
    manager("max-stream-duration-zero", "common_http_protocol_options: {max_stream_duration: 0s}"),
    manager("max-stream-duration-negative", "common_http_protocol_options: {max_stream_duration: -1s}"),
    manager("max-requests", "common_http_protocol_options: {max_requests_per_connection: 1}"),
    manager("append-local-overload", "append_local_overload: true"),
    manager("proxy-100-continue", "proxy_100_continue: true"),
]

_ROUTE_FILTER = f"{TYPE}/envoy.config.route.v3.FilterConfig"
_MUTATION = f"{TYPE}/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"
_ROUTE_MUTATION = f"{TYPE}/envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute"


def _per_route(name: str, fields: str, stricter: str = "", key: str = "m") -> object:
    return route(
        f"filter-config-{name}",
        f'typed_per_filter_config: {{{key}: {{"@type": {_ROUTE_FILTER}{", " if fields else ""}{fields}}}}}',
        stricter,
    )


def _filters(name: str, fields: str, stricter: str = "") -> object:
    return manager(
        f"filters-{name}",
        f"http_filters: [{{name: m{', ' if fields else ''}{fields}}}, {ROUTER_FILTER}]",
        stricter,
    )


CASES += [
    _per_route("disabled", "disabled: true"),
    _per_route("disabled-router", "disabled: true", key="envoy.filters.http.router"),
    _per_route("empty", ""),
    _per_route("optional-empty", "is_optional: true"),
    _per_route("config", f'config: {{"@type": {_ROUTE_MUTATION}}}'),
    _per_route("config-and-disabled", f'disabled: true, config: {{"@type": {_ROUTE_MUTATION}}}'),
    _per_route("unknown-type", f'config: {{"@type": {TYPE}/a.B}}'),
    _per_route("unknown-type-optional", f'is_optional: true, config: {{"@type": {TYPE}/a.B}}'),
    _per_route("other-type", f'config: {{"@type": {TYPE}/envoy.config.core.v3.Node}}'),
    _per_route("other-type-optional", f'is_optional: true, config: {{"@type": {TYPE}/envoy.config.core.v3.Node}}'),
    _per_route("nested", f'config: {{"@type": {_ROUTE_FILTER}, disabled: true}}'),
    _filters("disabled", f'disabled: true, typed_config: {{"@type": {_MUTATION}, mutations: {{}}}}'),
    _filters("optional", f'is_optional: true, typed_config: {{"@type": {_MUTATION}, mutations: {{}}}}'),
    _filters("disabled-without-config", "disabled: true"),
    _filters("optional-unknown-type", f'is_optional: true, typed_config: {{"@type": {TYPE}/a.B}}'),
    _filters("disabled-unknown-type", f'disabled: true, typed_config: {{"@type": {TYPE}/a.B}}'),
]
