"""Types of router.regex_groups."""

from proxeny.router.prefix_table cimport PrefixTable
from proxeny.router.request_facts cimport RequestFacts


cdef class RegexBatch:
    cdef list _groups, _lowest, _patterns
    cdef tuple _sets

    cpdef long long first(self, bytes text, RequestFacts facts, long long bound) except -1


cdef class RegexGroups:
    cdef object _conditions, _used
    cdef PrefixTable _table
    cdef dict _waiting

    cpdef long long first(self, bytes text, RequestFacts facts, long long bound) except -1
