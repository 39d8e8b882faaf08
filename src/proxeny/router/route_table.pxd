"""Types of router.route_table."""

cimport cython
from proxeny.kernel.headers cimport HeaderMap
from proxeny.router.virtual_host cimport VirtualHostRoutes


cdef class RouteTable:
    cdef public object info, name, origin
    cdef VirtualHostRoutes _default
    cdef dict _exact
    cdef tuple _prefixes, _suffixes
    cdef public tuple virtual_hosts
    cdef bytes _host_header
    cdef bint _only_default, _ignore_port

    @cython.locals(host=VirtualHostRoutes)
    cpdef route(self, HeaderMap headers, stream_info, random_value)
