# The map of passive outlier detection's kernel: counts of every host that hold across workers.
#
# One sparse memfd of int64 cells, 16 bytes for every slot that main may allot in the stat segments: a host's counts are
# found by the base of its stat block and need no allotment of their own. The cells are atomic: as in Envoy it is one
# result among those of all workers that makes a count reach its threshold, and whoever reports it tells main.
from libc.stdint cimport int64_t, uint64_t

cdef class OutlierTable:
    cdef int64_t* cells
    cdef readonly int fd

cdef class OutlierCounts:
    cdef OutlierTable table
    cdef int64_t* own
    cdef readonly uint64_t base

cdef class HostMonitor(OutlierCounts):
    cdef object rules
    cdef bint split, degrades

    cdef bint advance(self, int cell) except -1
    cdef void count(self, int local, bint success) noexcept
    cdef int put_code(self, int64_t code) except -1
    cdef int put_local(self, bint success) except -1
    cpdef int put_result(self, int result, int64_t code=*) except -1
