"""Types of router.request_facts."""

from proxeny.kernel.headers cimport HeaderMap


cdef class RequestFacts:
    cdef public HeaderMap headers
    cdef public bytes path
    cdef public object info, random_value
    cdef object _query, _cookies

    cpdef query(self)
    cpdef dict cookies(self)
