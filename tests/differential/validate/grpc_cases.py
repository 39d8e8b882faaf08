"""The gRPC filters."""

from tests.differential.validate.corpus import ROUTER_FILTER, TYPE, Verdict, manager, route

_FILTERS = f"{TYPE}/envoy.extensions.filters.http"
_REVERSE = "grpc_http1_reverse_bridge"


def _filter(case: str, name: str, message: str, fields: str = "") -> Verdict:
    typed = f'{{"@type": {_FILTERS}.{name}.v3.{message}, {fields}}}'
    filters = f"{{name: envoy.filters.http.{name}, typed_config: {typed}}}, {ROUTER_FILTER}"
    return manager(f"{name}-{case}", f"http_filters: [{filters}]")


def _stats(case: str, fields: str) -> Verdict:
    return _filter(case, "grpc_stats", "FilterConfig", fields)


def _reverse(case: str, fields: str) -> Verdict:
    return _filter(case, _REVERSE, "FilterConfig", fields)


def _route(case: str, fields: str) -> Verdict:
    typed = f'{{"@type": {_FILTERS}.{_REVERSE}.v3.FilterConfigPerRoute, {fields}}}'
    config = f"typed_per_filter_config: {{envoy.filters.http.{_REVERSE}: {typed}}}"
    return route(f"{_REVERSE}-{case}", f"match: {{prefix: /}}\nroute: {{cluster: one}}\n{config}")


CASES = [
    _stats("empty", ""),
    _stats("all", "stats_for_all_methods: true, emit_filter_state: true, enable_upstream_stats: true"),
    _stats("dots", "stats_for_all_methods: false, replace_dots_in_grpc_service_name: true"),
    _stats("list", "individual_method_stats_allowlist: {services: [{name: a.B, method_names: [C, D]}]}"),
    _stats("list-empty", "individual_method_stats_allowlist: {}"),
    _stats("list-nameless", "individual_method_stats_allowlist: {services: [{name: '', method_names: [C]}]}"),
    _stats("list-without-methods", "individual_method_stats_allowlist: {services: [{name: a}]}"),
    _stats("both", "stats_for_all_methods: true, individual_method_stats_allowlist: {services: []}"),
    _filter("empty", "grpc_web", "GrpcWeb"),
    _filter("unknown-field", "grpc_web", "GrpcWeb", "other: 1"),
    _filter("empty", "grpc_http1_bridge", "Config"),
    _filter("all", "grpc_http1_bridge", "Config", "upgrade_protobuf_to_grpc: true, ignore_query_parameters: true"),
    _reverse("empty", ""),
    _reverse("content-type", "content_type: a/b"),
    _reverse("all", "content_type: a/b, withhold_grpc_frames: true, response_size_header: X-Size"),
    _reverse("bad-header", "content_type: a/b, response_size_header: 'a b'"),
    _reverse("newline-header", 'content_type: a/b, response_size_header: "a\\nb"'),
    _route("disabled", "disabled: true"),
    _route("not-disabled", "disabled: false"),
    _route("nothing", ""),
]
