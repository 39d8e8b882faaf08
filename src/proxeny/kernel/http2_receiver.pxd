"""Map of what HTTP/2 sessions receive: what compiled codecs override."""
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from proxeny.kernel.buffer cimport Buffer, Slab
from proxeny.kernel.epoll cimport Watcher
from proxeny.kernel.headers cimport HeaderMap
from proxeny.kernel.http2_flood cimport FloodGuard
from proxeny.kernel.http2_lib cimport nghttp2_frame, nghttp2_session
from proxeny.kernel.http2_options cimport Http2Options
from proxeny.kernel.http2_stream cimport Http2Stream
from proxeny.kernel.stats cimport Block
from proxeny.kernel.stream cimport Stream


cdef enum Stat:
    # Slots of proxeny.http.http2.stats.HTTP2, in its order.
    COOKIES_TOTAL_BYTES_TOO_LARGE = 0
    DROPPED_HEADERS_WITH_UNDERSCORES
    GOAWAY_SENT
    HEADER_LIST_SIZE_TOO_LARGE
    HEADER_OVERFLOW
    HEADERS_CB_NO_STREAM
    INBOUND_EMPTY_FRAMES_FLOOD
    INBOUND_PRIORITY_FRAMES_FLOOD
    INBOUND_WINDOW_UPDATE_FRAMES_FLOOD
    KEEPALIVE_TIMEOUT
    METADATA_EMPTY_FRAMES
    NGHTTP2_DOWNSTREAM_CONNECTIONS
    NGHTTP2_UPSTREAM_CONNECTIONS
    OGHTTP2_DOWNSTREAM_CONNECTIONS
    OGHTTP2_UPSTREAM_CONNECTIONS
    OUTBOUND_CONTROL_FLOOD
    OUTBOUND_FLOOD
    REQUESTS_REJECTED_WITH_UNDERSCORES_IN_HEADERS
    RX_MESSAGING_ERROR
    RX_RESET
    STREAM_REFUSED_ERRORS
    TRAILERS
    TX_FLUSH_TIMEOUT
    TX_RESET
    STREAMS_ACTIVE
    PENDING_SEND_BYTES
    DEFERRED_STREAM_CLOSE
    OUTBOUND_FRAMES_ACTIVE
    OUTBOUND_CONTROL_FRAMES_ACTIVE
    COOKIE_COUNT
    COOKIE_SIZE
    HEADER_COUNT
    HEADER_LIST_SIZE


cdef class Http2Receiver(Watcher):
    cdef nghttp2_session* session
    cdef readonly Stream connection
    cdef readonly Http2Options options
    cdef public Block stats
    cdef readonly bint client
    cdef public bint stopped                # nothing more is received or sent
    cdef readonly Py_ssize_t active         # streams that are open
    cdef readonly object failure            # why the last receive() or flush() gave up; None when all is well
    cdef readonly bint flooded              # the failure is a flood
    cdef readonly int depth
    cdef public bint watches_frames         # frame_received() is called
    cdef bint goaway_raised
    cdef Buffer out, body
    cdef Slab* slab
    cdef FloodGuard guard
    cdef int64_t frames_told, control_frames_told   # of the frames that wait for the socket
    cdef object raised
    cdef Py_ssize_t ends                    # streams whose end was handed over and was not sent yet
    cdef list resets
    cdef list kept                          # streams that were abandoned in a callback, until the call ends
    cdef PyObject* first                    # streams, the latest first
    cdef PyObject* current                  # the stream whose header block is being received

    # What codecs override. Frames may be submitted from inside; they leave when the call into the session ends.
    cpdef begin_stream(self, Http2Stream stream)
    cpdef headers_received(self, Http2Stream stream, HeaderMap headers, bint end_stream)
    cpdef data_received(self, Http2Stream stream, Buffer data, bint end_stream)
    cpdef trailers_received(self, Http2Stream stream, HeaderMap trailers)
    cpdef stream_closed(self, Http2Stream stream, uint32_t error_code)
    cpdef end_stream_sent(self, Http2Stream stream)
    cpdef end_stream_blocked(self, Http2Stream stream)
    cpdef stream_above(self, Http2Stream stream)
    cpdef stream_below(self, Http2Stream stream)
    cpdef frame_received(self)
    cpdef settings_received(self, dict settings)
    cpdef ping_answered(self)
    cpdef goaway_received(self, int32_t last_stream_id, uint32_t error_code)
    cpdef violated(self)

    cpdef receive(self, Buffer data)

    cdef int drop(self, Http2Stream stream) except -1
    cdef int note_frames(self) except -1
    cdef int fail(self, object message, bint flood) noexcept
    cdef int count(self, int slot, int64_t n) noexcept
    cdef int link(self, Http2Stream stream) except -1
    cdef int unlink(self, Http2Stream stream) except -1
    cdef int check_open(self) noexcept
    cdef int raised_error(self, object error) noexcept
    cdef int hand_over(self) except -1
    cdef int header_received(self, Http2Stream stream, const char* name, size_t name_len, const char* value,
                             size_t value_len) except? -902
    cdef int begin_headers(self, const nghttp2_frame* frame) except? -902
    cdef int chunk_received(self, int32_t stream_id, const char* data, size_t n) except? -902
    cdef int whole_frame(self, const nghttp2_frame* frame) except? -902
    cdef int bad_field(self, Http2Stream stream) except? -902
    cdef int headers_complete(self, Http2Stream stream, const nghttp2_frame* frame) except? -902
    cdef int track(self, int32_t stream_id, size_t length, int type, int flags, size_t padding) except? -902
    cdef int invalid_frame(self, const nghttp2_frame* frame, int error) except? -902
    cdef int not_sent(self, const nghttp2_frame* frame) except? -902
    cdef int forget(self, Http2Stream stream, int32_t stream_id, uint32_t error_code) except? -902
    cdef int closed(self, int32_t stream_id, uint32_t error_code) except? -902
