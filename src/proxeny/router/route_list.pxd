"""Types of router.route_list."""

from proxeny.kernel.headers cimport HeaderMap
from proxeny.router.path_index cimport PathIndex


cdef class RouteList:
    cdef public tuple routes
    cdef bint _ignores_parameters
    cdef PathIndex _index

    cpdef route(self, HeaderMap headers, stream_info, random_value)
    cdef _chosen(self, long long number, HeaderMap headers, stream_info, random_value)
