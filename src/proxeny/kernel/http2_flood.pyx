"""FloodGuard: counts of frames in both directions, and the limits on them (Envoy: `Http2::ProtocolConstraints`).

Frames that were sent count until the socket has taken them. A ring holds where in the stream of bytes each ends; it is
empty while the peer reads.
"""
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from proxeny.kernel.http2_lib cimport (
    NGHTTP2_CONTINUATION,
    NGHTTP2_DATA,
    NGHTTP2_FLAG_ACK,
    NGHTTP2_FLAG_END_STREAM,
    NGHTTP2_HEADERS,
    NGHTTP2_PING,
    NGHTTP2_PRIORITY,
    NGHTTP2_RST_STREAM,
    NGHTTP2_SETTINGS,
    NGHTTP2_WINDOW_UPDATE,
)


cdef class FloodGuard:
    """The counts of one connection. After the first flood nothing is reported again."""

    def __dealloc__(self):
        free(self.ring)

    cdef void opened(self) noexcept:
        """A stream was opened, by either side."""
        self.streams += 1

    cdef int frame_in(self, size_t length, int type, int flags, size_t padding, uint64_t max_empty,
                      uint64_t max_priority, uint64_t max_updates) noexcept:
        """A frame came in: which limit it broke."""
        if type == NGHTTP2_DATA or type == NGHTTP2_HEADERS or type == NGHTTP2_CONTINUATION:
            if length == padding and not flags & NGHTTP2_FLAG_END_STREAM:
                self.empty_frames += 1
            else:
                self.empty_frames = 0
        elif type == NGHTTP2_PRIORITY:
            self.priority_frames += 1
        elif type == NGHTTP2_WINDOW_UPDATE:
            self.window_updates += 1
        else:
            return NO_FLOOD
        if self.reported:
            return NO_FLOOD
        if self.empty_frames > max_empty:
            self.reported = True
            return EMPTY_FRAMES
        if self.priority_frames > max_priority * (1 + self.streams):
            self.reported = True
            return PRIORITY_FRAMES
        if self.window_updates > 5 + 2 * (self.streams + max_updates * self.data_frames_sent):
            self.reported = True
            return WINDOW_UPDATES
        return NO_FLOOD

    cdef int frame_out(self, const uint8_t* frame, size_t n, size_t payload) except -1:
        """A frame is written: its head is at `frame`, `n` bytes of it now and `payload` bytes behind them."""
        cdef int type = frame[3]
        cdef bint control = type == NGHTTP2_RST_STREAM or (
            (type == NGHTTP2_PING or type == NGHTTP2_SETTINGS) and frame[4] & NGHTTP2_FLAG_ACK)
        cdef uint64_t* larger
        cdef size_t first
        if type == NGHTTP2_DATA:
            self.data_frames_sent += 1
        self.outbound += 1
        if control:
            self.outbound_control += 1
        self.written += n + payload
        if self.length == self.room:
            larger = <uint64_t*> malloc((self.room * 2 + 16) * sizeof(uint64_t))
            if larger == NULL:
                raise MemoryError()
            first = self.room - self.start
            if self.room:
                memcpy(larger, self.ring + self.start, first * sizeof(uint64_t))
                memcpy(larger + first, self.ring, self.start * sizeof(uint64_t))
            free(self.ring)
            self.ring = larger
            self.start = 0
            self.room = self.room * 2 + 16
        self.ring[(self.start + self.length) % self.room] = self.written * 2 + control
        self.length += 1
        return 0

    cdef int check_out(self, uint64_t most, uint64_t most_control) noexcept:
        """Which limit the frames that wait for the socket break."""
        if self.reported:
            return NO_FLOOD
        if self.outbound > most:
            self.reported = True
            return OUTBOUND
        if self.outbound_control > most_control:
            self.reported = True
            return OUTBOUND_CONTROL
        return NO_FLOOD

    cdef void drained(self, uint64_t left) noexcept:
        """All that was written but the last `left` bytes is with the socket."""
        cdef uint64_t end
        if left == 0:
            self.length = self.start = 0
            self.outbound = self.outbound_control = 0
            return
        while self.length:
            end = self.ring[self.start]
            if (end >> 1) + left > self.written:
                return
            self.start += 1
            if self.start == self.room:
                self.start = 0
            self.length -= 1
            self.outbound -= 1
            if end & 1:
                self.outbound_control -= 1
