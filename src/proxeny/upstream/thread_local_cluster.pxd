"""Types of upstream.thread_local_cluster."""

from proxeny.upstream.cluster_info cimport ClusterInfo


cdef class ThreadLocalCluster:
    cdef object _ahead, _dispatcher, _lb, _leaving, _override_statuses, _pools, _protocol, _stale
    cdef bint _close_on_change, _close_on_failure, _logical, _special, _special_with_state
    cdef public object choose_host, own_load_balancer, priority_set
    cdef public ClusterInfo info

    cpdef http_pool(self, host, priority, downstream_protocol=*, tuple options=*, context=*)
