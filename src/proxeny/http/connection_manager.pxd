"""Types of http.connection_manager."""

from proxeny.http.connection_manager_config cimport ConnectionManagerConfig
from proxeny.kernel.timer cimport Timer
from proxeny.network.filter cimport NetworkFilter


cdef class ConnectionManager(NetworkFilter):
    cdef public object codec, connection_info, dispatcher, drain_decision, drain_state, protocol, remote_address
    cdef public ConnectionManagerConfig config
    cdef public Timer drain_timer, duration_timer, idle_timer
    cdef public bint has_rare_timers, remote_closed
    cdef public Py_ssize_t buffer_limit
    cdef public long long requests, start_ns
    cdef public list streams

    cpdef on_data(self, data, bint end_stream)
    cpdef new_stream(self, response_encoder)
    cpdef end_stream(self, stream)
    cpdef destroy_stream(self, stream)
    cpdef check_for_deferred_close(self, bint skip_delay_close)
