"""Types of http.request_checks."""

from proxeny.http.stream_timeouts cimport StreamTimeouts
from proxeny.kernel.headers cimport HeaderMap


cdef class RequestChecks(StreamTimeouts):
    cdef bint _wants_close(self, HeaderMap headers, protocol) except -1
    cdef bint _is_overload(self) except -1
    cdef bint _check_request(self, HeaderMap headers, protocol) except -1
