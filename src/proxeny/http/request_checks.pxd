"""Types of http.request_checks."""

cimport cython
from proxeny.http.stream_timeouts cimport StreamTimeouts
from proxeny.kernel.headers cimport HeaderMap


cdef class RequestChecks(StreamTimeouts):
    cdef bint _wants_close(self, HeaderMap headers, protocol) except -1
    cdef bint _is_overload(self) except -1
    @cython.locals(path=bytes)
    cdef bint _check_request(self, HeaderMap headers, protocol) except -1
