"""Types of http.connection_manager."""

cimport cython
from proxeny.http.active_stream cimport ActiveStream
from proxeny.http.http2.server_connection cimport Http2ServerStream
from proxeny.http.stream_manager cimport StreamManager
from proxeny.kernel.timer cimport Timer
from proxeny.network.connection cimport Connection


cdef class ConnectionManager(StreamManager):
    cdef public Timer drain_timer, duration_timer, idle_timer
    cdef public long long closed_requests, requests, start_ns
    cdef public list streams
    cdef public bint dispatching
    cdef public object premature_resets

    cpdef on_data(self, data, bint end_stream)
    cpdef new_stream(self, response_encoder)
    cpdef check_for_deferred_close(self, bint skip_delay_close)
    cdef bint _await_codec(self, ActiveStream stream, Http2ServerStream encoder) except -1
    @cython.locals(active=ActiveStream, connection=Connection)
    cpdef end_stream(self, stream)
    @cython.locals(active=ActiveStream)
    cpdef destroy_stream(self, stream)
