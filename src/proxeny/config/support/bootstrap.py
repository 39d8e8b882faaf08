"""Bootstrap, admin, node, runtime and statistics settings."""

from typing import Final

from proxeny.config.support.table import Table, extension, fields

_BOOTSTRAP: Final = "envoy.config.bootstrap.v3"
_CORE: Final = "envoy.config.core.v3"
_METRICS: Final = "envoy.config.metrics.v3"

TABLE: Final[Table] = {
    f"{_BOOTSTRAP}.Bootstrap": fields(
        done="""node node_context_params static_resources dynamic_resources cluster_manager
            stats_config stats_flush_interval
            layered_runtime overload_manager admin watchdog watchdogs bootstrap_extensions
            hds_config typed_dns_resolver_config dns_resolution_config use_tcp_for_dns_lookups
            enable_dispatcher_stats""",
        accepted="""deferred_stat_options stats_flush_on_admin
            stats_eviction_interval memory_allocator_manager perf_tracing_file_path default_socket_interface
            default_regex_engine stats_server_version_override grpc_async_client_manager_config""",
    ),
    "envoy.extensions.bootstrap.internal_listener.v3.InternalListener": extension(done="buffer_size_kb"),
    f"{_BOOTSTRAP}.Bootstrap.StaticResources": fields(done="listeners clusters secrets"),
    f"{_BOOTSTRAP}.Admin": fields(
        done="access_log access_log_path address socket_options ignore_global_conn_limit",
        accepted="profile_path",
    ),
    f"{_BOOTSTRAP}.ClusterManager": fields(
        done="local_cluster_name upstream_bind_config outlier_detection load_stats_config",
        accepted="enable_deferred_cluster_creation",
    ),
    f"{_BOOTSTRAP}.ClusterManager.OutlierDetection": fields(done="event_log_path", accepted="event_service"),
    f"{_BOOTSTRAP}.Watchdogs": fields(done="main_thread_watchdog worker_watchdog"),
    f"{_BOOTSTRAP}.Watchdog": fields(
        done="miss_timeout megamiss_timeout kill_timeout max_kill_timeout_jitter",
        accepted="multikill_timeout multikill_threshold",
    ),
    f"{_BOOTSTRAP}.LayeredRuntime": fields(done="layers"),
    f"{_BOOTSTRAP}.RuntimeLayer": fields(done="name static_layer disk_layer admin_layer rtds_layer"),
    f"{_BOOTSTRAP}.RuntimeLayer.RtdsLayer": fields(done="name rtds_config"),
    f"{_BOOTSTRAP}.RuntimeLayer.DiskLayer": fields(done="symlink_root subdirectory append_service_cluster"),
    f"{_CORE}.Node": fields(
        done="id cluster metadata locality user_agent_name user_agent_version user_agent_build_version",
        accepted="dynamic_parameters extensions client_features listening_addresses",
    ),
    f"{_METRICS}.StatsConfig": fields(done="stats_tags use_all_default_tags stats_matcher histogram_bucket_settings"),
}
