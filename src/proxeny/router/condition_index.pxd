"""Types of router.condition_index."""

from proxeny.router.request_facts cimport RequestFacts
from proxeny.router.route_group cimport PrefixGroups


cdef class ValueIndex:
    cdef dict _exact, _exact_any_case
    cdef PrefixGroups _prefix, _prefix_any_case, _suffix, _suffix_any_case
    cdef object _present, _regex

    cpdef long long first(self, bytes value, RequestFacts facts, long long bound) except -1


cdef class ConditionIndex:
    cdef tuple _few_headers
    cdef dict _cookies, _headers, _query
    cdef public long long lowest

    cpdef long long first(self, RequestFacts facts, long long bound) except -1
