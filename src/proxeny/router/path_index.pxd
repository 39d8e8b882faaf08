"""Types of router.path_index."""

from proxeny.router.regex_groups cimport RegexGroups
from proxeny.router.request_facts cimport RequestFacts
from proxeny.router.route_group cimport PrefixGroups


cdef class ExactGroups:
    cdef object _conditions
    cdef dict _table

    cpdef object group(self, bytes text)


cdef class PathIndex:
    cdef object _conditions, _connect
    cdef list _connect_numbers
    cdef ExactGroups _exact, _exact_any_case
    cdef PrefixGroups _prefix, _prefix_any_case
    cdef RegexGroups _regex, _template
    cdef bint _ignores_parameters, _others

    cpdef long long quick(self, bytes path) except -2
    cpdef long long first(self, RequestFacts facts, bytes whole_path) except -2
