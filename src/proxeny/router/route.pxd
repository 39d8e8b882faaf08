"""Types of router.route."""

from proxeny.router.retry_policy cimport RetryPolicy


cdef class RouteConfigInfo:
    cdef public bint ignore_path_parameters, most_specific_wins, uses_vhds
    cdef public dict cluster_plugins
    cdef public tuple internal_only_headers
    cdef public object max_direct_response_body_size, name, per_filter, request_mutation, response_mutation
    cdef public object stats_holder
    cdef public dict metadata
    cdef public tuple mirrors


cdef class VirtualHost:
    cdef public RouteConfigInfo config
    cdef public bint hedge_on_per_try_timeout, include_attempt_count_in_response, include_is_timeout_retry_header
    cdef public bint include_request_attempt_count
    cdef public dict metadata
    cdef public object cors, name, per_filter, rate_limits, request_buffer_limit, request_mutation, response_mutation
    cdef public object retry_policy, stats_holder
    cdef public tuple mirrors, virtual_clusters


cdef class RoutePolicy:
    cdef public bint append_x_forwarded_host, auto_host_rewrite, hedge_on_per_try_timeout, using_new_timeouts
    cdef public long long global_timeout_ms, timeout_ms
    cdef public bytes expected_timeout
    cdef public object cluster_not_found_response_code, connect, flush_timeout_ms
    cdef public object grpc_timeout_header_max_ms, grpc_timeout_header_offset_ms
    cdef public object grpc_timeout_offset_ms, hash_policy, host_rewrite, idle_timeout_ms, max_grpc_timeout_ms
    cdef public object max_stream_duration_ms, metadata_match, path_rewrite, priority, request_buffer_limit
    cdef public object cors, internal_redirect, rate_limits, upgrades
    cdef public RetryPolicy retry_policy
    cdef public tuple mirrors


cdef class RouteEntry:
    cdef public object cluster, cluster_header, host_literal, idle_timeout_ms, matched
    cdef public bint limits_duration, plain
    cdef public RoutePolicy policy
    cdef public tuple request_mutations, response_mutations
    cdef public VirtualHost virtual_host


cdef class Route:
    cdef public object condition, entry, extra, name, per_filter, weighted
    cdef public bint switches_filters
    cdef public VirtualHost virtual_host
