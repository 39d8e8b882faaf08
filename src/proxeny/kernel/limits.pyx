"""Limits that hold across workers (circuit breakers, connection limits); theory in limits.pxd."""
from libc.stdint cimport INT64_MAX, int64_t, uint64_t

import os

cdef extern from "<sys/mman.h>" nogil:
    void* mmap(void* addr, size_t length, int prot, int flags, int fd, long offset)
    int munmap(void* addr, size_t length)
    const int PROT_READ, PROT_WRITE, MAP_SHARED, MAP_NORESERVE
    void* MAP_FAILED

from proxeny.kernel.stats import MAX_SLOTS

cdef uint64_t ROWS = MAX_SLOTS         # rows are numbered by the blocks that main allots in the stat segments


cdef class LimitTable:
    """The matrix of counts as one process sees it: `column` is the one that it writes."""

    def __cinit__(self, int fd, int columns, int column):
        if columns < 1 or not 0 <= column < columns:
            raise ValueError("a limit table needs at least one column, and its own within them")
        self.mem = NULL
        self.size = <size_t>(ROWS * 8 * <uint64_t>columns)
        cdef void* address = mmap(NULL, self.size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0)
        if address == MAP_FAILED:
            raise OSError("cannot map the table of limits")
        self.mem = <int64_t*>address
        self.fd = fd
        self.columns = columns
        self.column = column

    def __dealloc__(self):
        if self.mem != NULL:
            munmap(self.mem, self.size)

    @staticmethod
    def create(int columns, int column=0):
        """A new table in its own (sparse) memfd; the descriptor stays open for handing it to the workers."""
        fd = os.memfd_create("proxeny-limits", os.MFD_CLOEXEC)
        os.ftruncate(fd, ROWS * 8 * <uint64_t>columns)
        return LimitTable(fd, columns, column)

    def clear_column(self, int column):
        """Forgets what a dead worker held. Looks only at the pages that exist in the memfd."""
        cdef uint64_t at, end
        cdef int64_t position = 0
        if not 0 <= column < self.columns:
            raise ValueError("no such column")
        while True:
            try:
                position = os.lseek(self.fd, position, os.SEEK_DATA)
            except OSError:                    # ENXIO: no data behind here
                return
            end = <uint64_t>os.lseek(self.fd, position, os.SEEK_HOLE) // 8
            at = <uint64_t>position // 8
            at += (column + self.columns - at % self.columns) % self.columns
            while at < end:
                if self.mem[at] != 0:
                    self.mem[at] = 0
                at += self.columns
            position = <int64_t>end * 8

    def clear_rows(self, uint64_t row, uint64_t rows):
        """Zeroes rows before they are allotted again."""
        cdef uint64_t at
        if row + rows > ROWS:
            raise ValueError("no such rows")
        for at in range(row * self.columns, (row + rows) * self.columns):
            if self.mem[at] != 0:
                self.mem[at] = 0


cdef class Resource:
    """One limited resource (Envoy: `ResourceLimit`) with its `*_open` and, if tracked, `remaining_*` gauge.

    The remaining gauge is additive over processes: main holds the maximum, each worker minus what it uses.
    """

    def __init__(self, LimitTable table, uint64_t row, int64_t maximum, Block block, int open_slot,
                 Block remaining=None, int remaining_slot=-1):
        if row >= ROWS:
            raise ValueError("no such row")
        self.table = table
        self.columns = table.columns
        self.row = table.mem + row * <uint64_t>table.columns
        self.mine = self.row + table.column
        self.max = maximum
        self.block = block
        self.open_slot = open_slot if block is not None else -1
        self.remaining = remaining
        self.remaining_slot = remaining_slot if remaining is not None else -1
        self.is_open = False

    cdef int64_t sum(self) noexcept:
        cdef int64_t total = 0
        cdef int i
        for i in range(self.columns):
            total += self.row[i]
        return total

    cdef void show(self) noexcept:
        cdef bint now_open
        if self.open_slot >= 0:
            now_open = self.sum() >= self.max
            if now_open != self.is_open:
                self.is_open = now_open
                self.block.c_set(self.open_slot, now_open)

    @property
    def count(self):
        """How many there are, over all workers."""
        return self.sum()

    @property
    def own(self):
        """How many this worker holds."""
        return self.mine[0]

    cpdef bint can_create(self):
        """Whether one more stays within the limit."""
        return self.sum() < self.max

    cpdef void inc(self):
        self.mine[0] += 1
        if self.remaining_slot >= 0:
            self.remaining.c_add(self.remaining_slot, -1)
        self.show()

    cpdef void dec(self):
        self.mine[0] -= 1
        if self.remaining_slot >= 0:
            self.remaining.c_add(self.remaining_slot, 1)
        self.show()


cdef extern from * nogil:
    int64_t __atomic_add_fetch(int64_t* at, int64_t value, int order)
    int64_t __atomic_load_n(int64_t* at, int order)
    int __ATOMIC_SEQ_CST


cdef class ConnectionCounts:
    """Connections of one listener and of all listeners, over all processes, with a limit for each.

    A connection is counted before the sums are looked at, so no limit is ever exceeded; two processes that count at the
    same moment may both take it back. The counts are atomic because a worker also writes the column of the one that it
    hands a connection to: on its way the connection stays counted.
    """

    cdef LimitTable table
    cdef int64_t* own
    cdef int64_t* all
    cdef public int64_t own_most, all_most

    def __init__(self, LimitTable table, int64_t own_row, int64_t all_row):
        """Rows of -1 are not counted."""
        if own_row >= <int64_t>ROWS or all_row >= <int64_t>ROWS:
            raise ValueError("no such row")
        self.table = table
        self.own = table.mem + own_row * table.columns if own_row >= 0 else NULL
        self.all = table.mem + all_row * table.columns if all_row >= 0 else NULL
        self.own_most = self.all_most = INT64_MAX

    cdef void add(self, int64_t* row, int column, int64_t number) noexcept:
        if row != NULL:
            __atomic_add_fetch(row + column, number, __ATOMIC_SEQ_CST)

    cdef bint within(self, int64_t* row, int64_t most) noexcept:
        if row == NULL or most == INT64_MAX:
            return True
        return self.sum(row) <= most

    cdef int64_t sum(self, int64_t* row) noexcept:
        cdef int64_t total = 0
        cdef int i
        if row != NULL:
            for i in range(self.table.columns):
                total += __atomic_load_n(row + i, __ATOMIC_SEQ_CST)
        return total

    def acquire(self, bint shed=False):
        """Count one more connection unless a limit says no; 0, or why not: 1 the limit of all, 2 as told, 3 its own."""
        cdef int me = self.table.column
        self.add(self.all, me, 1)
        if not self.within(self.all, self.all_most):
            self.add(self.all, me, -1)
            return 1
        if shed:
            self.add(self.all, me, -1)
            return 2
        self.add(self.own, me, 1)
        if not self.within(self.own, self.own_most):
            self.add(self.own, me, -1)
            self.add(self.all, me, -1)
            return 3
        return 0

    def started(self):
        """Count one more, whatever the limits."""
        self.add(self.all, self.table.column, 1)
        self.add(self.own, self.table.column, 1)

    def ended(self):
        """Count one less."""
        self.add(self.own, self.table.column, -1)
        self.add(self.all, self.table.column, -1)

    def pass_to(self, ConnectionCounts other):
        """A connection becomes another listener's, whatever its limits."""
        other.started()
        self.ended()

    def hand_to(self, int worker):
        """A connection of this worker's becomes another worker's."""
        if not 0 <= worker < self.table.columns:
            raise ValueError("no such worker")
        self.add(self.all, worker, 1)
        self.add(self.own, worker, 1)
        self.ended()

    @property
    def own_count(self):
        """Connections of the listener."""
        return self.sum(self.own)

    @property
    def all_count(self):
        """Connections of all listeners that count."""
        return self.sum(self.all)
