"""Active health checks, and the HTTP filter that answers them."""

from typing import Final

from proxeny.config.support.table import Table, extension, fields

_CORE: Final = "envoy.config.core.v3"

TABLE: Final[Table] = {
    f"{_CORE}.HealthCheck": fields(
        done="""name timeout interval initial_jitter interval_jitter interval_jitter_percent unhealthy_threshold
            healthy_threshold reuse_connection http_health_check tcp_health_check grpc_health_check custom_health_check
            no_traffic_interval no_traffic_healthy_interval unhealthy_interval unhealthy_edge_interval
            healthy_edge_interval event_log_path event_logger always_log_health_check_failures
            always_log_health_check_success tls_options transport_socket_match_criteria""",
        accepted="alt_port",
    ),
    f"{_CORE}.HealthCheck.Payload": fields(done="text binary"),
    f"{_CORE}.HealthCheck.HttpHealthCheck": fields(
        done="""host path send receive response_buffer_size request_headers_to_add request_headers_to_remove
            expected_statuses retriable_statuses codec_client_type service_name_matcher method""",
        accepted="use_alpn_protocol",
    ),
    f"{_CORE}.HealthCheck.TcpHealthCheck": fields(done="send receive proxy_protocol_config"),
    f"{_CORE}.HealthCheck.GrpcHealthCheck": fields(done="service_name authority initial_metadata"),
    f"{_CORE}.HealthCheck.CustomHealthCheck": fields(done="name typed_config"),
    f"{_CORE}.HealthCheck.TlsOptions": fields(done="alpn_protocols"),
    "envoy.config.endpoint.v3.Endpoint.HealthCheckConfig": fields(
        done="port_value hostname address disable_active_health_check"
    ),
    "envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink": extension(done="event_log_path"),
    "envoy.extensions.filters.http.health_check.v3.HealthCheck": extension(
        done="pass_through_mode cache_time cluster_min_healthy_percentages headers"
    ),
}
