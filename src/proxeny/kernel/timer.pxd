"""Map of the timer wheel."""
from libc.stdint cimport int64_t, uint64_t

cdef enum:
    LEVELS = 6
    SLOTS = 64


cdef class SystemClock:
    cpdef long long monotonic_ns(self)
    cpdef double system_time(self)


cdef class TimerTarget:
    cpdef on_timer(self, int which)


cdef class Timer:
    cdef TimerWheel wheel
    cdef object callback        # or a TimerTarget, where `which` is not -1
    cdef int which
    cdef int64_t when
    cdef int level, slot        # where it is linked; level -1 when it is not
    cdef void* before
    cdef void* after

    cdef int c_enable(self, int64_t ms) except -1
    cdef void c_disable(self) noexcept

    cpdef enable(self, int64_t ms)
    cpdef disable(self)
    cpdef close(self)


cdef class TimerWheel:
    cdef readonly int64_t now_ms
    cdef readonly bint simulated
    cdef int64_t elapsed
    cdef uint64_t[LEVELS] occupied
    cdef void* heads[LEVELS][SLOTS]
    cdef readonly Py_ssize_t armed
    cdef public object error_hook

    cdef void read_clock(self) noexcept
    cdef void link(self, Timer timer) noexcept
    cdef void unlink(self, Timer timer) noexcept
    cdef int64_t next_slot(self, int* level, int* slot) noexcept
    cdef int64_t c_next_deadline(self) noexcept
    cdef int c_advance(self) except -1
    cdef int fire(self, Timer timer) except -1

    cpdef create(self, callback)
    cpdef create_for(self, TimerTarget target, int which)
