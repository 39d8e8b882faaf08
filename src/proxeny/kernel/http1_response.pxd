"""The map of kernel.http1_response."""

from proxeny.kernel.http1_parse cimport MessageParser


cdef class ResponseParser(MessageParser):
    cdef readonly int status
    cdef bytes reason
    cdef bint to_head, to_connect, to_upgrade

    cdef int end_response_head(self) except -1
    cdef int check_bodiless(self) except -1

    cpdef expect(self, bint head, bint connect, bint upgrade)
