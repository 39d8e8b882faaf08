"""Map of the log line under construction."""

from proxeny.kernel.headers cimport HeaderMap


cdef class Line:
    cdef char* data
    cdef size_t used, capacity
    cdef long long second
    cdef char[24] stamp

    cdef char* room(self, size_t n) except NULL

    cpdef clear(self)
    cpdef put(self, bytes text)
    cpdef put_int(self, long long value)
    cpdef put_time(self, double seconds)
    cpdef put_header(self, HeaderMap headers, bytes name, bytes alternative, Py_ssize_t limit, bytes absent)
    cpdef bytes take(self)
