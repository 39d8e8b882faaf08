"""Types of upstream.cluster_manager."""


cdef class ClusterManager:
    cdef dict _active, _failed, _generations, _health, _hosts, _serialized, _stat_bases
    cdef object _context, _inflated, _local_name
    cdef public dict change_callbacks
    cdef public object limits, on_host_changes, on_hosts_failed, on_load_metrics, on_outlier

    cpdef get(self, name)
