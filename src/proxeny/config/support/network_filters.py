"""Network filters other than the HTTP connection manager."""

from typing import Final

from proxeny.config.support.table import Table, extension, fields

_NETWORK: Final = "envoy.extensions.filters.network"

TABLE: Final[Table] = {
    f"{_NETWORK}.echo.v3.Echo": extension(),
    f"{_NETWORK}.direct_response.v3.Config": extension(done="response"),
    f"{_NETWORK}.set_filter_state.v3.Config": extension(done="on_new_connection"),
    "envoy.extensions.filters.common.set_filter_state.v3.FilterStateValue": fields(
        done="object_key factory_key format_string read_only shared_with_upstream skip_if_empty"
    ),
    f"{_NETWORK}.sni_dynamic_forward_proxy.v3.FilterConfig": extension(
        done="dns_cache_config port_value save_upstream_address"
    ),
    f"{_NETWORK}.tcp_proxy.v3.TcpProxy": extension(
        done="""stat_prefix cluster weighted_clusters metadata_match idle_timeout access_log max_connect_attempts
            max_downstream_connection_duration max_downstream_connection_duration_jitter_percentage backoff_options
            upstream_connect_mode max_early_data_bytes access_log_options flush_access_log_on_connected
            access_log_flush_interval hash_policy tunneling_config proxy_protocol_tlvs"""
    ),
    f"{_NETWORK}.tcp_proxy.v3.TcpProxy.TunnelingConfig": fields(
        done="""hostname use_post headers_to_add propagate_response_headers propagate_response_trailers post_path"""
    ),
    "envoy.type.v3.HashPolicy": fields(done="source_ip filter_state"),
    "envoy.type.v3.HashPolicy.SourceIp": fields(),
    "envoy.type.v3.HashPolicy.FilterState": fields(done="key"),
    f"{_NETWORK}.tcp_proxy.v3.TcpProxy.WeightedCluster": fields(done="clusters"),
    f"{_NETWORK}.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight": fields(done="name weight metadata_match"),
}
