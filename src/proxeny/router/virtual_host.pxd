"""Types of router.virtual_host."""

from proxeny.kernel.headers cimport HeaderMap


cdef class VirtualHostRoutes:
    cdef bint _ignore_parameters
    cdef int _require_tls
    cdef tuple _connect, _routes
    cdef object _candidates, _ssl_redirect
    cdef public object name

    cpdef route(self, HeaderMap headers, random_value)
