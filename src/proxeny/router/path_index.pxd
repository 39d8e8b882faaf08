"""Types of router.path_index."""


cdef class PrefixNode:
    cdef public PrefixNode parent
    cdef public tuple candidates, routes


cdef class PrefixIndex:
    cdef object _final
    cdef dict _nodes, _table
    cdef tuple _lengths

    cpdef candidates(self, bytes path)


cdef class ExactIndex:
    cdef object _final
    cdef dict _table

    cpdef candidates(self, bytes path)


cdef class RegexIndex:
    cdef object _final, _set
    cdef list _numbers, _regexes


cdef class PathIndex:
    cdef object _final
    cdef Py_ssize_t _size
    cdef ExactIndex _exact, _exact_ci
    cdef PrefixIndex _prefix, _prefix_ci
    cdef RegexIndex _regex
    cdef public object candidates
