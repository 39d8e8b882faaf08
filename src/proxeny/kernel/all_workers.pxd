# The map of kernel.all_workers: what a slot amounts to over all workers, for who balances by it.
cimport cython
from libc.stdint cimport int64_t, uint64_t
from proxeny.kernel.stats cimport Block, stat_value


@cython.final
cdef class AllWorkers:
    cdef list segments               # keeps the memory mapped
    cdef char** memory
    cdef Py_ssize_t count

    cdef inline int64_t c_get(self, Block block, Py_ssize_t slot) noexcept nogil:
        cdef Py_ssize_t at
        cdef int64_t total = 0
        cdef int64_t offset
        if self.count == 0:
            return block.c_get(slot)
        offset = <char*>(block.p + slot) - block.segment.mem
        for at in range(self.count):
            total += stat_value((<uint64_t*>(self.memory[at] + offset))[0])
        return total

    cpdef get(self, Block block, Py_ssize_t slot)
