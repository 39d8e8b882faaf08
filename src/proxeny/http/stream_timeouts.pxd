"""Types of http.stream_timeouts."""

from proxeny.http.downstream_filter_manager cimport DownstreamFilterManager


cdef class StreamTimeouts(DownstreamFilterManager):
    cdef _close_timers(self)
