"""Types of upstream.host."""

from proxeny.kernel.outlier cimport HostMonitor
from proxeny.kernel.stats cimport Block


cdef class Host:
    cdef object _address, _connections, _metadata, _transport_socket
    cdef public object cluster, entry, health_flags, hostname, known_streams, lb_data, locality, priority, weight
    cdef public long long healthy_since_ms
    cdef public bint canary
    cdef public dict http_pools, tcp_pools
    cdef public HostMonitor outlier
    cdef public Block stats
