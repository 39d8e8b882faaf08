"""Types of upstream.cluster_info."""

from proxeny.kernel.stats cimport Block, CodeStats, DynamicStats


cdef class ClusterInfo:
    cdef CodeStats _canary_codes, _codes, _external_codes, _internal_codes
    cdef DynamicStats _dynamic
    cdef public object _snapshot
    cdef public bint _maintenance, health_checked, tracked
    cdef object _context, _http1_settings, _own_table
    cdef list _managers
    cdef tuple _remaining
    cdef public object host_scope, http, metadata, name, observability_name, orca, outlier, overrides
    cdef public object http2_settings, transport_socket, transport_sockets, upstream_names, upstream_pool
    cdef public object address_selector, limits_base, load_metrics, local_address, max_connections_per_host
    cdef public double drop_overload, preconnect_ratio
    cdef public long long connect_timeout_ms, per_connection_buffer_limit
    cdef public Block http2_stats, load_report, request_response_sizes, stats, timeout_budgets
    cdef public tuple happy_eyeballs, thresholds

    cpdef bint in_maintenance(self) except -1
    cpdef charge_response_code(self, int code, bint internal, bint canary=*)
