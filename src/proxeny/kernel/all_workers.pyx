"""Slots summed over the segments of all workers: blocks lie at the same base in each; a sum is a load per worker."""
cimport cython
from libc.stdlib cimport free, malloc

from proxeny.kernel.stats cimport Segment


@cython.final
cdef class AllWorkers:
    """Reads other workers' segments beside this one's; without any, a slot is what this process counted."""

    def __cinit__(self, list segments=None):
        cdef Segment segment
        cdef Py_ssize_t at
        self.segments = [] if segments is None else list(segments)
        self.count = len(self.segments)
        self.memory = NULL
        if self.count:
            self.memory = <char**>malloc(self.count * sizeof(char*))
            if self.memory == NULL:
                raise MemoryError
            for at in range(self.count):
                segment = self.segments[at]
                self.memory[at] = segment.mem

    def __dealloc__(self):
        free(self.memory)

    def __len__(self):
        return self.count

    cpdef get(self, Block block, Py_ssize_t slot):
        """The sum of a slot of ``block`` (which is one of this worker's)."""
        return self.c_get(block, slot)
