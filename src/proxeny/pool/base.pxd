"""Types of pool.base."""

from proxeny.kernel.limits cimport Resource
from proxeny.kernel.stats cimport Block
from proxeny.kernel.timer cimport TimerWheel
from proxeny.network.filter cimport ConnectionCallbacks
from proxeny.upstream.cluster_info cimport ClusterInfo
from proxeny.upstream.host cimport Host


cdef class ActiveClient(ConnectionCallbacks):
    cdef public object connect_timer, connected_at_ms, connection, duration_timer, state
    cdef public ConnPoolBase pool
    cdef public long long active_streams, concurrent_streams, created_at_ms, remaining_streams, streams
    cdef public bint timed_out


cdef class ConnPoolBase:
    cdef public bint _attach_scheduled, _draining_pool, preconnects
    cdef public int priority
    cdef public double _preconnect_ratio
    cdef public dict _busy, _connecting, _ready
    cdef public list _drained_callbacks
    cdef public object _on_idle, _pending, dispatcher, options, resources
    cdef public Host host
    cdef public Resource _host_connections, pending_requests, requests
    cdef public TimerWheel wheel
    cdef public ClusterInfo cluster
    cdef public Block stats

    cpdef end_stream(self, ActiveClient client)
    cpdef on_stream_closed(self, ActiveClient client)
