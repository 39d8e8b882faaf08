"""Poller: epoll, one batch per turn, handlers called from here.

The rules (each has a test):
 - no Python object is made per event: epoll carries the watcher's address, and the poller holds a reference to a
   registered watcher, given back only after the batch, so an address in the batch is always alive;
 - an event of a watcher that was removed, or added, during the batch is stale and is skipped;
 - a descriptor is closed after the batch, so that its number cannot be reused while events of the old one are pending;
 - an exception of a handler reaches that watcher only;
 - streams with unsent data are on the dirty list and are flushed when the current handler has returned;
 - what may wait for other events of the batch (HTTP/2 sessions, whose frames then leave together) is on the late list;
 - a watcher that stopped early to be fair is on the ready list: it is handled in the next turn, which does not block.
"""
from cpython.exc cimport PyErr_CheckSignals
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.errno cimport EINTR, errno
from libc.stdlib cimport free, malloc, realloc
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from posix.unistd cimport close

cdef extern from "sys/epoll.h" nogil:
    ctypedef union epoll_data_t:
        void* ptr
    cdef struct epoll_event:
        unsigned int events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int epfd, int op, int fd, epoll_event* event)
    int epoll_wait(int epfd, epoll_event* events, int maxevents, int timeout)
    enum:
        EPOLL_CLOEXEC
        EPOLL_CTL_ADD
        EPOLL_CTL_DEL
        EPOLL_CTL_MOD
        _EPOLLIN "EPOLLIN"
        _EPOLLOUT "EPOLLOUT"
        _EPOLLERR "EPOLLERR"
        _EPOLLHUP "EPOLLHUP"
        _EPOLLRDHUP "EPOLLRDHUP"
    unsigned int _EPOLLET "((unsigned int) EPOLLET)"

EPOLLIN = _EPOLLIN
EPOLLOUT = _EPOLLOUT
EPOLLERR = _EPOLLERR
EPOLLHUP = _EPOLLHUP
EPOLLRDHUP = _EPOLLRDHUP
EPOLLET = _EPOLLET

cdef enum:
    BATCH = 256     # events per epoll_wait
    LONGEST_MS = 3600000    # of a wait


cdef long long monotonic_us() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <long long> now.tv_sec * 1000000 + now.tv_nsec // 1000


cdef class Watcher:
    """Something with a descriptor that wants its events; the base of everything that is registered."""

    def __cinit__(self, *args, **kwargs):
        self.fd = -1

    cdef int handle(self, int mask) except -1:
        """An event; kernel classes override this, Python classes on_event()."""
        self.on_event(mask)
        return 0

    cdef int handle_ready(self) except -1:
        """Its turn on the ready list."""
        return self.handle(_EPOLLIN)

    cdef int flush_dirty(self) except -1:
        """Send what is buffered."""
        return 0

    cdef int flush_late(self) except -1:
        """Its turn on the late list."""
        return 0

    def on_event(self, int mask):
        """An event of the mask (EPOLLIN, ...) it was added with, or EPOLLERR, EPOLLHUP."""
        raise NotImplementedError

    def on_handler_error(self, error):
        """An exception came out of this watcher's handler. The watcher is not called again by default."""
        if self.poller is not None:
            self.poller.remove(self)


cdef class Alarm(Watcher):
    """Remembers that its descriptor had an event, until somebody clears `fired`."""

    cdef public bint fired

    cdef int handle(self, int mask) except -1:
        self.fired = True
        return 0


cdef class Poller:
    """One epoll instance. `error_hook(watcher, exception)` hears of every exception of a handler."""

    def __cinit__(self, TimerWheel wheel=None):
        self.closing = NULL
        self.fd = -1
        self.events = malloc(BATCH * sizeof(epoll_event))
        if self.events == NULL:
            raise MemoryError()
        self.wheel = TimerWheel() if wheel is None else wheel
        self.ready = []
        self.dirty = []
        self.late = []
        self.removed = []
        self.batch = 1
        self.fd = epoll_create1(EPOLL_CLOEXEC)
        if self.fd < 0:
            raise OSError(errno, "epoll_create1")

    def __dealloc__(self):
        if self.fd >= 0:
            close(self.fd)
        free(self.events)
        free(self.closing)

    def close(self):
        """Close the epoll descriptor; nothing may be added afterwards."""
        if self.fd >= 0:
            close(self.fd)
            self.fd = -1

    # Registration

    cdef int c_add(self, Watcher watcher, int fd, unsigned int mask) except -1:
        cdef epoll_event event
        if watcher.poller is not None:
            raise ValueError("the watcher is registered already")
        event.events = mask
        event.data.ptr = <void*> watcher
        if epoll_ctl(self.fd, EPOLL_CTL_ADD, fd, &event) < 0:
            raise OSError(errno, "epoll_ctl ADD")
        Py_INCREF(watcher)
        watcher.fd = fd
        watcher.poller = self
        watcher.added_in = self.batch
        return 0

    def add(self, Watcher watcher not None, int fd, unsigned int mask):
        """Watch `fd`; EPOLLET in the mask makes it edge-triggered."""
        self.c_add(watcher, fd, mask)

    cdef int c_modify(self, Watcher watcher, unsigned int mask) except -1:
        cdef epoll_event event
        if watcher.poller is not self:
            raise ValueError("the watcher is not registered here")
        event.events = mask
        event.data.ptr = <void*> watcher
        if epoll_ctl(self.fd, EPOLL_CTL_MOD, watcher.fd, &event) < 0:
            raise OSError(errno, "epoll_ctl MOD")
        return 0

    def modify(self, Watcher watcher not None, unsigned int mask):
        """Change the mask; conditions that hold already are reported anew."""
        self.c_modify(watcher, mask)

    cdef int c_remove(self, Watcher watcher) except -1:
        cdef epoll_event event
        if watcher.poller is not self:
            return 0
        epoll_ctl(self.fd, EPOLL_CTL_DEL, watcher.fd, &event)
        watcher.poller = None
        if self.in_batch:
            # The batch may hold this address: the reference goes with the batch.
            self.removed.append(watcher)
        Py_DECREF(watcher)
        return 0

    def remove(self, Watcher watcher not None):
        """Stop watching; pending events of this batch are dropped. The descriptor stays open."""
        self.c_remove(watcher)

    cdef int c_close_fd(self, int fd) except -1:
        cdef int* larger
        if not self.in_batch:
            close(fd)
            return 0
        if self.closing_count == self.closing_room:
            larger = <int*> realloc(self.closing, (self.closing_room + 64) * sizeof(int))
            if larger == NULL:
                raise MemoryError()
            self.closing = larger
            self.closing_room += 64
        self.closing[self.closing_count] = fd
        self.closing_count += 1
        return 0

    def close_fd_after_batch(self, int fd):
        """Close a descriptor that was removed, when its number can no longer be in the batch."""
        self.c_close_fd(fd)

    # Lists

    cdef int c_mark_ready(self, Watcher watcher) except -1:
        if not watcher.is_ready:
            watcher.is_ready = True
            self.ready.append(watcher)
        return 0

    def mark_ready(self, Watcher watcher not None):
        """Call its handler with EPOLLIN in the next turn, whatever epoll says."""
        self.c_mark_ready(watcher)

    cdef int c_mark_dirty(self, Watcher watcher) except -1:
        if not watcher.is_dirty:
            watcher.is_dirty = True
            self.dirty.append(watcher)
        return 0

    cdef int c_mark_late(self, Watcher watcher) except -1:
        """Call its flush_late() when all handlers of the batch have returned."""
        if not watcher.is_late:
            watcher.is_late = True
            self.late.append(watcher)
        return 0

    cpdef mark_dirty(self, Watcher watcher):
        """Flush it when the current handler has returned."""
        if watcher is None:
            raise TypeError("watcher must not be None")
        self.c_mark_dirty(watcher)

    def flush_dirty(self):
        """Flush every stream with unsent data, now."""
        self.flush_lists()

    cdef int flush_all(self) except -1:
        cdef Watcher watcher
        cdef Py_ssize_t at = 0
        cdef list dirty = self.dirty
        if not dirty:
            return 0
        # Flushing may call back into Python, which may append; nothing else removes from the list.
        while at < len(dirty):
            watcher = <Watcher> dirty[at]
            at += 1
            watcher.is_dirty = False
            try:
                watcher.flush_dirty()
            except Exception as error:
                self.failed(watcher, error)
        dirty.clear()
        return 0

    cdef int flush_lists(self) except -1:
        """Everything: those who waited for the end of the batch, and what they wrote."""
        cdef Watcher watcher
        cdef list late
        while self.late:
            late = self.late
            self.late = []
            for item in late:
                watcher = <Watcher> item
                watcher.is_late = False
                try:
                    watcher.flush_late()
                except Exception as error:
                    self.failed(watcher, error)
        return self.flush_all()

    # Its times

    def record_times(self, Block block not None, Py_ssize_t duration_slot, Py_ssize_t delay_slot):
        """Record in histograms how long each turn takes, and how much longer than asked for each wait (microseconds;
        Envoy: loop_duration_us, poll_delay_us)."""
        self.duration_slot = duration_slot
        self.delay_slot = delay_slot
        self.woke_us = 0
        self.times = block

    cdef int begin_wait(self) except -1:
        self.waits_us = monotonic_us()
        if self.woke_us:
            self.times.c_record(self.duration_slot, self.waits_us - self.woke_us)
        return 0

    cdef int end_wait(self, int timeout_ms) except -1:
        self.woke_us = monotonic_us()
        cdef long long delay = self.woke_us - self.waits_us - <long long> timeout_ms * 1000
        if timeout_ms >= 0:
            self.times.c_record(self.delay_slot, delay if delay > 0 else 0)
        return 0

    # The turn

    cdef int failed(self, Watcher watcher, object error) except -1:
        if self.error_hook is not None:
            self.error_hook(watcher, error)
        try:
            watcher.on_handler_error(error)
        except Exception as second:
            if self.error_hook is not None:
                self.error_hook(watcher, second)
            self.c_remove(watcher)
        return 0

    cdef int deliver(self, Watcher watcher, int mask) except -1:
        """Call the handler: for events, or (mask 0) for its turn on the ready list; then send what it wrote."""
        try:
            if mask:
                watcher.handle(mask)
            else:
                watcher.handle_ready()
        except Exception as error:
            self.failed(watcher, error)
        if self.dirty:
            self.flush_all()
        return 0

    cdef int run_ready(self) except -1:
        """Handle those who were on the ready list when the turn began; newcomers wait for the next turn."""
        cdef list ready = self.ready
        cdef Watcher watcher
        self.ready = []
        for item in ready:
            watcher = <Watcher> item
            watcher.is_ready = False
            if watcher.poller is self:
                self.deliver(watcher, 0)
        return 0

    cdef void end_batch(self) noexcept:
        cdef int index
        self.in_batch = False
        for index in range(self.closing_count):
            close(self.closing[index])
        self.closing_count = 0
        if self.removed:
            self.removed.clear()

    cdef int c_wait(self, int timeout_ms) except -1:
        cdef epoll_event* events = <epoll_event*> self.events
        cdef epoll_event* event
        cdef Watcher watcher
        cdef epoll_event moved
        cdef int count, front, index
        cdef bint had_ready
        cdef object fatal = None
        if self.dirty or self.late:
            self.flush_lists()
        had_ready = len(self.ready) != 0
        if had_ready:
            timeout_ms = 0
        if self.times is not None:
            self.begin_wait()
        if timeout_ms == 0:
            count = epoll_wait(self.fd, events, BATCH, 0)
        else:
            with nogil:
                count = epoll_wait(self.fd, events, BATCH, timeout_ms)
        if count < 0:
            if errno != EINTR:
                raise OSError(errno, "epoll_wait")
            PyErr_CheckSignals()
            count = 0
        if self.times is not None:
            self.end_wait(timeout_ms)
        self.turns += 1
        self.events_total += <unsigned long long> count
        self.wheel.read_clock()
        self.batch += 1
        self.in_batch = True
        # Hang-ups first: no request of this batch shall go out on a connection that its peer has closed.
        front = 0
        for index in range(count):
            if events[index].events & (_EPOLLRDHUP | _EPOLLHUP | _EPOLLERR):
                if index != front:
                    moved = events[front]
                    events[front] = events[index]
                    events[index] = moved
                front += 1
        for index in range(count):
            event = &events[index]
            watcher = <Watcher> event.data.ptr
            if watcher.poller is not self or watcher.added_in == self.batch:
                continue
            try:
                self.deliver(watcher, <int> event.events)
            except BaseException as error:
                # KeyboardInterrupt and its like end the loop, but no edge of this batch may be lost.
                fatal = error
        if had_ready:
            try:
                self.run_ready()
            except BaseException as error:
                fatal = error
        if self.late:
            try:
                self.flush_lists()
            except BaseException as error:
                fatal = error
        self.end_batch()
        if fatal is not None:
            raise fatal
        return count

    def wait(self, int timeout_ms):
        """One batch: block up to `timeout_ms` (-1: for ever), handle what came; returns the number of events."""
        return self.c_wait(timeout_ms)

    def run_turn(self, int timeout_ms):
        """wait() no longer than until the next timer, then fire what is due and send what the timers wrote."""
        return one_turn(self, timeout_ms)

    def run_turns(self, double timeout_s, Alarm alarm not None, loop):
        """Turns for up to `timeout_s` seconds (below 0: for ever), until asyncio has something to do.

        That is: `alarm` fired, or the asyncio loop `loop` has a callback ready, was given a timer, or is to stop.
        Around each turn `loop.run_deferred()` is called while `loop.deferred` holds something.
        """
        cdef TimerWheel wheel = self.wheel
        cdef list deferred = loop.deferred
        cdef list scheduled = loop._scheduled
        cdef object ready = loop._ready
        cdef Py_ssize_t timers = len(scheduled)
        cdef long long ends = -1
        cdef int wait = -1
        if timeout_s >= 0:
            # Rounded up: a wait that ends early would spin until asyncio's own clock gets there.
            wheel.read_clock()
            ends = wheel.now_ms + <long long> (min(timeout_s * 1000, <double> LONGEST_MS) + 0.999)
            wait = <int> (ends - wheel.now_ms)
        while True:
            if self.dirty or self.late:
                self.flush_lists()
            if deferred:
                loop.run_deferred()
            one_turn(self, wait)
            if deferred:
                loop.run_deferred()
            if alarm.fired or ready or len(scheduled) != timers or loop._stopping:
                return
            if ends >= 0:
                if wheel.now_ms >= ends:
                    return
                wait = <int> (ends - wheel.now_ms)

    def statistics(self):
        """Counts for admin pages."""
        return {"turns": self.turns, "events": self.events_total, "ready": len(self.ready), "dirty": len(self.dirty)}


cdef int one_turn(Poller poller, int timeout_ms) except -1:
    """A batch that waits no longer than until the next timer, then the timers; the number of events."""
    cdef TimerWheel wheel = poller.wheel
    cdef long long left
    cdef int count
    if timeout_ms != 0:
        wheel.read_clock()
        left = wheel.c_next_deadline()
        if left >= 0 and not wheel.simulated:
            left -= wheel.now_ms
            left = min(max(left, 0), LONGEST_MS)
            if timeout_ms < 0 or left < timeout_ms:
                timeout_ms = <int> left
    count = poller.c_wait(timeout_ms)
    wheel.c_advance()
    if poller.dirty or poller.late:
        poller.flush_lists()
    return count


def run_deferred(list deferred not None, failed):
    """Call what the list holds, in order, and what these calls add; `failed(callback, exception)` is told."""
    cdef list batch
    while deferred:
        batch = deferred[:]
        deferred.clear()
        for callback in batch:
            try:
                callback()
            except Exception as error:
                failed(callback, error)
