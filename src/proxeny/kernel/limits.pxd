# The map of the circuit breakers' kernel: counts that hold across workers.
#
# One memfd holds a matrix of int64: a row per limited resource (at the row number main allotted); in a row first the
# total, then a cell per worker. The total decides: one more is taken by compare-and-swap, so what all workers have
# together never exceeds a limit and never falls short of it either. A worker's cell is written by that worker only and
# says what to take off the total when it dies. The cell is raised before the total and lowered after it: a worker that
# is killed between the two may leave the total one too low, but never anything that nobody frees.
#
# A total is kept as twice the count, plus one once somebody has counted at all (`circuit_breakers.*_open` shows then).
from libc.stdint cimport int64_t

cdef class LimitTable:
    cdef int64_t* mem
    cdef size_t size
    cdef int cells                    # of a row
    cdef readonly int fd, columns, column

    cdef list extents(self)

cdef class Resource:
    cdef int64_t* total
    cdef int64_t* mine
    cdef public int64_t max
    cdef LimitTable table

    cpdef bint can_create(self) noexcept
    cpdef bint try_acquire(self) noexcept
    cpdef void inc(self) noexcept
    cpdef void dec(self) noexcept
