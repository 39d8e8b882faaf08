"""Types of event.time_source."""


cdef class TimeSource:
    cdef bytes _date
    cdef public long long _date_second

    cpdef long long monotonic_ns(self)
    cpdef double system_time(self)
    cpdef bytes http_date(self)


cdef class RealTimeSource(TimeSource):
    pass


cdef class SimulatedTimeSource(TimeSource):
    cdef public long long _monotonic_ns
    cdef public double _system_time
