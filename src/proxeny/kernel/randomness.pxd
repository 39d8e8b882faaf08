cdef class RandomGenerator:
    cdef unsigned char pool[4096]
    cdef Py_ssize_t position
    cdef int fill(self) except -1
    cpdef object random(self)
    cpdef bytes uuid(self)
