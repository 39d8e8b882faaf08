"""The connection manager's settings about identity, headers and tracing."""
# ruff: noqa: E501 - a case is a line

from tests.differential.validate.corpus import TYPE, manager

_XFF = f"{TYPE}/envoy.extensions.http.original_ip_detection.xff.v3.XffConfig"
_CUSTOM = f"{TYPE}/envoy.extensions.http.original_ip_detection.custom_header.v3.CustomHeaderConfig"
_EARLY = f"{TYPE}/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
_UUID = f"{TYPE}/envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig"
_VALIDATOR = f"{TYPE}/envoy.extensions.http.header_validators.envoy_default.v3.HeaderValidatorConfig"
_CASE = f"{TYPE}/envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig"
_FORWARD = (
    f"{TYPE}/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.ForwardClientCertConfig"
)
_HEADER_INPUT = f"{TYPE}/envoy.type.matcher.v3.HttpRequestHeaderMatchInput"
_RESPONSE_INPUT = f"{TYPE}/envoy.type.matcher.v3.HttpResponseHeaderMatchInput"
_NODE = f"{TYPE}/envoy.config.core.v3.Node"
_CIDRS = "xff_trusted_cidrs: {cidrs: [{address_prefix: 10.0.0.0, prefix_len: 8}]}"


def _typed(type_url: str, fields: str = "") -> str:
    return f'{{"@type": {type_url}{", " if fields else ""}{fields}}}'


def _detection(name: str, fields: str, type_url: str = _XFF, more: str = "") -> object:
    text = f"original_ip_detection_extensions: [{{name: x, typed_config: {_typed(type_url, fields)}}}]\n{more}"
    return manager(f"ip-detection-{name}", text)


def _early(name: str, mutations: str) -> object:
    typed = _typed(_EARLY, f"mutations: [{mutations}]")
    return manager(f"early-{name}", f"early_header_mutation_extensions: [{{name: x, typed_config: {typed}}}]")


def _names(name: str, text: str) -> object:
    return manager(f"names-{name}", f"http_protocol_options: {{header_key_format: {{{text}}}}}")


def _formatter(fields: str = "", type_url: str = _CASE) -> str:
    return f"stateful_formatter: {{name: a, typed_config: {_typed(type_url, fields)}}}"


def _matcher(name: str, action: str, input_type: str = _HEADER_INPUT, fields: str = "header_name: x-mode") -> object:
    data_input = f"input: {{name: i, typed_config: {_typed(input_type, fields)}}}"
    matched = f"exact_match_map: {{map: {{a: {{action: {{name: a, typed_config: {_typed(action)}}}}}}}}}"
    return manager(
        f"cert-matcher-{name}", f"forward_client_cert_matcher: {{matcher_tree: {{{data_input}, {matched}}}}}"
    )


def _upgrades(name: str, matcher: str) -> object:
    return manager(f"ignore-upgrade-{name}", f"http_protocol_options: {{ignore_http_11_upgrade: [{matcher}]}}")


CASES = [
    _detection("and-remote-address", "xff_num_trusted_hops: 1", more="use_remote_address: true"),
    _detection("and-hops", "xff_num_trusted_hops: 1", more="xff_num_trusted_hops: 1"),
    _detection("and-skip-append", "xff_num_trusted_hops: 1", more="skip_xff_append: true"),
    _detection("hops-and-cidrs", f"xff_num_trusted_hops: 1, {_CIDRS}"),
    _detection("zero-hops-and-cidrs", f"xff_num_trusted_hops: 0, {_CIDRS}"),
    _detection("empty-cidrs", "xff_trusted_cidrs: {}"),
    _detection("hops-and-empty-cidrs", "xff_num_trusted_hops: 1, xff_trusted_cidrs: {}"),
    _detection("bad-cidr", "xff_trusted_cidrs: {cidrs: [{address_prefix: junk, prefix_len: 8}]}"),
    _detection("wrong-type", "", _NODE),
    manager(
        "ip-detection-no-config", "original_ip_detection_extensions: [{name: envoy.http.original_ip_detection.xff}]"
    ),
    _detection("header-no-name", "reject_with_status: {code: 401}", _CUSTOM),
    _detection("header-bad-name", 'header_name: "a b"', _CUSTOM),
    _detection("header-colon", 'header_name: ":path"', _CUSTOM),
    _detection("header-no-status", "header_name: a, reject_with_status: {}", _CUSTOM),
    _detection("header-odd-status", "header_name: a, reject_with_status: {code: 299}", _CUSTOM),
    _detection("header-200", "header_name: a, reject_with_status: {code: 200}", _CUSTOM),
    _early("none", ""),
    _early("empty", "{}"),
    _early("remove", "{remove: a}"),
    _early("remove-nothing", "{remove: ''}"),
    _early("remove-host", "{remove: host}"),
    _early("append-host", "{append: {header: {key: host, value: a}}}"),
    _early("append-path", "{append: {header: {key: ':path', value: a}}}"),
    _early("append-no-header", "{append: {}}"),
    _early("append-bad-format", "{append: {header: {key: a, value: '%NOTHING%'}}}"),
    _early("append-both", "{append: {header: {key: a, value: b}, append: true, append_action: ADD_IF_ABSENT}}"),
    _early("append-raw", "{append: {header: {key: a, raw_value: YQ==}}}"),
    _early("match", "{remove_on_match: {key_matcher: {prefix: a}}}"),
    _early("match-none", "{remove_on_match: {}}"),
    _early("match-regex", "{remove_on_match: {key_matcher: {safe_regex: {regex: '['}}}}"),
    manager("early-no-config", "early_header_mutation_extensions: [{name: nothing}]"),
    manager("request-id", f"request_id_extension: {{typed_config: {_typed(_UUID, 'pack_trace_reason: false')}}}"),
    manager("request-id-empty", "request_id_extension: {}"),
    manager("request-id-unknown", f"request_id_extension: {{typed_config: {_typed(_NODE)}}}"),
    manager("tracing-empty", "tracing: {}"),
    manager("tracing-over-100", "tracing: {random_sampling: {value: 101}}"),
    manager("tracing-negative", "tracing: {overall_sampling: {value: -1}}"),
    manager("tracing-nan", "tracing: {overall_sampling: {value: nan}}"),
    manager("tracing-unknown-provider", f"tracing: {{provider: {{name: nothing, typed_config: {_typed(_NODE)}}}}}"),
    manager("tracing-provider-nameless", "tracing: {provider: {}}"),
    manager(
        "tracing-tags", "tracing: {custom_tags: [{tag: a, literal: {value: b}}, {tag: c, request_header: {name: d}}]}"
    ),
    manager("tracing-tag-nameless", "tracing: {custom_tags: [{literal: {value: b}}]}"),
    manager("tracing-tag-without-type", "tracing: {custom_tags: [{tag: a}]}"),
    manager("tracing-operation", "tracing: {operation: '%REQ(a)%', upstream_operation: b}"),
    manager("tracing-bad-operation", "tracing: {operation: '%NOTHING%'}"),
    manager("header-validator", f"typed_header_validation_config: {{name: v, typed_config: {_typed(_VALIDATOR)}}}"),
    manager(
        "path-normalization-options",
        "path_normalization_options: {forwarding_transformation: {operations: [{normalize_path_rfc_3986: {}}]}}",
    ),
    manager("scheme-both", "scheme_header_transformation: {match_upstream: true, scheme_to_overwrite: http}"),
    manager("scheme-odd", "scheme_header_transformation: {scheme_to_overwrite: ftp}"),
    _names("preserved", _formatter()),
    _names(
        "preserved-with-options",
        _formatter("forward_reason_phrase: true, formatter_type_on_envoy_headers: PROPER_CASE"),
    ),
    _names("preserved-oddly", _formatter("formatter_type_on_envoy_headers: 7")),
    _names("nothing", ""),
    _names("unknown-formatter", _formatter("", _NODE)),
    _upgrades("some", "{prefix: a}"),
    _upgrades("empty", "{}"),
    _upgrades("bad-regex", "{safe_regex: {regex: '('}}"),
    manager("cert-odd", "forward_client_cert_details: 9"),
    manager(
        "cert-all",
        "forward_client_cert_details: APPEND_FORWARD\nset_current_client_cert_details: {subject: true, cert: true, chain: true, dns: true, uri: true}",
    ),
    _matcher("some", _FORWARD),
    _matcher("other-action", _NODE),
    _matcher("other-input", _FORWARD, _NODE, "id: a"),
    _matcher("response-input", _FORWARD, _RESPONSE_INPUT, "header_name: a"),
    manager("cert-matcher-empty", "forward_client_cert_matcher: {}"),
    manager("strip-both", "strip_any_host_port: true\nstrip_matching_host_port: true"),
    manager("response-headers-kb", "common_http_protocol_options: {max_response_headers_kb: 4}"),
    manager("headers-kb-zero", "max_request_headers_kb: 0"),
    manager("headers-kb-huge", "max_request_headers_kb: 8193"),
    manager("internal-unix", "internal_address_config: {unix_sockets: true}"),
    manager("internal-bad-cidr", "internal_address_config: {cidr_ranges: [{address_prefix: junk}]}"),
    manager("via-line-feed", 'via: "a\\nb"'),
    manager("safe-duration", "http1_safe_max_connection_duration: true"),
    manager("proxy-protocol-state", "add_proxy_protocol_connection_state: false"),
    manager("mapped-addresses", "represent_ipv4_remote_address_as_ipv4_mapped_ipv6: true"),
    manager("forwarded-port", "append_x_forwarded_port: true"),
]
