"""Types of http.active_stream."""

from proxeny.http.request_checks cimport RequestChecks
from proxeny.http.codec cimport ResponseEncoder
from proxeny.http.stream_manager cimport StreamManager
from proxeny.kernel.buffer cimport Buffer
from proxeny.kernel.headers cimport HeaderMap
from proxeny.network.connection cimport Connection


cdef class ActiveStream(RequestChecks):
    cpdef decode_headers(self, HeaderMap headers, bint end_stream)
    cpdef decode_data(self, Buffer data, bint end_stream)
    cdef _begin(self, StreamManager manager, ResponseEncoder encoder, Connection connection)
    cdef bint _create_chain(self, HeaderMap headers, route) except -1
    cdef _decide_close(self, HeaderMap headers, bint granted)
    cdef _stop_keepalive(self, double fraction)
    cdef _end_response(self)
    cpdef on_codec_complete(self)
    cpdef finish(self)
