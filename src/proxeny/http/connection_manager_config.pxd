"""Types of http.connection_manager_config."""

from proxeny.event.time_source cimport TimeSource
from proxeny.http.filter_chain cimport FilterChain
from proxeny.http.header_sanitizing cimport HeaderSanitizer
from proxeny.kernel.randomness cimport RandomGenerator
from proxeny.kernel.stats cimport Block
from proxeny.network.overload_state cimport OverloadState


cdef class UpgradeConfig:
    cdef public bint enabled
    cdef public FilterChain chain


cdef class ConnectionManagerConfig:
    cdef object __weakref__
    cdef public object context, dispatcher, local_info, recent_failures, route_table, codec_settings, codec_stats, stat_prefix
    cdef public object route_provider
    cdef public object http2_settings
    cdef public Block http2_stats
    cdef public int codec_type
    cdef public OverloadState overload
    cdef public TimeSource clock
    cdef public RandomGenerator random
    cdef public FilterChain chain
    cdef public tuple access_logs
    cdef public Block stats, listener_stats
    cdef public HeaderSanitizer sanitizer
    cdef public dict upgrades
    cdef public bint append_local_overload
    cdef public object path_normalizer, local_reply, proxy_status, tracing
    cdef public bytes server_name, default_host_for_http_10
    cdef public bint logs_new_requests, logs_tunnels, times_routes
    cdef public long long log_flush_interval_ms
    cdef public bint server_overwrite, server_pass_through, proxy_100_continue, stream_error_on_invalid
    cdef public bint normalizes_path, strip_matching_port, strip_any_port, strip_trailing_dot, accept_http_10
    cdef public bint match_upstream_scheme, soft_drain
    cdef public long long stream_flush_timeout_ms
    cdef public long long stream_idle_timeout_ms, request_timeout_ms, request_headers_timeout_ms
    cdef public long long drain_timeout_ms, delayed_close_timeout_ms, connection_idle_timeout_ms
    cdef public long long max_connection_duration_ms, max_stream_duration_ms, max_requests_per_connection
