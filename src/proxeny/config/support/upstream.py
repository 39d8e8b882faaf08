"""Clusters, endpoints, load balancing, circuit breakers and upstream protocol options."""

from typing import Final

from proxeny.config.support.table import Table, extension, fields

_CLUSTER: Final = "envoy.config.cluster.v3"
_ENDPOINT: Final = "envoy.config.endpoint.v3"
_CORE: Final = "envoy.config.core.v3"
_DNS_CACHE: Final = "envoy.extensions.common.dynamic_forward_proxy.v3"
_LB: Final = "envoy.extensions.load_balancing_policies"
_UPSTREAMS: Final = "envoy.extensions.upstreams.http"
_HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

TABLE: Final[Table] = {
    f"{_CLUSTER}.Cluster": fields(
        done="""name alt_stat_name type cluster_type connect_timeout per_connection_buffer_limit_bytes lb_policy
            load_assignment max_requests_per_connection circuit_breakers common_http_protocol_options
            http_protocol_options http2_protocol_options typed_extension_protocol_options dns_refresh_rate dns_jitter
            dns_failure_refresh_rate respect_dns_ttl dns_lookup_family dns_resolvers use_tcp_for_dns_lookups
            dns_resolution_config typed_dns_resolver_config wait_for_warm_on_init upstream_bind_config
            transport_socket_matches
            least_request_lb_config round_robin_lb_config common_lb_config transport_socket metadata
            upstream_connection_options load_balancing_policy track_timeout_budgets track_cluster_stats
            upstream_http_protocol_options protocol_selection preconnect_policy
            connection_pool_per_downstream_connection original_dst_lb_config cleanup_interval
            ring_hash_lb_config maglev_lb_config lb_subset_config upstream_config outlier_detection health_checks
            ignore_health_on_host_removal close_connections_on_host_health_failure eds_cluster_config
            lrs_report_endpoint_metrics""",
    ),
    f"{_CLUSTER}.Cluster.EdsClusterConfig": fields(done="eds_config service_name"),
    f"{_CLUSTER}.Cluster.CommonLbConfig": fields(
        done="""healthy_panic_threshold consistent_hashing_lb_config override_host_status update_merge_window
            ignore_new_hosts_until_first_hc zone_aware_lb_config locality_weighted_lb_config
            close_connections_on_host_set_change""",
    ),
    f"{_CLUSTER}.Cluster.LeastRequestLbConfig": fields(done="choice_count active_request_bias slow_start_config"),
    f"{_CLUSTER}.Cluster.RoundRobinLbConfig": fields(done="slow_start_config"),
    f"{_CLUSTER}.Cluster.RingHashLbConfig": fields(done="minimum_ring_size maximum_ring_size hash_function"),
    f"{_CLUSTER}.Cluster.LbSubsetConfig": fields(
        done="""fallback_policy default_subset subset_selectors locality_weight_aware scale_locality_weight
            panic_mode_any list_as_any metadata_fallback_policy"""
    ),
    f"{_CLUSTER}.Cluster.LbSubsetConfig.LbSubsetSelector": fields(
        done="keys single_host_per_subset fallback_policy fallback_keys_subset"
    ),
    f"{_CLUSTER}.Cluster.MaglevLbConfig": fields(done="table_size"),
    f"{_CLUSTER}.Cluster.CommonLbConfig.ConsistentHashingLbConfig": fields(
        done="use_hostname_for_hashing hash_balance_factor"
    ),
    f"{_CLUSTER}.Cluster.OriginalDstLbConfig": fields(
        done="use_http_header http_header_name upstream_port_override metadata_key"
    ),
    f"{_CLUSTER}.OutlierDetection": fields(
        done="""consecutive_5xx interval base_ejection_time max_ejection_percent enforcing_consecutive_5xx
            enforcing_success_rate success_rate_minimum_hosts success_rate_request_volume success_rate_stdev_factor
            consecutive_gateway_failure enforcing_consecutive_gateway_failure split_external_local_origin_errors
            consecutive_local_origin_failure enforcing_consecutive_local_origin_failure
            enforcing_local_origin_success_rate failure_percentage_threshold enforcing_failure_percentage
            enforcing_failure_percentage_local_origin failure_percentage_minimum_hosts
            failure_percentage_request_volume max_ejection_time max_ejection_time_jitter
            successful_active_health_check_uneject_host always_eject_one_host detect_degraded_hosts""",
        accepted="monitors",
    ),
    f"{_CLUSTER}.LoadBalancingPolicy": fields(done="policies"),
    f"{_CLUSTER}.LoadBalancingPolicy.Policy": fields(done="typed_extension_config"),
    f"{_CLUSTER}.UpstreamConnectionOptions": fields(
        done="tcp_keepalive happy_eyeballs_config", accepted="set_local_interface_name_on_upstream_connections"
    ),
    f"{_CLUSTER}.CircuitBreakers": fields(done="thresholds per_host_thresholds"),
    f"{_CLUSTER}.CircuitBreakers.Thresholds": fields(
        done="""priority max_connections max_pending_requests max_requests max_retries retry_budget track_remaining
            max_connection_pools"""
    ),
    f"{_CLUSTER}.CircuitBreakers.Thresholds.RetryBudget": fields(done="budget_percent min_retry_concurrency"),
    f"{_CLUSTER}.Cluster.TransportSocketMatch": fields(done="name match transport_socket"),
    f"{_CLUSTER}.Cluster.PreconnectPolicy": fields(done="per_upstream_preconnect_ratio predictive_preconnect_ratio"),
    f"{_ENDPOINT}.ClusterLoadAssignment": fields(done="cluster_name endpoints policy"),
    f"{_ENDPOINT}.ClusterLoadAssignment.Policy": fields(
        done="overprovisioning_factor weighted_priority_health drop_overloads endpoint_stale_after"
    ),
    f"{_ENDPOINT}.ClusterLoadAssignment.Policy.DropOverload": fields(done="category drop_percentage"),
    f"{_ENDPOINT}.LocalityLbEndpoints": fields(
        done="locality metadata lb_endpoints load_balancing_weight priority", accepted="proximity"
    ),
    f"{_ENDPOINT}.LbEndpoint": fields(done="endpoint health_status metadata load_balancing_weight"),
    f"{_ENDPOINT}.Endpoint": fields(done="address hostname additional_addresses health_check_config"),
    _HTTP_OPTIONS: extension(
        done="""common_http_protocol_options explicit_http_config use_downstream_protocol_config auto_config
            http_filters request_mirror_policies retry_policy outlier_detection hash_policy
            upstream_http_protocol_options"""
    ),
    f"{_HTTP_OPTIONS}.OutlierDetection": fields(done="error_matcher"),
    f"{_HTTP_OPTIONS}.ExplicitHttpConfig": fields(done="http_protocol_options http2_protocol_options"),
    f"{_HTTP_OPTIONS}.UseDownstreamHttpConfig": fields(done="http_protocol_options http2_protocol_options"),
    f"{_HTTP_OPTIONS}.AutoHttpConfig": fields(
        done="http_protocol_options http2_protocol_options",
        # What it remembers serves HTTP/3, which is refused.
        accepted="alternate_protocols_cache_options",
    ),
    f"{_UPSTREAMS}.generic.v3.GenericConnectionPoolProto": extension(),
    f"{_UPSTREAMS}.http.v3.HttpConnectionPoolProto": extension(),
    f"{_UPSTREAMS}.tcp.v3.TcpConnectionPoolProto": extension(),
    f"{_CLUSTER}.Cluster.CustomClusterType": fields(done="name typed_config"),
    "envoy.extensions.clusters.dns.v3.DnsCluster": extension(
        done="""dns_refresh_rate dns_failure_refresh_rate respect_dns_ttl dns_jitter typed_dns_resolver_config
            dns_lookup_family all_addresses_in_single_endpoint"""
    ),
    "envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig": extension(
        done="dns_cache_config sub_clusters_config allow_insecure_cluster_options",
        accepted="allow_coalesced_connections",
    ),
    "envoy.extensions.clusters.dynamic_forward_proxy.v3.SubClustersConfig": fields(
        done="lb_policy max_sub_clusters sub_cluster_ttl", accepted="preresolve_clusters"
    ),
    f"{_DNS_CACHE}.DnsCacheConfig": fields(
        done="""name dns_lookup_family dns_refresh_rate dns_min_refresh_rate host_ttl max_hosts
            disable_dns_refresh_on_failure dns_failure_refresh_rate dns_cache_circuit_breaker use_tcp_for_dns_lookups
            dns_resolution_config typed_dns_resolver_config preresolve_hostnames dns_query_timeout"""
    ),
    f"{_DNS_CACHE}.DnsCacheCircuitBreakers": fields(done="max_pending_requests"),
    f"{_CLUSTER}.Cluster.SlowStartConfig": fields(done="slow_start_window aggression min_weight_percent"),
    f"{_LB}.common.v3.SlowStartConfig": fields(done="slow_start_window aggression min_weight_percent"),
    f"{_LB}.common.v3.LocalityLbConfig": fields(done="zone_aware_lb_config locality_weighted_lb_config"),
    f"{_LB}.common.v3.LocalityLbConfig.ZoneAwareLbConfig": fields(
        done="""routing_enabled min_cluster_size fail_traffic_on_panic force_locality_direct_routing force_local_zone
            locality_basis"""
    ),
    "envoy.extensions.clusters.aggregate.v3.ClusterConfig": extension(done="clusters"),
    f"{_LB}.round_robin.v3.RoundRobin": extension(done="slow_start_config locality_lb_config"),
    f"{_LB}.least_request.v3.LeastRequest": extension(
        done="""choice_count active_request_bias enable_full_scan selection_method slow_start_config
            locality_lb_config"""
    ),
    f"{_LB}.client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin": extension(
        done="""enable_oob_load_report blackout_period weight_expiration_period weight_update_period
            error_utilization_penalty metric_names_for_computing_utilization slow_start_config""",
        accepted="oob_reporting_period",
    ),
    f"{_LB}.wrr_locality.v3.WrrLocality": extension(done="endpoint_picking_policy"),
    f"{_LB}.random.v3.Random": extension(done="locality_lb_config"),
    f"{_LB}.cluster_provided.v3.ClusterProvided": extension(),
    f"{_LB}.ring_hash.v3.RingHash": extension(
        done="""hash_function minimum_ring_size maximum_ring_size use_hostname_for_hashing hash_balance_factor
            consistent_hashing_lb_config locality_weighted_lb_config"""
    ),
    f"{_LB}.subset.v3.Subset": extension(
        done="""fallback_policy default_subset subset_selectors allow_redundant_keys locality_weight_aware
            scale_locality_weight panic_mode_any list_as_any metadata_fallback_policy subset_lb_policy"""
    ),
    f"{_LB}.subset.v3.Subset.LbSubsetSelector": fields(
        done="keys single_host_per_subset fallback_policy fallback_keys_subset"
    ),
    f"{_LB}.override_host.v3.OverrideHost": extension(done="override_host_sources fallback_policy"),
    f"{_LB}.override_host.v3.OverrideHost.OverrideHostSource": fields(done="header metadata"),
    f"{_LB}.maglev.v3.Maglev": extension(done="table_size consistent_hashing_lb_config locality_weighted_lb_config"),
    f"{_LB}.common.v3.ConsistentHashingLbConfig": fields(
        done="use_hostname_for_hashing hash_balance_factor hash_policy"
    ),
    "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig": extension(
        done="""resolvers dns_resolver_options use_resolvers_as_fallback filter_unroutable_families udp_max_queries
            query_timeout_seconds query_tries rotate_nameservers edns0_max_payload_size max_udp_channel_duration
            reinit_channel_on_timeout""",
    ),
    "envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig": extension(
        done="num_retries num_resolver_threads"
    ),
}
