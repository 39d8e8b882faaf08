"""Types of http.stream_manager."""

from proxeny.http.connection_manager_config cimport ConnectionManagerConfig
from proxeny.kernel.timer cimport TimerWheel
from proxeny.network.filter cimport NetworkFilter
from proxeny.network.stream_info cimport ConnectionInfo


cdef class StreamManager(NetworkFilter):
    cdef public object codec, dispatcher, drain_decision, drain_state, protocol, remote_address
    cdef public ConnectionInfo connection_info
    cdef public ConnectionManagerConfig config
    cdef public TimerWheel wheel
    cdef public bint has_rare_timers, multiplexed, remote_closed, secure
    cdef public Py_ssize_t buffer_limit, rq_total_slot

    cpdef new_stream(self, response_encoder)
    cpdef end_stream(self, stream)
    cpdef destroy_stream(self, stream)
