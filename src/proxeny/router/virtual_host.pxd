"""Types of router.virtual_host."""

from proxeny.kernel.headers cimport HeaderMap
from proxeny.router.route_list cimport RouteList


cdef class VirtualHostRoutes:
    cdef int _require_tls
    cdef RouteList _list
    cdef object _ssl_redirect, _tree
    cdef public object name, origin, virtual_host

    cpdef route(self, HeaderMap headers, stream_info, random_value)
