"""Types of router.route_list."""

cimport cython
from proxeny.kernel.headers cimport HeaderMap
from proxeny.router.path_index cimport PathIndex
from proxeny.router.route cimport Route


cdef class RouteList:
    cdef public tuple routes
    cdef bint _ignores_parameters
    cdef public PathIndex index

    @cython.locals(path=bytes, whole_path=bytes)
    cpdef route(self, HeaderMap headers, stream_info, random_value)
    @cython.locals(route=Route)
    cdef _chosen(self, long long number, HeaderMap headers, stream_info, random_value)
