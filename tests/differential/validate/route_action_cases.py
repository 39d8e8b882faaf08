"""Route actions: hash policies, internal redirects, rate limits, CORS, plugins, rewrites; the balancers that hash."""
# ruff: noqa: E501 - a case is a line

from tests.differential.validate.corpus import TYPE, Verdict, cluster, hosts, route

_REDIRECT = f"{TYPE}/envoy.extensions.internal_redirect"
_LB = f"{TYPE}/envoy.extensions.load_balancing_policies"
_SPECIFIER = f"{TYPE}/envoy.extensions.router.cluster_specifiers"
_INPUT = (
    f'{{name: i, typed_config: {{"@type": {TYPE}/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: a}}}}'
)
_ACTION = f'{{action: {{name: c, typed_config: {{"@type": {_SPECIFIER}.matcher.v3.ClusterAction, cluster: one}}}}}}'
_TREE = f"{{matcher_tree: {{input: {_INPUT}, exact_match_map: {{map: {{x: {_ACTION}}}}}}}}}"
_PLUGIN = f'{{extension: {{name: p, typed_config: {{"@type": {_SPECIFIER}.matcher.v3.MatcherClusterSpecifier, cluster_matcher: {_TREE}}}}}}}'
_UNKNOWN = f'extension: {{name: x, typed_config: {{"@type": {TYPE}/google.protobuf.Struct}}}}'


def action(name: str, fields: str, stricter: str = "") -> Verdict:
    """A route to `one` with further fields of its action."""
    return route(f"action-{name}", f"route: {{cluster: one, {fields}}}", stricter)


def limit(name: str, fields: str, stricter: str = "") -> Verdict:
    """A rate limit of a route."""
    return action(f"limit-{name}", f"rate_limits: [{{{fields}}}]", stricter)


def balancer(name: str, kind: str, message: str, fields: str) -> Verdict:
    """A cluster with a load balancing extension."""
    typed = f'typed_config: {{"@type": {_LB}.{kind}.v3.{message}, {fields}}}'
    return cluster(name, f"load_balancing_policy: {{policies: [{{typed_extension_config: {{name: b, {typed}}}}}]}}")


CASES = [
    action("hash-header", "hash_policy: [{header: {header_name: a}}]"),
    action("hash-header-empty", "hash_policy: [{header: {header_name: ''}}]"),
    action("hash-header-newline", 'hash_policy: [{header: {header_name: "a\\n"}}]'),
    action(
        "hash-regex", "hash_policy: [{header: {header_name: a, regex_rewrite: {pattern: {regex: a}, substitution: b}}}]"
    ),
    action(
        "hash-regex-bad",
        "hash_policy: [{header: {header_name: a, regex_rewrite: {pattern: {regex: '('}, substitution: b}}}]",
    ),
    action("hash-regex-no-pattern", "hash_policy: [{header: {header_name: a, regex_rewrite: {substitution: b}}}]"),
    action(
        "hash-cookie",
        "hash_policy: [{cookie: {name: a, ttl: 5s, path: /, attributes: [{name: SameSite, value: Lax}]}}]",
    ),
    action("hash-cookie-empty", "hash_policy: [{cookie: {name: ''}}]"),
    action("hash-cookie-attribute-empty", "hash_policy: [{cookie: {name: a, attributes: [{name: ''}]}}]"),
    action("hash-cookie-negative", "hash_policy: [{cookie: {name: a, ttl: -1s}}]"),
    action("hash-ip", "hash_policy: [{connection_properties: {source_ip: true}, terminal: true}]"),
    action("hash-query", "hash_policy: [{query_parameter: {name: q}}]"),
    action("hash-query-empty", "hash_policy: [{query_parameter: {name: ''}}]"),
    action("hash-state", "hash_policy: [{filter_state: {key: q}}]"),
    action("hash-state-empty", "hash_policy: [{filter_state: {key: ''}}]"),
    action("hash-nothing", "hash_policy: [{terminal: true}]"),
    route(
        "weighted-by-hash", "route: {weighted_clusters: {use_hash_policy: true, clusters: [{name: one, weight: 1}]}}"
    ),
    route(
        "weighted-by-hash-and-header",
        "route: {weighted_clusters: {use_hash_policy: true, header_name: a, clusters: [{name: one, weight: 1}]}}",
    ),
    action(
        "internal-redirect",
        "internal_redirect_policy: {max_internal_redirects: 3, redirect_response_codes: [301, 308]}",
    ),
    action("internal-redirect-other-code", "internal_redirect_policy: {redirect_response_codes: [200]}"),
    action(
        "internal-redirect-six-codes",
        "internal_redirect_policy: {redirect_response_codes: [301, 302, 303, 307, 308, 301]}",
    ),
    action("internal-redirect-copies", "internal_redirect_policy: {response_headers_to_copy: [x-a]}"),
    action("internal-redirect-copies-host", "internal_redirect_policy: {response_headers_to_copy: [Host]}"),
    action("internal-redirect-copies-path", "internal_redirect_policy: {response_headers_to_copy: [':path']}"),
    action("internal-redirect-copies-twice", "internal_redirect_policy: {response_headers_to_copy: [a, a]}"),
    action("internal-redirect-unknown-predicate", "internal_redirect_policy: {predicates: [{name: x}]}"),
    action(
        "internal-redirect-safe",
        f'internal_redirect_policy: {{predicates: [{{name: x, typed_config: {{"@type": {_REDIRECT}.safe_cross_scheme.v3.SafeCrossSchemeConfig}}}}]}}',
    ),
    action(
        "internal-redirect-listed-empty",
        f'internal_redirect_policy: {{predicates: [{{name: x, typed_config: {{"@type": {_REDIRECT}.allow_listed_routes.v3.AllowListedRoutesConfig, allowed_route_names: [""]}}}}]}}',
        "the rules of the message hold here",
    ),
    action(
        "internal-redirect-deprecated", "internal_redirect_action: HANDLE_INTERNAL_REDIRECT, max_internal_redirects: 2"
    ),
    limit("plain", "stage: 10, disable_key: x, actions: [{source_cluster: {}}, {remote_address: {}}]"),
    limit("stage", "stage: 11, actions: [{source_cluster: {}}]"),
    limit("empty", "stage: 1"),
    limit("no-action", "actions: [{}]"),
    limit("mask", "actions: [{masked_remote_address: {v4_prefix_mask_len: 33}}]"),
    limit("header-without-key", "actions: [{request_headers: {header_name: a}}]"),
    limit("generic-empty", "actions: [{generic_key: {descriptor_value: ''}}]"),
    limit("match-without-headers", "actions: [{header_value_match: {descriptor_value: a}}]"),
    limit(
        "query-match", "actions: [{query_parameter_value_match: {descriptor_value: a, query_parameters: [{name: q}]}}]"
    ),
    limit("metadata-without-key", "actions: [{metadata: {descriptor_key: a}}]"),
    limit(
        "override",
        "actions: [{source_cluster: {}}], limit: {dynamic_metadata: {metadata_key: {key: a, path: [{key: b}]}}}",
    ),
    limit("override-nothing", "actions: [{source_cluster: {}}], limit: {}"),
    limit("hits", "actions: [{source_cluster: {}}], hits_addend: {number: 7}"),
    limit("hits-many", "actions: [{source_cluster: {}}], hits_addend: {number: 1000000001}"),
    limit("hits-format", "actions: [{source_cluster: {}}], hits_addend: {format: '%BYTES_RECEIVED%'}"),
    limit("hits-text", "actions: [{source_cluster: {}}], hits_addend: {format: 'a'}"),
    limit("hits-bad", "actions: [{source_cluster: {}}], hits_addend: {format: '%NOPE%'}", "a format that cannot be"),
    limit("extension", "actions: [{extension: {name: x}}]"),
    action("cors", "cors: {allow_origin_string_match: [{exact: a}], filter_enabled: {default_value: {numerator: 1}}}"),
    action("cors-bad-regex", "cors: {allow_origin_string_match: [{safe_regex: {regex: '('}}]}"),
    action("cors-empty-fraction", "cors: {filter_enabled: {}}"),
    hosts(
        "cors",
        "- {name: a, domains: [x], cors: {allow_methods: GET}, rate_limits: [{actions: [{source_cluster: {}}]}]}",
    ),
    action(
        "early-data",
        f'early_data_policy: {{name: x, typed_config: {{"@type": {TYPE}/envoy.extensions.early_data.v3.DefaultEarlyDataPolicy}}}}',
    ),
    action("early-data-unknown", "early_data_policy: {name: x}"),
    action("flush-timeout", "flush_timeout: 5s"),
    action("path-template", "path_rewrite: '/x/%REQ(a)%'"),
    action("path-template-bad", "path_rewrite: '%NOPE%'"),
    action("path-template-open", "path_rewrite: '%REQ('"),
    action("path-template-and-prefix", "path_rewrite: /x, prefix_rewrite: /y"),
    action("path-template-and-regex", "path_rewrite: /x, regex_rewrite: {pattern: {regex: a}, substitution: b}"),
    action("host-template", "host_rewrite: '%REQ(a)%'"),
    action("host-template-bad", "host_rewrite: '%NOPE%'"),
    action("host-template-and-literal", "host_rewrite: a, host_rewrite_literal: b"),
    route("plugin-inline", f"route: {{inline_cluster_specifier_plugin: {_PLUGIN}}}"),
    route("plugin-inline-unknown", f"route: {{inline_cluster_specifier_plugin: {{{_UNKNOWN}}}}}"),
    route("plugin-inline-optional", f"route: {{inline_cluster_specifier_plugin: {{is_optional: true, {_UNKNOWN}}}}}"),
    route("plugin-nameless", "route: {cluster_specifier_plugin: x}"),
    hosts(
        "plugin-named",
        "- {name: a, domains: [x], routes: [{match: {prefix: /}, route: {cluster_specifier_plugin: p}}]}",
        config=f"cluster_specifier_plugins: [{_PLUGIN}]\n",
    ),
    hosts("plugin-twice", "- {name: a, domains: [x]}", config=f"cluster_specifier_plugins: [{_PLUGIN}, {_PLUGIN}]\n"),
    route("stat-prefix", "name: n\nroute: {cluster: one}\nstat_prefix: a.b"),
    cluster("ring", "lb_policy: RING_HASH\nring_hash_lb_config: {minimum_ring_size: 10, maximum_ring_size: 20}"),
    cluster("ring-sizes", "lb_policy: RING_HASH\nring_hash_lb_config: {minimum_ring_size: 20, maximum_ring_size: 10}"),
    cluster("ring-huge", "lb_policy: RING_HASH\nring_hash_lb_config: {minimum_ring_size: 8388609}"),
    cluster("maglev", "lb_policy: MAGLEV\nmaglev_lb_config: {table_size: 65537}"),
    cluster("maglev-even", "lb_policy: MAGLEV\nmaglev_lb_config: {table_size: 65536}"),
    cluster("maglev-huge", "lb_policy: MAGLEV\nmaglev_lb_config: {table_size: 5000017}"),
    cluster(
        "hash-by-name",
        "lb_policy: MAGLEV\ncommon_lb_config: {consistent_hashing_lb_config: {use_hostname_for_hashing: true}}",
    ),
    cluster(
        "hash-by-name-dns",
        "type: STRICT_DNS\nlb_policy: MAGLEV\ncommon_lb_config: {consistent_hashing_lb_config: {use_hostname_for_hashing: true}}",
    ),
    cluster(
        "hash-balance",
        "lb_policy: RING_HASH\ncommon_lb_config: {consistent_hashing_lb_config: {hash_balance_factor: 99}}",
    ),
    balancer(
        "ring-extension",
        "ring_hash",
        "RingHash",
        "consistent_hashing_lb_config: {hash_policy: [{header: {header_name: a}}]}",
    ),
    balancer("ring-extension-sizes", "ring_hash", "RingHash", "minimum_ring_size: 9, maximum_ring_size: 3"),
    balancer("maglev-extension", "maglev", "Maglev", "table_size: 13"),
    balancer("maglev-extension-even", "maglev", "Maglev", "table_size: 14"),
    balancer("maglev-extension-policy", "maglev", "Maglev", "consistent_hashing_lb_config: {hash_policy: [{}]}"),
]
