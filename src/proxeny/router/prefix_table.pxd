"""Types of router.prefix_table."""


cdef class PrefixNode:
    cdef public PrefixNode parent
    cdef public object resolved, value


cdef class PrefixTable:
    cdef dict _nodes, _table
    cdef tuple _lengths

    cpdef PrefixNode find(self, bytes text)
