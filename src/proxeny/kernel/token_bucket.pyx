"""Token buckets that all workers draw from (Envoy: `AtomicTokenBucketImpl`).

One memfd holds a 64-bit cell per bucket, at the row that main allotted (rows are numbered by the blocks of the stat
segments). The cell is the time at which the bucket will be full again; a draw moves it on by one compare-and-swap. So
there is no refill timer and no lock, and a fresh cell (0) is a full bucket.
"""
from libc.stdint cimport int64_t, uint64_t

import os

cdef extern from "<sys/mman.h>" nogil:
    void* mmap(void* addr, size_t length, int prot, int flags, int fd, long offset)
    int munmap(void* addr, size_t length)
    const int PROT_READ, PROT_WRITE, MAP_SHARED, MAP_NORESERVE
    void* MAP_FAILED

cdef extern from *:
    """
    static inline int64_t px_cell_get(const int64_t* cell) { return __atomic_load_n(cell, __ATOMIC_RELAXED); }
    static inline void px_cell_set(int64_t* cell, int64_t value) { __atomic_store_n(cell, value, __ATOMIC_RELAXED); }
    static inline int px_cell_swap(int64_t* cell, int64_t* old, int64_t value) {
        return __atomic_compare_exchange_n(cell, old, value, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    }
    """
    int64_t cell_get "px_cell_get"(const int64_t* cell) nogil
    void cell_set "px_cell_set"(int64_t* cell, int64_t value) nogil
    bint cell_swap "px_cell_swap"(int64_t* cell, int64_t* old, int64_t value) nogil

from proxeny.kernel.stats import MAX_SLOTS

cdef uint64_t ROWS = MAX_SLOTS
cdef double MOST_NS = <double> (<int64_t> 1 << 62)   # 146 years: no sum of times overflows


cdef class BucketTable:
    """The cells as one process sees them."""

    cdef int64_t* cells
    cdef readonly int fd

    def __cinit__(self, int fd):
        cdef void* address = mmap(NULL, ROWS * 8, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0)
        if address == MAP_FAILED:
            raise OSError("cannot map the table of token buckets")
        self.cells = <int64_t*> address
        self.fd = fd

    def __dealloc__(self):
        if self.cells != NULL:
            munmap(self.cells, ROWS * 8)

    @staticmethod
    def create():
        """A new table in its own (sparse) memfd; the descriptor stays open for handing it to the workers."""
        fd = os.memfd_create("proxeny-buckets", os.MFD_CLOEXEC)
        os.ftruncate(fd, ROWS * 8)
        return BucketTable(fd)


cdef class TokenBucket:
    """One bucket. `now_ns` is CLOCK_MONOTONIC, which all processes share."""

    cdef BucketTable table
    cdef int64_t* cell
    cdef double most, ns_per_token

    def __init__(self, BucketTable table not None, uint64_t row, double max_tokens, double tokens_per_fill,
                 double fill_interval_ns):
        if row >= ROWS:
            raise ValueError("no such row")
        if not (max_tokens > 0 and tokens_per_fill > 0 and fill_interval_ns > 0):
            raise ValueError("a token bucket that never holds a token")
        self.table = table
        self.cell = table.cells + row
        self.most = max_tokens
        self.ns_per_token = fill_interval_ns / tokens_per_fill

    cdef double held(self, int64_t now_ns, int64_t full_ns) noexcept nogil:
        return self.most if full_ns <= now_ns else self.most - <double> (full_ns - now_ns) / self.ns_per_token

    def consume(self, int64_t now_ns, double tokens=1):
        """Take so many tokens; False, and nothing is taken, when there are fewer."""
        cdef int64_t full_ns = cell_get(self.cell), longer
        while True:
            if self.held(now_ns, full_ns) < tokens:
                return False
            longer = max(full_ns, now_ns) - now_ns
            longer = <int64_t> min(<double> longer + tokens * self.ns_per_token, MOST_NS)
            if cell_swap(self.cell, &full_ns, now_ns + longer):
                return True

    def remaining(self, int64_t now_ns):
        """How many tokens there are, parts of one included."""
        return max(0.0, self.held(now_ns, cell_get(self.cell)))

    def fill(self):
        """Make it full."""
        cell_set(self.cell, 0)
