"""Mirrors, hedging, retries, upstream HTTP filters, header_mutation."""
# ruff: noqa: E501 - a case is a line

from tests.differential.validate.corpus import ROUTER, ROUTER_FILTER, TYPE, Verdict, cluster, hosts, manager, route

_RETRY = f"{TYPE}/envoy.extensions.retry"
_MUTATION = f"{TYPE}/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"
_CODEC = f'{{name: envoy.filters.http.upstream_codec, typed_config: {{"@type": {TYPE}/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec}}}}'


def action(name: str, fields: str, stricter: str = "") -> Verdict:
    """A route to the cluster `one` with further fields."""
    return route(name, f"route: {{cluster: one, {fields}}}", stricter)


def mirror(name: str, fields: str, stricter: str = "") -> Verdict:
    return action(f"mirror-{name}", f"request_mirror_policies: [{{{fields}}}]", stricter)


def retry(name: str, fields: str, stricter: str = "") -> Verdict:
    return action(f"retry-{name}", f"retry_policy: {{retry_on: 5xx, {fields}}}", stricter)


def upstream(name: str, filters: str, stricter: str = "") -> Verdict:
    """`upstream_http_filters` of the router."""
    router = f'{{name: envoy.filters.http.router, typed_config: {{"@type": {TYPE}/{ROUTER}, upstream_http_filters: [{filters}]}}}}'
    return manager(f"upstream-filters-{name}", "", stricter, filters=router)


def mutation(name: str, fields: str, stricter: str = "") -> Verdict:
    """The filter header_mutation in front of the router."""
    own = f'{{name: mutate, typed_config: {{"@type": {_MUTATION}, mutations: {{{fields}}}}}}}'
    return manager(f"header-mutation-{name}", "", stricter, filters=f"{own}, {ROUTER_FILTER}")


def options(name: str, fields: str, stricter: str = "") -> Verdict:
    """HttpProtocolOptions of a cluster."""
    return cluster(
        f"options-{name}",
        f"""
        typed_extension_protocol_options:
          envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
            "@type": {TYPE}/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
            explicit_http_config: {{http_protocol_options: {{}}}}
            {fields}
        """,
        stricter,
    )


CASES = [
    mirror("cluster", "cluster: two"),
    mirror("unknown-cluster", "cluster: three"),
    mirror("no-cluster", ""),
    mirror("empty-cluster", "cluster: ''"),
    mirror("header", "cluster_header: x-mirror"),
    mirror("header-newline", 'cluster_header: "x\\n"'),
    mirror("both", "cluster: two, cluster_header: x-mirror"),
    mirror("fraction", "cluster: two, runtime_fraction: {default_value: {numerator: 1, denominator: MILLION}}"),
    mirror("fraction-empty", "cluster: two, runtime_fraction: {}"),
    mirror("sampled", "cluster: two, trace_sampled: false"),
    mirror("suffix", "cluster: two, disable_shadow_host_suffix_append: true"),
    mirror("host", "cluster: two, host_rewrite_literal: other.test"),
    mirror("host-newline", 'cluster: two, host_rewrite_literal: "a\\nb"'),
    mirror(
        "suffix-and-host", "cluster: two, disable_shadow_host_suffix_append: true, host_rewrite_literal: other.test"
    ),
    mirror(
        "mutation", "cluster: two, request_headers_mutations: [{remove: x-a}, {append: {header: {key: a, value: b}}}]"
    ),
    mirror("mutation-host", "cluster: two, request_headers_mutations: [{append: {header: {key: host, value: b}}}]"),
    mirror(
        "mutation-format", "cluster: two, request_headers_mutations: [{append: {header: {key: a, value: '%NOTHING%'}}}]"
    ),
    mirror("mutation-empty", "cluster: two, request_headers_mutations: [{}]"),
    hosts("mirror", "- {name: a, domains: [x], request_mirror_policies: [{cluster: two}]}"),
    hosts("mirror-unknown", "- {name: a, domains: [x], request_mirror_policies: [{cluster: three}]}"),
    hosts(
        "mirror-unknown-routed",
        "- {name: a, domains: [x], request_mirror_policies: [{cluster: three}], routes: [{match: {prefix: /}, route: {cluster: one}}]}",
    ),
    hosts("mirror-config", "- {name: a, domains: [x]}", config="request_mirror_policies: [{cluster: two}]\n"),
    hosts("mirror-config-unknown", "- {name: a, domains: [x]}", config="request_mirror_policies: [{cluster: three}]\n"),
    hosts(
        "mirror-unknown-allowed",
        "- {name: a, domains: [x], request_mirror_policies: [{cluster: three}]}",
        config="validate_clusters: false\n",
    ),
    action("hedge", "hedge_policy: {hedge_on_per_try_timeout: true}"),
    action("hedge-empty", "hedge_policy: {}"),
    action("hedge-initial", "hedge_policy: {initial_requests: 2}"),
    action("hedge-initial-none", "hedge_policy: {initial_requests: 0}"),
    action("hedge-chance", "hedge_policy: {additional_request_chance: {numerator: 5}}"),
    hosts("hedge", "- {name: a, domains: [x], hedge_policy: {hedge_on_per_try_timeout: true}}"),
    retry("unknown-word", "num_retries: 0"),
    retry(
        "priority",
        f'retry_priority: {{name: a, typed_config: {{"@type": {_RETRY}.priority.previous_priorities.v3.PreviousPrioritiesConfig, update_frequency: 2}}}}',
    ),
    retry(
        "priority-zero",
        f'retry_priority: {{name: a, typed_config: {{"@type": {_RETRY}.priority.previous_priorities.v3.PreviousPrioritiesConfig}}}}',
        "Envoy divides by this zero at the first retry",
    ),
    retry("priority-untyped", "retry_priority: {name: envoy.retry_priorities.previous_priorities}"),
    retry("priority-unknown", "retry_priority: {name: nothing}"),
    retry("priority-nameless", "retry_priority: {}"),
    retry("host-untyped", "retry_host_predicate: [{name: envoy.retry_host_predicates.previous_hosts}]"),
    retry("host-unknown", "retry_host_predicate: [{name: nothing}]"),
    retry(
        "host-metadata",
        f'retry_host_predicate: [{{name: a, typed_config: {{"@type": {_RETRY}.host.omit_host_metadata.v3.OmitHostMetadataConfig, metadata_match: {{filter_metadata: {{envoy.lb: {{a: b}}}}}}}}}}]',
    ),
    retry(
        "host-metadata-empty",
        f'retry_host_predicate: [{{name: a, typed_config: {{"@type": {_RETRY}.host.omit_host_metadata.v3.OmitHostMetadataConfig}}}}]',
    ),
    retry("options-unknown", "retry_options_predicates: [{name: nothing}]"),
    retry("rate-limited", "rate_limited_retry_back_off: {reset_headers: [{name: a, format: SECONDS}]}"),
    retry("rate-limited-empty", "rate_limited_retry_back_off: {}"),
    retry("rate-limited-nameless", "rate_limited_retry_back_off: {reset_headers: [{format: SECONDS}]}"),
    retry("rate-limited-format", "rate_limited_retry_back_off: {reset_headers: [{name: a, format: 7}]}"),
    retry("rate-limited-max", "rate_limited_retry_back_off: {reset_headers: [{name: a}], max_interval: 0s}"),
    retry("back-off-max", "retry_back_off: {base_interval: 1s, max_interval: 0.5s}"),
    retry("attempts-negative", "host_selection_retry_max_attempts: -1"),
    action(
        "retry-typed",
        f'retry_policy_typed_config: {{"@type": {TYPE}/envoy.config.route.v3.RetryPolicy, retry_on: 5xx}}',
    ),
    upstream("codec", _CODEC),
    upstream("mutation", f'{{name: mutate, typed_config: {{"@type": {_MUTATION}}}}}, {_CODEC}'),
    upstream("no-codec", f'{{name: mutate, typed_config: {{"@type": {_MUTATION}}}}}'),
    upstream("codec-first", f'{_CODEC}, {{name: mutate, typed_config: {{"@type": {_MUTATION}}}}}'),
    upstream("router", ROUTER_FILTER),
    upstream(
        "set-filter-state",
        f'{{name: envoy.filters.http.set_filter_state, typed_config: {{"@type": {TYPE}/envoy.extensions.filters.http.set_filter_state.v3.Config}}}}, {_CODEC}',
    ),
    upstream(
        "same-name",
        f'{{name: mutate, typed_config: {{"@type": {_MUTATION}}}}}, {{name: mutate, typed_config: {{"@type": {_MUTATION}}}}}, {_CODEC}',
    ),
    manager("downstream-codec", "", filters=f"{_CODEC}"),
    options("filters", f"http_filters: [{_CODEC}]"),
    options("filters-no-codec", f'http_filters: [{{name: mutate, typed_config: {{"@type": {_MUTATION}}}}}]'),
    options("mirror", "request_mirror_policies: [{cluster: one}]"),
    options("mirror-unknown", "request_mirror_policies: [{cluster: three}]"),
    options("mirror-none", "request_mirror_policies: [{}]"),
    options("retry", "retry_policy: {retry_on: 5xx, num_retries: 2}"),
    options("retry-back-off", "retry_policy: {retry_back_off: {base_interval: 1s, max_interval: 0.5s}}"),
    mutation("empty", ""),
    mutation("request", "request_mutations: [{append: {header: {key: a, value: '%REQ(b)%'}}}]"),
    mutation("host", "request_mutations: [{append: {header: {key: ':path', value: b}}}]"),
    mutation("remove-host", "request_mutations: [{remove: host}]"),
    mutation("remove-match", "request_mutations: [{remove_on_match: {key_matcher: {prefix: x-}}}]"),
    mutation("remove-match-empty", "request_mutations: [{remove_on_match: {}}]"),
    mutation("format", "response_mutations: [{append: {header: {key: a, value: '%REQ('}}}]"),
    mutation("query", "query_parameter_mutations: [{append: {record: {key: a, value: b}}}]"),
    mutation("query-entry", "query_parameter_mutations: [{append: {entry: {key: a, value: Yg==}}}]"),
    mutation("query-number", "query_parameter_mutations: [{append: {record: {key: a, value: 1}}}]"),
    mutation("query-empty", "query_parameter_mutations: [{}]"),
    mutation("query-keyless", "query_parameter_mutations: [{append: {record: {value: b}}}]"),
    mutation("query-remove", "query_parameter_mutations: [{remove: a}]"),
    mutation("query-format", "query_parameter_mutations: [{append: {record: {key: a, value: '%NOTHING%'}}}]"),
    mutation("trailers", "request_trailers_mutations: [{remove: a}], response_trailers_mutations: [{remove: a}]"),
]
