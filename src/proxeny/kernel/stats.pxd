# The map of the statistics kernel: a Segment is one process's shared memory, a Block a schema's slots inside it.
#
# A slot is 8 aligned bytes: bit 63 says "ever written" (Envoy's Used flag), the low 63 bits are the value in two's
# complement. A histogram's slot holds the offset of its bins instead. Each segment has one writing process, so a slot
# is updated by a plain load and store; readers see the old or the new value, never half of one.
cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef extern from *:
    """
    #define PX_STAT_USED (((uint64_t)1) << 63)
    #define PX_STAT_VALUE(raw) (((int64_t)((uint64_t)(raw) << 1)) >> 1)
    """
    const uint64_t STAT_USED "PX_STAT_USED"
    int64_t stat_value "PX_STAT_VALUE" (uint64_t raw) noexcept nogil


@cython.final
cdef class Segment:
    cdef char* mem
    cdef readonly int fd
    cdef bint owns_fd
    cdef dict free_chunks            # size in bytes -> offsets given back by dropped histograms
    cdef list free_heads             # heads of dropped histograms

    cdef void begin(self) noexcept
    cdef uint64_t allot(self, uint64_t size) except 0
    cdef uint64_t allot_head(self, uint64_t slot_at) except 0
    cdef int add_bins(self, uint64_t* slot, int mantissa, int decade, uint64_t count) except -1
    cdef int record_at(self, uint64_t* slot, int64_t value) except -1
    cdef int drop_bins(self, uint64_t* slot) except -1
    cdef dict bins_at(self, uint64_t* slot, dict into)


@cython.final
cdef class Block:
    cdef uint64_t* p
    cdef readonly Segment segment
    cdef readonly uint32_t base, size

    cdef inline void c_inc(self, Py_ssize_t slot) noexcept nogil:
        self.p[slot] = (self.p[slot] + 1) | STAT_USED

    cdef inline void c_add(self, Py_ssize_t slot, int64_t n) noexcept nogil:
        self.p[slot] = (self.p[slot] + <uint64_t>n) | STAT_USED

    cdef inline void c_set(self, Py_ssize_t slot, int64_t n) noexcept nogil:
        self.p[slot] = <uint64_t>n | STAT_USED

    cdef inline int64_t c_get(self, Py_ssize_t slot) noexcept nogil:
        return stat_value(self.p[slot])

    cdef inline int c_record(self, Py_ssize_t slot, int64_t value) except -1:
        return self.segment.record_at(self.p + slot, value)

    cpdef inc(self, Py_ssize_t slot)
    cpdef add(self, Py_ssize_t slot, int64_t n)
    cpdef inc2(self, Py_ssize_t a, Py_ssize_t b)
    cpdef inc3(self, Py_ssize_t a, Py_ssize_t b, Py_ssize_t c)
    cpdef dec(self, Py_ssize_t slot)
    cpdef dec2(self, Py_ssize_t a, Py_ssize_t b)
    cpdef get(self, Py_ssize_t slot)
    cpdef record(self, Py_ssize_t slot, int64_t value)


@cython.final
cdef class DynamicLog:
    cdef readonly Segment segment
    cdef readonly uint32_t max_names
    cdef readonly uint64_t dropped
    cdef dict entries                # (kind, full name) -> offset of the entry
    cdef dict free_entries           # entry size in bytes -> offsets of dropped entries

    cdef uint64_t* slot_of(self, int kind, str name) except NULL


@cython.final
cdef class DynamicStats:
    cdef readonly DynamicLog log
    cdef readonly str prefix
    cdef dict counters               # name -> address of its slot
    cdef dict histograms             # likewise
    cdef uint64_t* counter(self, str name) except NULL
    cdef uint64_t* histogram(self, str name) except NULL

    cpdef record(self, str name, int64_t value)


@cython.final
cdef class CodeStats:
    cdef DynamicStats dynamic
    cdef Block completed_block       # keeps the memory of `completed` alive when it is a block's slot
    cdef str stem
    cdef uint64_t* completed
    cdef uint64_t* groups[6]
    cdef uint64_t* codes[600]

    cpdef charge(self, int code)
