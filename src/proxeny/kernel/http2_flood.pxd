"""Map of the limits that keep a peer from flooding an HTTP/2 connection."""
from libc.stdint cimport uint8_t, uint64_t


cdef enum Flood:
    NO_FLOOD = 0
    EMPTY_FRAMES
    PRIORITY_FRAMES
    WINDOW_UPDATES
    OUTBOUND
    OUTBOUND_CONTROL


cdef class FloodGuard:
    cdef readonly uint64_t outbound, outbound_control
    cdef uint64_t streams, empty_frames, priority_frames, window_updates, data_frames_sent
    cdef bint reported
    cdef uint64_t* ring             # where in the stream of bytes each frame ends, twice; odd: a control frame
    cdef size_t room, start, length
    cdef uint64_t written

    cdef void opened(self) noexcept
    cdef int frame_in(self, size_t length, int type, int flags, size_t padding, uint64_t max_empty,
                      uint64_t max_priority, uint64_t max_updates) noexcept
    cdef int frame_out(self, const uint8_t* frame, size_t n, size_t payload) except -1
    cdef int check_out(self, uint64_t most, uint64_t most_control) noexcept
    cdef void drained(self, uint64_t left) noexcept
