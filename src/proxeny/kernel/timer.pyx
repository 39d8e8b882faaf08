"""Timers on a hierarchical wheel: 1 ms ticks, constant cost to enable, disable and re-enable.

Six levels of 64 slots. A timer sits at the level of the highest 6-bit digit in which its deadline differs from the
wheel's position, in the slot of that digit; when the wheel reaches a slot of a higher level, its timers move down. A
bitmap per level finds the next slot without walking empty ones. Deadlines beyond the wheel (two years) wait
in its last slot and move down from there.

Timers are linked through pointers that hold no reference: a timer that nobody holds any more is disabled, as in Envoy.
"""
cimport cython
from libc.stdint cimport int64_t, uint64_t
from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, timespec

cdef extern from *:
    int ctzll "__builtin_ctzll" (unsigned long long) nogil
    int clzll "__builtin_clzll" (unsigned long long) nogil

# One slot of the top level less than the whole: a deadline never falls into the slot that the wheel is in.
cdef int64_t SPAN = (<int64_t> (SLOTS - 1)) << (6 * (LEVELS - 1))


cdef class SystemClock:
    """The machine's two clocks."""

    cpdef long long monotonic_ns(self):
        """Nanoseconds that never go back."""
        cdef timespec now
        clock_gettime(CLOCK_MONOTONIC, &now)
        return <long long> now.tv_sec * 1000000000 + now.tv_nsec

    cpdef double system_time(self):
        """Seconds since the epoch."""
        cdef timespec now
        clock_gettime(CLOCK_REALTIME, &now)
        return <double> now.tv_sec + now.tv_nsec / 1e9


cdef class TimerTarget:
    """What has timers of its own, told apart by number: no bound method is made for each (TimerWheel.create_for)."""

    cpdef on_timer(self, int which):
        """The timer of that number fired."""
        raise NotImplementedError


@cython.freelist(256)
@cython.final
cdef class Timer:
    """Calls its callback, without arguments, once per enable(); made by TimerWheel.create()."""

    def __cinit__(self):
        self.level = -1
        self.before = self.after = NULL

    def __dealloc__(self):
        if self.level >= 0:
            self.wheel.unlink(self)

    @property
    def enabled(self):
        return self.level >= 0

    @property
    def deadline_ms(self):
        """When it fires, on the wheel's clock; -1 while disabled."""
        return self.when if self.level >= 0 else -1

    cdef int c_enable(self, int64_t ms) except -1:
        cdef TimerWheel wheel = self.wheel
        if self.level >= 0:
            wheel.unlink(self)
        self.when = wheel.now_ms + (ms if ms > 0 else 0)
        if self.when <= wheel.elapsed:
            self.when = wheel.elapsed + 1
        wheel.link(self)
        return 0

    cdef void c_disable(self) noexcept:
        if self.level >= 0:
            self.wheel.unlink(self)

    cpdef enable(self, int64_t ms):
        """Fire in `ms` milliseconds from the current turn's time; replaces an earlier deadline. 0 = next turn."""
        if self.callback is None:
            raise RuntimeError("the timer was closed")
        self.c_enable(ms)

    cpdef disable(self):
        """Do not fire."""
        self.c_disable()

    cpdef close(self):
        """Disable for good and let the callback go, which breaks a cycle between the timer and its owner."""
        self.c_disable()
        self.callback = None

    def __repr__(self):
        state = f"in {self.when - self.wheel.now_ms} ms" if self.level >= 0 else "disabled"
        return f"<Timer {state} {self.callback!r}>"


@cython.final
cdef class TimerWheel:
    """All timers of one dispatcher. `now_ms` is the time of the current turn; a simulated wheel reads no clock."""

    def __cinit__(self, now_ms=None, bint simulated=False):
        self.simulated = simulated
        if now_ms is None:
            self.read_clock()
        else:
            self.now_ms = now_ms
        self.elapsed = self.now_ms

    cdef void read_clock(self) noexcept:
        """Take the current time, unless it is simulated. It never goes back."""
        cdef timespec spec
        if self.simulated:
            return
        clock_gettime(CLOCK_MONOTONIC, &spec)
        self.now_ms = <int64_t> spec.tv_sec * 1000 + spec.tv_nsec // 1000000

    cpdef create(self, callback):
        """A disabled timer."""
        cdef Timer timer = Timer.__new__(Timer)
        timer.wheel = self
        timer.callback = callback
        timer.which = -1
        return timer

    cpdef create_for(self, TimerTarget target, int which):
        """A disabled timer that calls `target.on_timer(which)`."""
        cdef Timer timer = Timer.__new__(Timer)
        timer.wheel = self
        timer.callback = target
        timer.which = which
        return timer

    cdef void link(self, Timer timer) noexcept:
        cdef uint64_t differing
        cdef int64_t when = timer.when
        cdef int level, slot
        cdef void* head
        if when - self.elapsed >= SPAN:
            when = self.elapsed + SPAN - 1
        differing = (<uint64_t> when ^ <uint64_t> self.elapsed) | (SLOTS - 1)
        level = (63 - clzll(differing)) // 6
        if level >= LEVELS:
            level = LEVELS - 1
        slot = <int> ((when >> (6 * level)) & (SLOTS - 1))
        head = self.heads[level][slot]
        timer.level = level
        timer.slot = slot
        timer.before = NULL
        timer.after = head
        if head != NULL:
            (<Timer> head).before = <void*> timer
        self.heads[level][slot] = <void*> timer
        self.occupied[level] |= (<uint64_t> 1) << slot
        self.armed += 1

    cdef void unlink(self, Timer timer) noexcept:
        if timer.before != NULL:
            (<Timer> timer.before).after = timer.after
        else:
            self.heads[timer.level][timer.slot] = timer.after
            if timer.after == NULL:
                self.occupied[timer.level] &= ~((<uint64_t> 1) << timer.slot)
        if timer.after != NULL:
            (<Timer> timer.after).before = timer.before
        timer.before = timer.after = NULL
        timer.level = -1
        self.armed -= 1

    cdef int64_t next_slot(self, int* level, int* slot) noexcept:
        """When the next occupied slot begins, and which it is; -1 when all are empty."""
        cdef int at, here, distance
        cdef uint64_t bits
        cdef int64_t start
        for at in range(LEVELS):
            bits = self.occupied[at]
            if bits == 0:
                continue
            here = <int> ((self.elapsed >> (6 * at)) & (SLOTS - 1))
            # Rotate so that bit 0 is the current slot: the first set bit is the nearest slot ahead.
            if here:
                bits = (bits >> here) | (bits << (SLOTS - here))
            distance = ctzll(bits)
            start = ((self.elapsed >> (6 * at)) + distance) << (6 * at)
            level[0] = at
            slot[0] = (here + distance) & (SLOTS - 1)
            return start if start > self.elapsed else self.elapsed
        return -1

    cdef int64_t c_next_deadline(self) noexcept:
        cdef int level, slot
        return self.next_slot(&level, &slot)

    def next_deadline_ms(self):
        """When advance() next has something to do, on the wheel's clock; -1 when no timer is enabled.

        Never later than the next timer; it may be earlier, when timers have to move down a level.
        """
        return self.c_next_deadline()

    cdef int c_advance(self) except -1:
        cdef int64_t target = self.now_ms
        cdef int64_t start
        cdef int level = 0, slot = 0
        cdef void* first
        cdef Timer timer
        cdef int fired = 0
        while True:
            start = self.next_slot(&level, &slot)
            if start < 0 or start > target:
                break
            self.elapsed = start
            first = self.heads[level][slot]
            if level > 0:
                while first != NULL:
                    timer = <Timer> first
                    self.unlink(timer)
                    self.link(timer)
                    first = self.heads[level][slot]
                continue
            timer = <Timer> first
            self.unlink(timer)
            fired += 1
            self.fire(timer)
        if target > self.elapsed:
            self.elapsed = target
        return fired

    cdef int fire(self, Timer timer) except -1:
        cdef TimerTarget target  # held while it runs: it may close its timer
        try:
            if timer.which < 0:
                timer.callback()
            else:
                target = <TimerTarget> timer.callback
                target.on_timer(timer.which)
        except Exception as error:
            if self.error_hook is None:
                raise
            self.error_hook(timer, error)
        return 0

    def advance(self, now_ms=None):
        """Set the time and fire what is due, in order of deadline (1 ms ticks); returns how many fired."""
        if now_ms is None:
            self.read_clock()
        elif now_ms > self.now_ms:
            self.now_ms = now_ms
        return self.c_advance()

    def statistics(self):
        """Counts for admin pages."""
        return {"armed": self.armed, "now_ms": self.now_ms}
