"""Exact balance of connections over workers (Envoy: `ExactConnectionBalancerImpl`): decided one at a time.

One memfd: a header with a heartbeat and an epoch per worker, then a row per exactly balanced listener. A row has a
robust process-shared mutex and, per worker, whether it serves the listener, how many connections it was assigned
(written under the mutex by whoever assigns) and how many of these ended (written by the worker alone). Each worker's
part stands in a cache line of its own. A worker that dies with the mutex leaves the row usable (EOWNERDEAD).
"""
from libc.stdint cimport int64_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

import os

cdef extern from "<sys/mman.h>" nogil:
    void* mmap(void* addr, size_t length, int prot, int flags, int fd, long offset)
    int munmap(void* addr, size_t length)
    const int PROT_READ, PROT_WRITE, MAP_SHARED, MAP_NORESERVE
    void* MAP_FAILED

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_mutexattr_t:
        pass
    int pthread_mutexattr_init(pthread_mutexattr_t* attributes)
    int pthread_mutexattr_setpshared(pthread_mutexattr_t* attributes, int shared)
    int pthread_mutexattr_setrobust(pthread_mutexattr_t* attributes, int robust)
    int pthread_mutex_init(pthread_mutex_t* mutex, const pthread_mutexattr_t* attributes)
    int pthread_mutex_lock(pthread_mutex_t* mutex)
    int pthread_mutex_unlock(pthread_mutex_t* mutex)
    int pthread_mutex_consistent(pthread_mutex_t* mutex)
    int PTHREAD_PROCESS_SHARED, PTHREAD_MUTEX_ROBUST

cdef extern from "<errno.h>" nogil:
    int EOWNERDEAD

cdef enum:
    ROWS = 16384            # listeners with exact balance at one time; the memfd is sparse
    LINE = 64               # a cache line; the mutex (40 bytes) has one too

cdef struct Share:
    int64_t serving
    int64_t assigned
    int64_t ended
    int64_t[5] unused

cdef struct Pulse:
    int64_t beat_ns
    int64_t epoch
    int64_t[6] unused

cdef int64_t STALE_NS = 2000000000      # a worker without a heartbeat for so long gets no connections of others


cdef int64_t now_ns() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t> now.tv_sec * 1000000000 + now.tv_nsec


cdef class BalanceTable:
    """The table as one process sees it; `me` is the worker whose counts it writes (-1 in main)."""

    cdef char* mem
    cdef size_t size, row_size
    cdef readonly int fd, workers, me
    cdef list free_rows
    cdef int next_row

    def __cinit__(self, int fd, int workers, int me):
        if workers < 1 or not -1 <= me < workers:
            raise ValueError("a balance table needs at least one worker, and its own among them")
        self.mem = NULL
        self.row_size = <size_t> (LINE * (1 + workers))
        self.size = <size_t> (LINE * workers) + self.row_size * ROWS
        cdef void* address = mmap(NULL, self.size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0)
        if address == MAP_FAILED:
            raise OSError("cannot map the balance table")
        self.mem = <char*> address
        self.fd = fd
        self.workers = workers
        self.me = me
        self.free_rows = []

    def __dealloc__(self):
        if self.mem != NULL:
            munmap(self.mem, self.size)

    @staticmethod
    def create(int workers):
        """Main's table, in a new (sparse) memfd; the descriptor stays open for handing it to the workers."""
        fd = os.memfd_create("proxeny-balance", os.MFD_CLOEXEC)
        os.ftruncate(fd, LINE * workers + LINE * (1 + workers) * ROWS)
        return BalanceTable(fd, workers, -1)

    cdef Pulse* pulse(self, int worker) noexcept:
        return <Pulse*> (self.mem + worker * LINE)

    cdef Share* lock(self, int row) except NULL:
        """Lock a row; its workers' shares."""
        cdef char* at
        cdef pthread_mutex_t* mutex
        cdef int error
        if not 0 <= row < ROWS:
            raise ValueError("no such row")
        at = self.mem + self.workers * LINE + <size_t> row * self.row_size
        mutex = <pthread_mutex_t*> at
        error = pthread_mutex_lock(mutex)
        if error == EOWNERDEAD:
            # Every write under the lock is a single aligned store: what the dead worker left is consistent.
            pthread_mutex_consistent(mutex)
        elif error:
            raise OSError(error, "pthread_mutex_lock")
        return <Share*> (at + LINE)

    cdef void unlock(self, int row) noexcept:
        pthread_mutex_unlock(<pthread_mutex_t*> (self.mem + self.workers * LINE + <size_t> row * self.row_size))

    # In main

    def allot_row(self):
        """A row for a listener, all zero; raises OSError when there is none left."""
        cdef int row
        cdef pthread_mutexattr_t attributes
        if self.free_rows:
            row = self.free_rows.pop()
        elif self.next_row < ROWS:
            row = self.next_row
            self.next_row += 1
            pthread_mutexattr_init(&attributes)
            pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED)
            pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST)
            pthread_mutex_init(
                <pthread_mutex_t*> (self.mem + self.workers * LINE + <size_t> row * self.row_size), &attributes
            )
        else:
            raise OSError("no row is left in the balance table")
        return row

    def free_row(self, int row):
        """Take a row back, once no worker uses it."""
        cdef Share* shares = self.lock(row)
        cdef int worker
        for worker in range(self.workers):
            shares[worker].serving = 0
            shares[worker].assigned = 0
            shares[worker].ended = 0
        self.unlock(row)
        self.free_rows.append(row)

    def worker_died(self, int worker):
        """Assign nothing more to a dead worker, and forget what it had; what was on its way to it is counted anew by
        its successor, which tells it by the epoch."""
        cdef Share* shares
        cdef int row
        self.pulse(worker).beat_ns = 0
        for row in range(self.next_row):
            shares = self.lock(row)
            shares[worker].serving = 0
            shares[worker].assigned = 0
            shares[worker].ended = 0
            self.unlock(row)

    # In a worker

    def begin(self, int64_t epoch):
        """This worker, in its incarnation `epoch`, is there."""
        self.pulse(self.me).epoch = epoch
        self.beat()

    def beat(self):
        """This worker's loop turns."""
        self.pulse(self.me).beat_ns = now_ns()

    def serve(self, int row, bint serving):
        """Whether this worker takes connections of the row's listener."""
        self.lock(row)[self.me].serving = serving
        self.unlock(row)

    def assign(self, int row):
        """Assign a connection to the serving worker that has the fewest, this one if it is among them.

        Returns (worker, its epoch). A worker whose heart does not beat is passed over; without any other it is this.
        """
        cdef Share* shares
        cdef int worker
        cdef int chosen = self.me
        cdef int64_t least, count
        cdef int64_t fresh = now_ns() - STALE_NS
        shares = self.lock(row)
        least = shares[chosen].assigned - shares[chosen].ended
        for worker in range(self.workers):
            if shares[worker].serving and worker != self.me and self.pulse(worker).beat_ns > fresh:
                count = shares[worker].assigned - shares[worker].ended
                if count < least:
                    least = count
                    chosen = worker
        shares[chosen].assigned += 1
        self.unlock(row)
        return chosen, self.pulse(chosen).epoch

    def keep(self, int row, int worker):
        """The connection assigned to `worker` could not be handed over: it is this one's after all."""
        cdef Share* shares = self.lock(row)
        shares[worker].assigned -= 1
        shares[self.me].assigned += 1
        self.unlock(row)

    def take(self, int row):
        """Count a connection that was assigned to a predecessor of this worker, or to nobody."""
        self.lock(row)[self.me].assigned += 1
        self.unlock(row)

    def end(self, int row):
        """One of this worker's connections ended."""
        cdef Share* shares = <Share*> (self.mem + self.workers * LINE + <size_t> row * self.row_size + LINE)
        shares[self.me].ended += 1

    def counts(self, int row):
        """Connections by worker."""
        cdef Share* shares = self.lock(row)
        cdef list out = [shares[worker].assigned - shares[worker].ended for worker in range(self.workers)]
        self.unlock(row)
        return out
