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

cdef enum:
    PAGE = 4096
    USED = 1                           # of a total: somebody has counted here
    ONE = 2                            # one more, in a total

cdef extern from * nogil:
    int64_t __atomic_add_fetch(int64_t* at, int64_t value, int order)
    int64_t __atomic_or_fetch(int64_t* at, int64_t value, int order)
    int64_t __atomic_load_n(int64_t* at, int order)
    bint __atomic_compare_exchange_n(int64_t* at, int64_t* expected, int64_t wanted, bint weak, int yes, int no)
    int __ATOMIC_SEQ_CST


cdef class LimitTable:
    """The matrix of counts as one process sees it: `column` is the one that it writes."""

    def __cinit__(self, int fd, int columns, int column):
        if columns < 1 or not 0 <= column < columns:
            raise ValueError("a limit table needs at least one column, and its own within them")
        self.mem = NULL
        self.cells = columns + 1
        self.size = <size_t>(ROWS * 8 * <uint64_t>self.cells)
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
        os.ftruncate(fd, ROWS * 8 * (<uint64_t>columns + 1))
        return LimitTable(fd, columns, column)

    cdef list extents(self):
        """(first, end) of the cells that exist in the memfd: reading others would make them."""
        cdef list found = []
        cdef int64_t position = 0
        while True:
            try:
                position = os.lseek(self.fd, position, os.SEEK_DATA)
            except OSError:                    # ENXIO: no data behind here
                return found
            end = os.lseek(self.fd, position, os.SEEK_HOLE)
            found.append((position // 8, end // 8))
            position = end

    def clear_column(self, int column):
        """Frees what a dead worker held."""
        cdef uint64_t at, end
        cdef int64_t held
        cdef int64_t* total
        if not 0 <= column < self.columns:
            raise ValueError("no such column")
        for first, last in self.extents():
            at = first
            end = last
            at += (<uint64_t>column + 1 + <uint64_t>self.cells - at % self.cells) % self.cells
            while at < end:
                held = self.mem[at]
                if held != 0:
                    self.mem[at] = 0
                    total = self.mem + (at - at % self.cells)
                    if total[0] & USED:
                        __atomic_add_fetch(total, -held * ONE, __ATOMIC_SEQ_CST)
                at += self.cells

    def clear_rows(self, uint64_t row, uint64_t rows):
        """Zeroes rows before they are allotted again."""
        cdef uint64_t at
        if row + rows > ROWS:
            raise ValueError("no such rows")
        for at in range(row * self.cells, (row + rows) * self.cells):
            if self.mem[at] != 0:
                self.mem[at] = 0

    def pages(self):
        """The numbers of the memfd's pages that hold anything; see `counted`."""
        cdef set found = set()
        for first, last in self.extents():
            found.update(range(first * 8 // PAGE, (last * 8 + PAGE - 1) // PAGE))
        return found

    def counted(self, uint64_t row, uint64_t rows, set pages not None):
        """What is counted in these rows: None per row in which nobody ever counted, looking only at those `pages`."""
        cdef list found = []
        cdef uint64_t at
        cdef int64_t total
        if row + rows > ROWS:
            raise ValueError("no such rows")
        for at in range(row * self.cells, (row + rows) * self.cells, self.cells):
            if at * 8 // PAGE in pages:
                total = __atomic_load_n(self.mem + at, __ATOMIC_SEQ_CST)
                found.append(total >> 1 if total & USED else None)
            else:
                found.append(None)
        return found


cdef class Resource:
    """One limited resource (Envoy: `ResourceLimit`), counted over all workers."""

    def __init__(self, LimitTable table not None, uint64_t row, int64_t maximum):
        if row >= ROWS:
            raise ValueError("no such row")
        self.table = table
        self.total = table.mem + row * <uint64_t>table.cells
        self.mine = self.total + 1 + table.column
        self.max = maximum

    @property
    def count(self):
        """How many there are, over all workers."""
        return __atomic_load_n(self.total, __ATOMIC_SEQ_CST) >> 1

    @property
    def own(self):
        """How many this worker holds."""
        return self.mine[0]

    cpdef bint can_create(self) noexcept:
        """Whether one more stays within the limit; `try_acquire` says so and takes it."""
        return __atomic_load_n(self.total, __ATOMIC_SEQ_CST) >> 1 < self.max

    cpdef bint try_acquire(self) noexcept:
        """Count one more if that stays within the limit, whatever other workers do at this moment."""
        cdef int64_t total = __atomic_load_n(self.total, __ATOMIC_SEQ_CST)
        self.mine[0] += 1
        while total >> 1 < self.max:
            if __atomic_compare_exchange_n(self.total, &total, (total + ONE) | USED, False,
                                           __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST):
                return True
        self.mine[0] -= 1
        return False

    cpdef void inc(self) noexcept:
        """Count one more whatever the limit."""
        cdef int64_t total = __atomic_load_n(self.total, __ATOMIC_SEQ_CST)
        self.mine[0] += 1
        while not __atomic_compare_exchange_n(self.total, &total, (total + ONE) | USED, False,
                                              __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST):
            pass

    def touch(self):
        """As if something had been counted: the gauges show from now on."""
        __atomic_or_fetch(self.total, USED, __ATOMIC_SEQ_CST)

    cpdef void dec(self) noexcept:
        """Count one less; nothing where the row was cleared meanwhile."""
        if self.mine[0] > 0:
            __atomic_add_fetch(self.total, -ONE, __ATOMIC_SEQ_CST)
            self.mine[0] -= 1


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
        self.own = table.mem + own_row * table.cells + 1 if own_row >= 0 else NULL
        self.all = table.mem + all_row * table.cells + 1 if all_row >= 0 else NULL
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
