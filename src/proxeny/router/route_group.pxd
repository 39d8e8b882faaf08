"""Types of router.route_group."""

from proxeny.router.prefix_table cimport PrefixNode, PrefixTable
from proxeny.router.request_facts cimport RequestFacts


cdef class RouteGroup:
    cdef public object conditions, index
    cdef public tuple flat
    cdef public long long final
    cdef public RouteGroup parent

    cpdef long long first(self, RequestFacts facts, long long bound) except -1


cdef class PrefixGroups:
    cdef object _conditions, _used
    cdef PrefixTable _table

    cpdef object group(self, bytes text)
    cdef object _resolve(self, PrefixNode node)
