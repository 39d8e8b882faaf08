"""Access logs: formats, their extensions, filters, and when records are written."""
# ruff: noqa: E501 - a case is a line

from tests.differential.validate.corpus import ROUTER, TYPE, Verdict, access_log, manager

_STDOUT = f"{TYPE}/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"
_STDERR = f"{TYPE}/envoy.extensions.access_loggers.stream.v3.StderrAccessLog"
_FILE = f"{TYPE}/envoy.extensions.access_loggers.file.v3.FileAccessLog"
_FORMATTER = f"{TYPE}/envoy.extensions.formatter"
_LOG = f'{{name: l, typed_config: {{"@type": {_STDOUT}}}}}'


def _format(name: str, text: str, stricter: str = "") -> Verdict:
    made = f"{{name: l, typed_config: {{\"@type\": {_STDOUT}, log_format: {{text_format_source: {{inline_string: '{text}'}}}}}}}}"
    return access_log(f"operator-{name}", made, stricter)


def _json(name: str, fields: str, more: str = "") -> Verdict:
    made = f'{{name: l, typed_config: {{"@type": {_STDOUT}, log_format: {{json_format: {fields}{more}}}}}}}'
    return access_log(f"json-{name}", made)


def _router(name: str, fields: str) -> Verdict:
    return manager(
        f"upstream-log-{name}",
        f'http_filters: [{{name: envoy.filters.http.router, typed_config: {{"@type": {TYPE}/{ROUTER}, {fields}}}}}]',
    )


CASES = [
    _format("length-of-cluster-metadata", "%CLUSTER_METADATA(a:b):3%"),
    _format("length-of-upstream-metadata", "%UPSTREAM_METADATA(a:b):3%"),
    _format("length-of-dynamic-metadata", "%DYNAMIC_METADATA(a:b):3%"),
    _format("length-of-time", "%START_TIME:3%"),
    _format("newline-in-time", "%START_TIME(%n)%"),
    _format("mask", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(24)%"),
    _format("mask-is-a-word", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(x)%"),
    _format("mask-of-port", "%DOWNSTREAM_REMOTE_PORT(24)%"),
    _format("length-of-address", "%UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT:3%"),
    _format("endpoint-id-of-peer", "%DOWNSTREAM_REMOTE_ADDRESS_ENDPOINT_ID%"),
    _format("endpoint-id", "%UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID%"),
    _format("attempted-with-parameter", "%UPSTREAM_HOSTS_ATTEMPTED(a)%"),
    _format("xfcc", "%XFCC_VALUE(uri):3%"),
    _format("xfcc-nothing", "%XFCC_VALUE%"),
    _format("xfcc-unknown", "%XFCC_VALUE(mail)%"),
    _format("metadata-unknown-type", "%METADATA(NOTHING:a)%"),
    _format("metadata-nothing", "%METADATA%"),
    _format("filter-state-nothing", "%FILTER_STATE%"),
    _format("filter-state-form", "%FILTER_STATE(a:OTHER)%"),
    _format("filter-state-field", "%FILTER_STATE(a:FIELD)%"),
    _format("filter-state-plain-field", "%FILTER_STATE(a:PLAIN:f)%"),
    _format("route-resolution", "%ROUTE_RESOLUTION_COUNT% %ROUTE_RESOLUTION_TIME_US%"),
    _format("path-option", "%PATH(XX)%"),
    _format("path-source", "%PATH(WQ:XX)%"),
    _format("query-option", "%QUERY_PARAMS(XX)%"),
    _format("server-name-option", "%REQUESTED_SERVER_NAME(XX)%"),
    _format("server-name-host", "%REQUESTED_SERVER_NAME(SNI_FIRST:XX)%"),
    _format("grpc-form", "%GRPC_STATUS(XX)%"),
    _format("duration-parts", "%COMMON_DURATION(A)%"),
    _format("environment-nothing", "%ENVIRONMENT%"),
    _format("coalesce-not-json", "%COALESCE(x)%"),
    _format("coalesce-empty", '%COALESCE({"operators":[]})%'),
    _format("coalesce-unknown", '%COALESCE({"operators":["NOTHING"]})%'),
    _format("without-query-unregistered", "%REQ_WITHOUT_QUERY(:PATH)%"),
    _json("nested", '{a: {b: "%PROTOCOL%"}, c: [1, "%BYTES_SENT%"]}'),
    _json("bad-operator", '{a: {b: "%NOTHING%"}}'),
    _json("options", '{a: "%PROTOCOL%"}', ", json_format_options: {sort_properties: true}, omit_empty_values: true"),
    _json(
        "formatter",
        '{a: "%REQ_WITHOUT_QUERY(:PATH)%"}',
        f', formatters: [{{name: f, typed_config: {{"@type": {_FORMATTER}.req_without_query.v3.ReqWithoutQuery}}}}]',
    ),
    _json(
        "formatter-unknown",
        '{a: "%PROTOCOL%"}',
        f', formatters: [{{name: f, typed_config: {{"@type": {TYPE}/envoy.config.core.v3.Node}}}}]',
    ),
    access_log("stderr", f'{{name: l, typed_config: {{"@type": {_STDERR}}}}}'),
    access_log("file-in-no-folder", f'{{name: l, typed_config: {{"@type": {_FILE}, path: /no/such/folder/log}}}}'),
    access_log("stdout-format-empty", f'{{name: l, typed_config: {{"@type": {_STDOUT}, log_format: {{}}}}}}'),
    manager("new-request", f"access_log: [{_LOG}]\naccess_log_options: {{flush_access_log_on_new_request: true}}"),
    manager(
        "new-request-twice", f"access_log: [{_LOG}]\nflush_access_log_on_new_request: true\naccess_log_options: {{}}"
    ),
    manager("interval-twice", f"access_log: [{_LOG}]\naccess_log_flush_interval: 1s\naccess_log_options: {{}}"),
    manager("interval", f"access_log: [{_LOG}]\naccess_log_options: {{access_log_flush_interval: 1s}}"),
    manager("interval-too-short", f"access_log: [{_LOG}]\naccess_log_options: {{access_log_flush_interval: 0.0001s}}"),
    _router("plain", f"upstream_log: [{_LOG}]"),
    _router(
        "options",
        f"upstream_log: [{_LOG}], upstream_log_options: {{flush_upstream_log_on_upstream_stream: true, upstream_log_flush_interval: 1s}}",
    ),
    _router(
        "interval-too-short", f"upstream_log: [{_LOG}], upstream_log_options: {{upstream_log_flush_interval: 0.0001s}}"
    ),
    _router(
        "bad-format",
        f'upstream_log: [{{name: l, typed_config: {{"@type": {_STDOUT}, log_format: {{text_format_source: {{inline_string: "%NOTHING%"}}}}}}}}]',
    ),
    _router("unknown-logger", "upstream_log: [{name: nothing}]"),
]
