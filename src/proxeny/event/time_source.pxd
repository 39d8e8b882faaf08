"""Types of event.time_source."""

from proxeny.kernel.timer cimport SystemClock


cdef class TimeSource(SystemClock):
    cdef bytes _date
    cdef public long long _date_second

    cpdef bytes http_date(self)


cdef class RealTimeSource(TimeSource):
    pass


cdef class SimulatedTimeSource(TimeSource):
    cdef public long long _monotonic_ns
    cdef public double _system_time
