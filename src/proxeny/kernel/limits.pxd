# The map of the circuit breakers' kernel: counts that hold across workers.
#
# One memfd holds a matrix of int64: a row per limited resource (at the row number main allotted), a column per worker.
# A worker writes only its own column and reads a row as the sum of its columns, so no lock and no atomic is needed;
# a limit may be exceeded by what other workers admit within the same few nanoseconds, as in Envoy.
from libc.stdint cimport int64_t

from proxeny.kernel.stats cimport Block

cdef class LimitTable:
    cdef int64_t* mem
    cdef size_t size
    cdef readonly int fd, columns, column

cdef class Resource:
    cdef int64_t* row
    cdef int64_t* mine
    cdef int columns, open_slot, remaining_slot
    cdef bint is_open
    cdef public int64_t max
    cdef LimitTable table
    cdef Block block, remaining

    cdef int64_t sum(self) noexcept
    cdef void show(self) noexcept
    cpdef bint can_create(self)
    cpdef void inc(self)
    cpdef void dec(self)
