"""Counts of passive outlier detection (Envoy: `Outlier::DetectorHostMonitorImpl`); theory in outlier.pxd."""
from libc.stdint cimport int64_t, uint64_t

import os

cdef extern from "<sys/mman.h>" nogil:
    void* mmap(void* addr, size_t length, int prot, int flags, int fd, long offset)
    int munmap(void* addr, size_t length)
    const int PROT_READ, PROT_WRITE, MAP_SHARED, MAP_NORESERVE
    void* MAP_FAILED

cdef extern from "<unistd.h>" nogil:
    int close(int fd)

cdef extern from *:
    """
    static inline int64_t px_count_get(const int64_t* cell) { return __atomic_load_n(cell, __ATOMIC_RELAXED); }
    static inline void px_count_set(int64_t* cell, int64_t value) { __atomic_store_n(cell, value, __ATOMIC_RELAXED); }
    static inline int64_t px_count_add(int64_t* cell) { return __atomic_add_fetch(cell, 1, __ATOMIC_RELAXED); }
    static inline int64_t px_count_swap(int64_t* cell, int64_t value) {
        return __atomic_exchange_n(cell, value, __ATOMIC_RELAXED);
    }
    """
    int64_t count_get "px_count_get"(const int64_t* cell) noexcept nogil
    void count_set "px_count_set"(int64_t* cell, int64_t value) noexcept nogil
    int64_t count_add "px_count_add"(int64_t* cell) noexcept nogil
    int64_t count_swap "px_count_swap"(int64_t* cell, int64_t value) noexcept nogil

from proxeny.kernel.stats import MAX_SLOTS

cdef uint64_t ROWS = MAX_SLOTS

# The cells of a host. Consecutive failures are numbered as OutlierEjectionType numbers what they lead to.
cdef enum:
    CONSECUTIVE_5XX = 0
    CONSECUTIVE_GATEWAY = 1
    DEGRADED = 2
    CONSECUTIVE_LOCAL = 3
    CURRENT = 4            # which of the two windows is being written
    WINDOWS = 5            # total and good ones of the upstream's, total and good ones of our own; twice
    WINDOW = 4
    CELLS = 13
    EJECTION_DEGRADED = 7

# Results (Envoy: `Outlier::Result`).
EXT_ORIGIN_REQUEST_FAILED = 0
EXT_ORIGIN_REQUEST_SUCCESS = 1
EXT_ORIGIN_REQUEST_DEGRADED = 2
LOCAL_ORIGIN_TIMEOUT = 3
LOCAL_ORIGIN_CONNECT_FAILED = 4
LOCAL_ORIGIN_CONNECT_SUCCESS = 5
LOCAL_ORIGIN_CONNECT_SUCCESS_FINAL = 6

cdef enum:
    REQUEST_FAILED = 0
    REQUEST_SUCCESS = 1
    REQUEST_DEGRADED = 2
    TIMED_OUT = 3
    CONNECT_FAILED = 4
    CONNECT_SUCCESS = 5
    CONNECT_SUCCESS_FINAL = 6

CELLS_OF_A_HOST = CELLS


cdef class OutlierTable:
    """The cells as one process sees them; `fd` is closed with it."""

    def __cinit__(self, int fd):
        cdef void* address = mmap(NULL, ROWS * 16, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0)
        if address == MAP_FAILED:
            raise OSError("cannot map the table of outlier detection")
        self.cells = <int64_t*> address
        self.fd = fd

    def __dealloc__(self):
        if self.cells != NULL:
            munmap(self.cells, ROWS * 16)
            close(self.fd)

    @staticmethod
    def create():
        """A new table in its own (sparse) memfd; the descriptor stays open for handing it to the workers."""
        fd = os.memfd_create("proxeny-outlier", os.MFD_CLOEXEC)
        os.ftruncate(fd, ROWS * 16)
        return OutlierTable(fd)


cdef class OutlierCounts:
    """The counts of the host whose stat block begins at `base`, as main reads and resets them."""

    def __init__(self, OutlierTable table, uint64_t base):
        if 2 * base + CELLS > 2 * ROWS:
            raise ValueError("no such host")
        self.table = table
        self.base = base
        self.own = table.cells + 2 * base

    def clear(self):
        """A host begins: nothing is known of it."""
        cdef int i
        for i in range(CELLS):
            if self.own[i] != 0:
                count_set(self.own + i, 0)

    def reset(self, int kind):
        """Forget one kind of consecutive failures (0, 1 or 3)."""
        if kind != CONSECUTIVE_5XX and kind != CONSECUTIVE_GATEWAY and kind != CONSECUTIVE_LOCAL:
            raise ValueError("no kind of consecutive failures")
        count_set(self.own + kind, 0)

    def reset_degraded(self):
        """The next degraded response is reported again."""
        count_set(self.own + DEGRADED, 0)

    def turn(self):
        """A new window begins; the one that ended is what `window` reads."""
        cdef int64_t following = 1 - count_get(self.own + CURRENT)
        cdef int i
        for i in range(WINDOW):
            count_set(self.own + WINDOWS + following * WINDOW + i, 0)
        count_set(self.own + CURRENT, following)

    def window(self, bint local):
        """(requests, good ones) of the window that ended: the upstream's own results, or what is of local origin."""
        cdef int64_t* window = self.own + WINDOWS + (1 - count_get(self.own + CURRENT)) * WINDOW
        if local:
            window += 2
        return count_get(window), count_get(window + 1)

    def consecutive(self, int kind):
        """How many failures of a kind there were in a row."""
        return count_get(self.own + kind)


cdef class HostMonitor(OutlierCounts):
    """A host as a worker reports on it. `rules` says at which count of a kind (`threshold(kind)`) it is told
    (`report(base, kind)`)."""

    def __init__(self, OutlierTable table, uint64_t base, object rules, bint split, bint degrades):
        """`split`: what is of local origin is counted apart; `degrades`: degraded responses are told too."""
        OutlierCounts.__init__(self, table, base)
        self.rules = rules
        self.split = split
        self.degrades = degrades

    cdef bint advance(self, int cell) except -1:
        """One more failure of a kind; told when it is the one that makes the threshold."""
        if count_add(self.own + cell) == <int64_t> self.rules.threshold(cell):
            self.rules.report(self.base, cell)
        return True

    cdef void count(self, int local, bint success) noexcept:
        cdef int64_t* window = self.own + WINDOWS + count_get(self.own + CURRENT) * WINDOW + 2 * local
        count_add(window)
        if success:
            count_add(window + 1)

    cdef int put_code(self, int64_t code) except -1:
        self.count(0, not 500 <= code < 600)
        if 500 <= code < 600:
            if 502 <= code <= 504:
                self.advance(CONSECUTIVE_GATEWAY)
            else:
                count_set(self.own + CONSECUTIVE_GATEWAY, 0)
            self.advance(CONSECUTIVE_5XX)
            return 0
        # Mostly they are 0 already, and a line of memory that nobody writes stays in every core's cache.
        if count_get(self.own + CONSECUTIVE_5XX) != 0:
            count_set(self.own + CONSECUTIVE_5XX, 0)
        if count_get(self.own + CONSECUTIVE_GATEWAY) != 0:
            count_set(self.own + CONSECUTIVE_GATEWAY, 0)
        return 0

    cdef int put_local(self, bint success) except -1:
        self.count(1, success)
        if not success:
            self.advance(CONSECUTIVE_LOCAL)
        elif count_get(self.own + CONSECUTIVE_LOCAL) != 0:
            count_set(self.own + CONSECUTIVE_LOCAL, 0)
        return 0

    cpdef int put_result(self, int result, int64_t code=-1) except -1:
        """What became of a request or connection; `code` is the status that stands for it, -1: that of the result."""
        if self.degrades and result == REQUEST_DEGRADED and count_swap(self.own + DEGRADED, 1) == 0:
            self.rules.report(self.base, EJECTION_DEGRADED)
        if self.split:
            if result == CONNECT_SUCCESS or result == CONNECT_SUCCESS_FINAL:
                return self.put_local(True)
            if result == TIMED_OUT or result == CONNECT_FAILED:
                return self.put_local(False)
            if result == REQUEST_FAILED:
                return self.put_code(503 if code < 0 else code)
            if code >= 0:
                return self.put_code(code)
            self.put_code(200)
            return self.put_local(True)
        if code < 0:
            if result == CONNECT_SUCCESS:
                return 0
            if result == TIMED_OUT:
                code = 504
            elif result == CONNECT_FAILED:
                code = 503
            elif result == REQUEST_FAILED:
                code = 500
            else:
                code = 200
        return self.put_code(code)
