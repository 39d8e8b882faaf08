"""Clusters, endpoints, load balancing, circuit breakers, DNS, upstream protocol options."""
# ruff: noqa: E501 - a case is a line

from tests.differential.validate.corpus import TYPE, bootstrap, cluster

_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_LB = f"{TYPE}/envoy.extensions.load_balancing_policies"


_SOURCE = "source_address: {address: 127.0.0.1, port_value: 0}"
_EXTRA = "{address: {address: '::1', port_value: 0}}"
_RAW = f"{{name: raw, typed_config: {{'@type': {TYPE}/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer}}}}"
_SELECTOR = f"'@type': {TYPE}/envoy.config.upstream.local_address_selector.v3.DefaultLocalAddressSelector"


def _endpoint(address: str) -> str:
    return (
        f"load_assignment: {{cluster_name: one, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {address}}}}}]}}]}}"
    )


def _socket(address: str, port: object = 80) -> str:
    return f"{{socket_address: {{address: '{address}', port_value: {port}}}}}"


def _options(name: str, fields: str, stricter: str = "") -> object:
    return cluster(
        f"options-{name}",
        f'typed_extension_protocol_options: {{{_OPTIONS}: {{"@type": {TYPE}/{_OPTIONS}, {fields}}}}}',
        stricter,
    )


def _policy(name: str, *policies: str, stricter: str = "") -> object:
    listed = ", ".join(f"{{typed_extension_config: {policy}}}" for policy in policies)
    return cluster(f"policy-{name}", f"load_balancing_policy: {{policies: [{listed}]}}", stricter)


def _original_dst(name: str, fields: str = "") -> object:
    return cluster(f"original-dst-{name}", f"type: ORIGINAL_DST\nlb_policy: CLUSTER_PROVIDED\n{fields}")


_PROVIDED = (
    f'{{typed_extension_config: {{name: a, typed_config: {{"@type": {_LB}.cluster_provided.v3.ClusterProvided}}}}}}'
)
_RANDOM = f'{{typed_extension_config: {{name: a, typed_config: {{"@type": {_LB}.random.v3.Random}}}}}}'

_AGGREGATE = (
    "lb_policy: CLUSTER_PROVIDED\ncluster_type: {{name: envoy.clusters.aggregate, typed_config: "
    '{{"@type": type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig, clusters: {}}}}}'
)
_ENDPOINT_BY_NAME = (
    "load_assignment: {cluster_name: a, named_endpoints: {x: {address: {socket_address: {address: 127.0.0.1, "
    "port_value: 1}}}}, endpoints: [{lb_endpoints: [{endpoint_name: x}]}]}"
)
_API = "{api_type: GRPC, transport_api_version: V3, grpc_services: [{envoy_grpc: {cluster_name: plane}}]}"
_ADS = f"dynamic_resources: {{ads_config: {_API}}}\n"
_XDSTP = "'xdstp://a/envoy.config.endpoint.v3.ClusterLoadAssignment/b'"


def _eds(source: str, more: str = "") -> str:
    """A cluster `plane`, and an EDS cluster `one` from `source`."""
    return f"""
node: {{id: a, cluster: b}}
static_resources:
  clusters:
  - {{name: plane, type: STATIC}}
  - {{name: one, type: EDS, eds_cluster_config: {{eds_config: {{{source}}}, {more}}}}}
"""


CASES = [
    cluster("plain", "connect_timeout: 1s"),
    cluster("without-endpoints", ""),
    cluster("connect-timeout-zero", "connect_timeout: 0s"),
    cluster("type-missing", "type: null"),
    cluster("type-unknown", "type: CLOUD"),
    bootstrap("cluster-name-empty", "static_resources: {clusters: [{name: ''}]}"),
    bootstrap("cluster-name-missing", "static_resources: {clusters: [{type: STATIC}]}"),
    cluster("endpoint", _endpoint(_socket("127.0.0.1"))),
    cluster("endpoint-host-name-static", _endpoint(_socket("localhost"))),
    cluster("endpoint-host-name-dns", "type: STRICT_DNS\n" + _endpoint(_socket("localhost"))),
    cluster("endpoint-port-zero", _endpoint(_socket("127.0.0.1", 0))),
    cluster("endpoint-port-too-big", _endpoint(_socket("127.0.0.1", 70000))),
    cluster("endpoint-port-missing", _endpoint("{socket_address: {address: 127.0.0.1}}")),
    cluster("endpoint-address-empty", _endpoint("{}")),
    cluster("endpoint-address-blank", _endpoint(_socket(""))),
    cluster("endpoint-pipe", _endpoint("{pipe: {path: /tmp/x}}")),
    cluster("endpoint-pipe-dns", "type: STRICT_DNS\n" + _endpoint("{pipe: {path: /tmp/x}}")),
    cluster("endpoint-missing", "load_assignment: {cluster_name: one, endpoints: [{lb_endpoints: [{}]}]}"),
    cluster(
        "endpoint-without-address",
        "load_assignment: {cluster_name: one, endpoints: [{lb_endpoints: [{endpoint: {}}]}]}",
    ),
    cluster("assignment-name-empty", "load_assignment: {cluster_name: ''}"),
    cluster("assignment-name-other", "load_assignment: {cluster_name: two}"),
    cluster("priority-too-big", "load_assignment: {cluster_name: one, endpoints: [{priority: 129}]}"),
    cluster("priority-gap", "load_assignment: {cluster_name: one, endpoints: [{priority: 0}, {priority: 5}]}"),
    cluster(
        "weight-zero",
        "load_assignment: {cluster_name: one, endpoints: [{lb_endpoints: [{load_balancing_weight: 0, endpoint: {address: "
        + _socket("127.0.0.1")
        + "}}]}]}",
    ),
    cluster(
        "weights-overflow",
        "load_assignment: {cluster_name: one, endpoints: [{lb_endpoints: ["
        + ", ".join(
            f"{{load_balancing_weight: 4294967295, endpoint: {{address: {_socket('127.0.0.1', port)}}}}}"
            for port in (80, 81)
        )
        + "]}]}",
    ),
    cluster("overprovisioning-zero", "load_assignment: {cluster_name: one, policy: {overprovisioning_factor: 0}}"),
    cluster(
        "duplicate-endpoints",
        "load_assignment: {cluster_name: one, endpoints: [{lb_endpoints: ["
        + ", ".join([f"{{endpoint: {{address: {_socket('127.0.0.1')}}}}}"] * 2)
        + "]}]}",
    ),
    cluster(
        "health-status",
        "load_assignment: {cluster_name: one, endpoints: [{lb_endpoints: [{health_status: DRAINING, endpoint: {address: "
        + _socket("127.0.0.1")
        + "}}]}]}",
    ),
    cluster(
        "health-status-undefined",
        "load_assignment: {cluster_name: one, endpoints: [{lb_endpoints: [{health_status: 9, endpoint: {address: "
        + _socket("127.0.0.1")
        + "}}]}]}",
        "an undefined enum number means nothing",
    ),
    cluster("logical-dns-without-hosts", "type: LOGICAL_DNS"),
    cluster("logical-dns", "type: LOGICAL_DNS\n" + _endpoint(_socket("localhost"))),
    cluster(
        "logical-dns-two",
        "type: LOGICAL_DNS\nload_assignment: {cluster_name: one, endpoints: [{lb_endpoints: ["
        + ", ".join([f"{{endpoint: {{address: {_socket('localhost')}}}}}"] * 2)
        + "]}]}",
    ),
    cluster("logical-dns-empty-locality", "type: LOGICAL_DNS\nload_assignment: {cluster_name: one, endpoints: [{}]}"),
    cluster("strict-dns-without-hosts", "type: STRICT_DNS"),
    cluster(
        "strict-dns-resolver-name",
        "type: STRICT_DNS\n" + _endpoint("{socket_address: {address: a, port_value: 1, resolver_name: x}}"),
    ),
    cluster(
        "static-resolver-ip",
        _endpoint("{socket_address: {address: 127.0.0.1, port_value: 1, resolver_name: envoy.ip}}"),
    ),
    cluster(
        "static-namespace",
        _endpoint("{socket_address: {address: 127.0.0.1, port_value: 1, network_namespace_filepath: /x}}"),
    ),
    cluster(
        "static-resolver-name", _endpoint("{socket_address: {address: 127.0.0.1, port_value: 1, resolver_name: x}}")
    ),
    cluster("eds-without-config", "type: EDS"),
    cluster("eds-no-file", "type: EDS\neds_cluster_config: {eds_config: {path: /no/such/file}}"),
    cluster("eds-no-source", "type: EDS\neds_cluster_config: {eds_config: {}}"),
    cluster("eds-named-endpoint", _ENDPOINT_BY_NAME),
    cluster(
        "drop-overload-over-one",
        "load_assignment: {cluster_name: a, policy: {drop_overloads: "
        "[{category: a, drop_percentage: {numerator: 101}}]}}",
    ),
    cluster(
        "drop-overload-twice",
        "load_assignment: {cluster_name: a, policy: {drop_overloads: "
        "[{category: a, drop_percentage: {numerator: 1}}, {category: b, drop_percentage: {numerator: 1}}]}}",
    ),
    cluster("aggregate", _AGGREGATE.format("[a, b]")),
    cluster("aggregate-of-none", _AGGREGATE.format("[]")),
    cluster("aggregate-round-robin", _AGGREGATE.format("[a]").replace("CLUSTER_PROVIDED", "ROUND_ROBIN")),
    cluster("eds-self", "type: EDS\neds_cluster_config: {eds_config: {self: {}}}"),
    bootstrap("eds-ads", _eds("ads: {}") + _ADS),
    bootstrap("eds-ads-xdstp", _eds("ads: {}", f"service_name: {_XDSTP}") + _ADS),
    bootstrap("eds-own-stream", _eds(f"api_config_source: {_API}")),
    bootstrap("eds-own-stream-through-eds", _eds(f"api_config_source: {_API.replace('plane', 'one')}")),
    bootstrap("eds-own-stream-through-nobody", _eds(f"api_config_source: {_API.replace('plane', 'none')}")),
    bootstrap("ads-through-eds", _eds("ads: {}") + _ADS.replace("cluster_name: plane", "cluster_name: one")),
    cluster(
        "eds-by-extension",
        "cluster_type: {name: envoy.cluster.eds}\neds_cluster_config: {eds_config: {path: /no/such/file}}",
    ),
    cluster("eds-config-on-static", "eds_cluster_config: {eds_config: {ads: {}}}"),
    cluster("original-dst-round-robin", "type: ORIGINAL_DST"),
    cluster(
        "original-dst-with-hosts", "type: ORIGINAL_DST\nlb_policy: CLUSTER_PROVIDED\n" + _endpoint(_socket("127.0.0.1"))
    ),
    cluster("cluster-provided-static", "lb_policy: CLUSTER_PROVIDED"),
    _original_dst("plain"),
    _original_dst("header", "original_dst_lb_config: {use_http_header: true, http_header_name: x-to}"),
    _original_dst("header-not-looked-at", "original_dst_lb_config: {http_header_name: x-to}"),
    _original_dst("header-invalid-name", "original_dst_lb_config: {use_http_header: true, http_header_name: 'a b'}"),
    _original_dst("port-override", "original_dst_lb_config: {upstream_port_override: 65535}"),
    _original_dst("port-override-too-large", "original_dst_lb_config: {upstream_port_override: 65536}"),
    _original_dst("metadata-key", "original_dst_lb_config: {metadata_key: {key: a, path: [{key: b}]}}"),
    _original_dst("metadata-key-without-path", "original_dst_lb_config: {metadata_key: {key: a}}"),
    _original_dst("cleanup-interval", "cleanup_interval: 0.001s"),
    _original_dst("cleanup-interval-zero", "cleanup_interval: 0s"),
    _original_dst("subsets", "lb_subset_config: {subset_selectors: [{keys: [a]}]}"),
    _original_dst("locality-weighted", "common_lb_config: {locality_weighted_lb_config: {}}"),
    _original_dst("policy-provided", f"load_balancing_policy: {{policies: [{_PROVIDED}]}}"),
    _original_dst("policy-random", f"load_balancing_policy: {{policies: [{_RANDOM}]}}"),
    cluster("original-dst-random", "type: ORIGINAL_DST\nlb_policy: RANDOM"),
    cluster(
        "original-dst-policy-without-enum", f"type: ORIGINAL_DST\nload_balancing_policy: {{policies: [{_PROVIDED}]}}"
    ),
    cluster(
        "original-dst-extension",
        "type: null\ncluster_type: {name: envoy.cluster.original_dst}\nlb_policy: CLUSTER_PROVIDED",
    ),
    cluster("original-dst-extension-round-robin", "type: null\ncluster_type: {name: envoy.cluster.original_dst}"),
    cluster("policy-provided-static", f"load_balancing_policy: {{policies: [{_PROVIDED}]}}"),
    cluster("original-dst-config-static", "original_dst_lb_config: {http_header_name: x-to}"),
    cluster(
        "type-extension-unknown",
        f'cluster_type: {{name: nothing, typed_config: {{"@type": {TYPE}/envoy.config.core.v3.Node}}}}',
    ),
    cluster("type-extension-nameless", "cluster_type: {}"),
    cluster("lb-least-request", "lb_policy: LEAST_REQUEST\nleast_request_lb_config: {choice_count: 3}"),
    cluster("lb-least-request-choice-one", "lb_policy: LEAST_REQUEST\nleast_request_lb_config: {choice_count: 1}"),
    cluster("lb-config-of-other", "lb_policy: ROUND_ROBIN\nleast_request_lb_config: {choice_count: 3}"),
    cluster("lb-two-configs", "least_request_lb_config: {choice_count: 3}\nround_robin_lb_config: {}"),
    cluster("lb-slow-start-zero", "round_robin_lb_config: {slow_start_config: {slow_start_window: 0s}}"),
    cluster("lb-subset-without-selector", "lb_subset_config: {fallback_policy: 9}"),
    cluster("lb-reserved-value", "lb_policy: 4"),
    cluster("lb-policy-config-without-policies", "load_balancing_policy: {policies: []}"),
    cluster("lb-policy-enum-with-policies", "lb_policy: LOAD_BALANCING_POLICY_CONFIG"),
    cluster("lb-locality-both", "common_lb_config: {zone_aware_lb_config: {}, locality_weighted_lb_config: {}}"),
    cluster("lb-locality-weighted", "common_lb_config: {locality_weighted_lb_config: {}}"),
    _policy("round-robin", f'{{name: a, typed_config: {{"@type": {_LB}.round_robin.v3.RoundRobin}}}}'),
    _policy(
        "least-request-choice",
        f'{{name: a, typed_config: {{"@type": {_LB}.least_request.v3.LeastRequest, choice_count: 1}}}}',
        stricter="Envoy skips the constraints of load balancing policies",
    ),
    _policy("unknown", f'{{name: a, typed_config: {{"@type": {TYPE}/envoy.config.core.v3.Node}}}}'),
    _policy(
        "unknown-then-known",
        f'{{name: a, typed_config: {{"@type": {TYPE}/envoy.config.core.v3.Node}}}}',
        f'{{name: b, typed_config: {{"@type": {_LB}.round_robin.v3.RoundRobin}}}}',
    ),
    _policy("nameless", f'{{typed_config: {{"@type": {_LB}.round_robin.v3.RoundRobin}}}}'),
    _policy("empty", "{name: a}"),
    cluster("breakers", "circuit_breakers: {thresholds: [{max_connections: 1, priority: HIGH}]}"),
    cluster("breakers-bad-priority", "circuit_breakers: {thresholds: [{priority: 7}]}"),
    cluster("breakers-same-priority", "circuit_breakers: {thresholds: [{max_connections: 1}, {max_connections: 2}]}"),
    cluster("breakers-zero", "circuit_breakers: {thresholds: [{max_connections: 0, max_requests: 0}]}"),
    cluster("breakers-budget", "circuit_breakers: {thresholds: [{retry_budget: {budget_percent: {value: 25}}}]}"),
    cluster("breakers-budget-over", "circuit_breakers: {thresholds: [{retry_budget: {budget_percent: {value: 101}}}]}"),
    cluster("breakers-per-host-requests", "circuit_breakers: {per_host_thresholds: [{max_requests: 1}]}"),
    cluster("health-check-empty", "health_checks: [{}]"),
    cluster(
        "health-check-without-kind",
        "health_checks: [{timeout: 1s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1}]",
    ),
    cluster("outlier-percent", "outlier_detection: {max_ejection_percent: 101}"),
    cluster("outlier-interval", "outlier_detection: {interval: 0s}"),
    cluster("outlier-empty", "outlier_detection: {}"),
    cluster("outlier-short", "outlier_detection: {interval: 0.0001s, consecutive_5xx: 0}"),
    cluster("outlier-longest-below-base", "outlier_detection: {max_ejection_time: 29s}"),
    cluster("outlier-longest-equals-base", "outlier_detection: {max_ejection_time: 30s}"),
    cluster("outlier-base-0", "outlier_detection: {base_ejection_time: 0s}"),
    cluster("outlier-longest-0", "outlier_detection: {max_ejection_time: 0s}"),
    cluster("outlier-enforcing", "outlier_detection: {enforcing_consecutive_5xx: 101}"),
    cluster("outlier-threshold", "outlier_detection: {failure_percentage_threshold: 101}"),
    cluster("outlier-degraded", "outlier_detection: {detect_degraded_hosts: true, always_eject_one_host: true}"),
    cluster(
        "outlier-monitor",
        "outlier_detection: {monitors: [{name: m, typed_config: {'@type': type.googleapis.com/google.protobuf.Struct}}]}",
    ),
    cluster("outlier-monitor-without-name", "outlier_detection: {monitors: [{}]}"),
    cluster("ring-size", "lb_policy: RING_HASH\nring_hash_lb_config: {minimum_ring_size: 99999999999}"),
    cluster("maglev-table-not-prime", "lb_policy: MAGLEV\nmaglev_lb_config: {table_size: 10}"),
    cluster("bind-config", "upstream_bind_config: {source_address: {address: 127.0.0.1, port_value: 0}}"),
    *(
        cluster(f"bind-config-{name}", f"upstream_bind_config: {{{config}}}")
        for name, config in (
            ("empty", ""),
            ("no-source", "freebind: true"),
            ("extra-alone", "extra_source_addresses: [{address: {address: '::1', port_value: 0}}]"),
            ("extra", f"{_SOURCE}, extra_source_addresses: [{_EXTRA}]"),
            ("extra-options", f"{_SOURCE}, extra_source_addresses: [{{{_EXTRA[1:-1]}, socket_options: {{}}}}]"),
            (
                "extra-same-version",
                f"{_SOURCE}, extra_source_addresses: [{{address: {{address: 127.0.0.2, port_value: 0}}}}]",
            ),
            ("extra-two", f"{_SOURCE}, extra_source_addresses: [{_EXTRA}, {_EXTRA}]"),
            ("extra-without-address", f"{_SOURCE}, extra_source_addresses: [{{}}]"),
            ("additional", f"{_SOURCE}, additional_source_addresses: [{{address: '::1', port_value: 0}}]"),
            (
                "extra-and-additional",
                f"{_SOURCE}, extra_source_addresses: [{_EXTRA}], additional_source_addresses: [{{address: '::1', port_value: 0}}]",
            ),
            ("selector", f"{_SOURCE}, local_address_selector: {{name: a, typed_config: {{{_SELECTOR}}}}}"),
            (
                "selector-unknown",
                f"{_SOURCE}, local_address_selector: {{name: a, typed_config: {{'@type': {TYPE}/envoy.config.core.v3.Node}}}}",
            ),
        )
    ),
    cluster("bind-config-bad-address", "upstream_bind_config: {source_address: {address: here, port_value: 0}}"),
    cluster(
        "bind-config-option",
        "upstream_bind_config: {source_address: {address: 127.0.0.1, port_value: 0}, socket_options: [{}]}",
    ),
    cluster("dns-refresh-short", "type: STRICT_DNS\ndns_refresh_rate: 0.0005s"),
    cluster("dns-failure-order", "type: STRICT_DNS\ndns_failure_refresh_rate: {base_interval: 5s, max_interval: 1s}"),
    cluster("dns-failure-base-missing", "type: STRICT_DNS\ndns_failure_refresh_rate: {max_interval: 1s}"),
    cluster("dns-family-undefined", "type: STRICT_DNS\ndns_lookup_family: 9"),
    cluster(
        "dns-resolver-host-name",
        "type: STRICT_DNS\ndns_resolvers: [{socket_address: {address: resolver.invalid, port_value: 53}}]",
    ),
    cluster("cleanup-interval-zero", "cleanup_interval: 0s"),
    cluster("transport-socket-unknown", "transport_socket: {name: nothing}"),
    cluster(
        "transport-socket-raw",
        f'transport_socket: {{name: a, typed_config: {{"@type": {TYPE}/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer}}}}',
    ),
    *(
        cluster(f"preconnect-{name}", f"preconnect_policy: {{{config}}}")
        for name, config in (
            ("empty", ""),
            ("three", "per_upstream_preconnect_ratio: 3"),
            ("four", "per_upstream_preconnect_ratio: 4"),
            ("predictive", "predictive_preconnect_ratio: 1.5"),
            ("predictive-below", "predictive_preconnect_ratio: 0.9"),
        )
    ),
    *(
        cluster(f"socket-matches-{name}", f"transport_socket_matches: [{matches}]")
        for name, matches in (
            ("raw", f"{{name: a, match: {{a: b}}, transport_socket: {_RAW}}}"),
            ("twice", f"{{name: a, transport_socket: {_RAW}}}, {{name: a, transport_socket: {_RAW}}}"),
            ("nameless", f"{{match: {{a: b}}, transport_socket: {_RAW}}}"),
            ("without-socket", "{name: a}"),
            (
                "unknown-socket",
                f"{{name: a, transport_socket: {{name: b, typed_config: {{'@type': {TYPE}/envoy.config.core.v3.Node}}}}}}",
            ),
        )
    ),
    cluster("pool-per-downstream", "connection_pool_per_downstream_connection: true"),
    cluster(
        "breakers-per-host", "circuit_breakers: {per_host_thresholds: [{max_connections: 1}, {max_connections: 2}]}"
    ),
    cluster("breakers-per-host-pending", "circuit_breakers: {per_host_thresholds: [{max_pending_requests: 1}]}"),
    cluster("breakers-pools", "circuit_breakers: {thresholds: [{max_connection_pools: 0, track_remaining: true}]}"),
    cluster("interface-name", "upstream_connection_options: {set_local_interface_name_on_upstream_connections: true}"),
    cluster("preconnect", "preconnect_policy: {per_upstream_preconnect_ratio: 0.5}"),
    cluster("metadata-empty-key", "metadata: {filter_metadata: {'': {a: b}}}"),
    cluster("keepalive", "upstream_connection_options: {tcp_keepalive: {keepalive_time: 5}}"),
    cluster("protocol-options-http2", "http2_protocol_options: {max_concurrent_streams: 0}"),
    _options("http1", "explicit_http_config: {http_protocol_options: {}}"),
    _options("nothing", "common_http_protocol_options: {}"),
    _options("explicit-empty", "explicit_http_config: {}"),
    _options(
        "idle-timeout",
        "explicit_http_config: {http_protocol_options: {}}, common_http_protocol_options: {idle_timeout: 5s}",
    ),
    _options(
        "duration-negative",
        "explicit_http_config: {http_protocol_options: {}}, common_http_protocol_options: {idle_timeout: -5s}",
    ),
    _options(
        "headers-zero",
        "explicit_http_config: {http_protocol_options: {}}, common_http_protocol_options: {max_headers_count: 0}",
    ),
    _options(
        "headers-kb",
        "explicit_http_config: {http_protocol_options: {}}, common_http_protocol_options: {max_response_headers_kb: 9000}",
    ),
    _options("two-kinds", "explicit_http_config: {http_protocol_options: {}}, use_downstream_protocol_config: {}"),
]
