"""Types of network.filter_manager."""


cdef class FilterManager:
    cdef public object connection
    cdef public list read_filters, write_filters
    cdef public Py_ssize_t _announced

    cpdef resume(self, Py_ssize_t start, data, bint end_stream)
