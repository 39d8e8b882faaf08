"""Types of http.active_stream."""

from proxeny.http.connection_manager_config cimport ConnectionManagerConfig
from proxeny.http.filter_manager cimport FilterManager
from proxeny.kernel.headers cimport HeaderMap
from proxeny.kernel.timer cimport Timer


cdef class ActiveStream(FilterManager):
    # Not its type: the connection manager's module imports ours.
    cdef public object manager
    cdef public ConnectionManagerConfig config
    cdef public object encoder, resolved_route
    cdef public Timer idle_timer, request_timer, header_timer, max_duration_timer
    cdef public long long idle_timeout_ms
    cdef public object stream_id
    cdef public bint codec_complete, destroyed, encoder_started, is_head, route_resolved, saw_connection_close, upgrade

    cpdef decode_headers(self, HeaderMap headers, bint end_stream)
    cpdef decode_data(self, data, bint end_stream)
    cdef bint _wants_close(self, HeaderMap headers, protocol) except -1
    cdef bint _is_overload(self) except -1
    cdef bint _check_request(self, HeaderMap headers, protocol) except -1
    cdef bint _create_chain(self, HeaderMap headers, route) except -1
    cdef _decide_close(self, HeaderMap headers, bint granted)
    cdef _stop_keepalive(self, double fraction)
    cdef _charge(self, long long code)
    cdef _end_response(self)
    cpdef finish(self)
