"""Http2Receiver: what a session receives, and the books of its streams; the part of Http2Session below sending.

nghttp2's callbacks build header maps and bodies and call the methods that a codec overrides. Windows are given back as
the codec takes the bytes; those of a stream that is read-disabled are kept until it is not.
"""
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memchr, memcmp

from proxeny.kernel cimport http2_lib as ng
from proxeny.kernel.buffer cimport Buffer
from proxeny.kernel.epoll cimport Watcher
from proxeny.kernel.headers cimport HeaderEntry, HeaderMap
from proxeny.kernel.http2_flood cimport EMPTY_FRAMES, PRIORITY_FRAMES, FloodGuard
from proxeny.kernel.http2_lib cimport nghttp2_frame, ssize_t
from proxeny.kernel.http2_options cimport UNDERSCORES_ALLOWED, UNDERSCORES_DROPPED, Http2Options
from proxeny.kernel.http2_stream cimport (
    Http2Stream,
    add_crumb,
    add_field,
    add_joined,
    is_informational,
    settings_of,
)
from proxeny.kernel.stream cimport Stream

cdef enum:
    FRAME_HEAD = 9
    USERINFO = 64               # @
    COPY_BELOW = 512            # smaller pieces of a body are copied: cheaper than a slice
    PINNED_SHARE = 8            # so are those that would pin a slab more than 8 times their size


cdef class Http2Receiver(Watcher):
    """Not for use by itself: Http2Session makes the session."""

    def __cinit__(self, Stream connection not None, Http2Options options not None, *args, **kwargs):
        self.connection = connection
        self.options = options
        self.client = options.client
        self.out = Buffer()
        self.body = Buffer()
        self.guard = FloodGuard()
        self.resets = []

    def __dealloc__(self):
        cdef PyObject* item = self.first
        cdef PyObject* following
        if self.session != NULL:
            ng.nghttp2_session_del(self.session)
        while item != NULL:
            following = (<Http2Stream> item).after
            Py_DECREF(<object> item)
            item = following

    # What codecs override

    cpdef begin_stream(self, Http2Stream stream):
        """Server: a request begins; its head is still to come."""

    cpdef headers_received(self, Http2Stream stream, HeaderMap headers, bint end_stream):
        """A head is complete: a request's, a response's, or (client) an informational response's."""

    cpdef data_received(self, Http2Stream stream, Buffer data, bint end_stream):
        """A DATA frame is complete; what is left in `data` is dropped."""

    cpdef trailers_received(self, Http2Stream stream, HeaderMap trailers):
        """Trailers; they end the peer's message."""

    cpdef stream_closed(self, Http2Stream stream, uint32_t error_code):
        """The stream is gone: both sides ended it, or one of them reset it."""

    cpdef end_stream_sent(self, Http2Stream stream):
        """The last frame of our message was put behind all that waits for the socket."""

    cpdef end_stream_blocked(self, Http2Stream stream):
        """All was handed over, but the peer's window does not let the end out; told once."""

    cpdef stream_above(self, Http2Stream stream):
        """More of the stream's body waits than it should."""

    cpdef stream_below(self, Http2Stream stream):
        """It does no longer."""

    cpdef frame_received(self):
        """The head of a frame other than the answer to a PING came in; called only while `watches_frames` is set."""

    cpdef settings_received(self, dict settings):
        """The peer's SETTINGS, by identifier."""

    cpdef ping_answered(self):
        """The answer to a PING."""

    cpdef goaway_received(self, int32_t last_stream_id, uint32_t error_code):
        """The peer's first GOAWAY."""

    cpdef violated(self):
        """Sending failed outside receive() (see `failure`): the connection is of no more use."""

    # Receiving

    cpdef receive(self, Buffer data):
        """Take all of `data`, then send what that asks for; the text of what went wrong, None when nothing did."""
        cdef size_t n
        cdef Py_ssize_t before
        cdef char* p
        cdef ssize_t result
        if self.depth:
            raise RuntimeError("receive() inside a callback")
        while data.length and self.failure is None and not self.stopped and not self.connection.is_closed:
            p = data.front(&n)
            before = data.length
            self.slab = data.head.slab
            # Whatever a callback does to `data`, these bytes stay.
            self.slab.refs += 1
            self.depth += 1
            result = ng.nghttp2_session_mem_recv(self.session, <const uint8_t*> p, n)
            self.depth -= 1
            self.slab.refs -= 1
            self.slab = NULL
            self.kept = None
            if self.raised is not None:
                error, self.raised = self.raised, None
                self.stopped = True
                raise error
            if data.length == before:
                data.c_drain(n)
            if self.failure is None and result != <ssize_t> n and not self.stopped:
                self.fail((<bytes> ng.nghttp2_strerror(<int> result)).decode(), result == ng.NGHTTP2_ERR_FLOODED)
        if self.failure is None and not self.stopped:
            self.hand_over()
        return self.failure

    cdef int track(self, int32_t stream_id, size_t length, int type, int flags, size_t padding) except? -902:
        cdef Http2Options options = self.options
        cdef void* found
        cdef int flood = self.guard.frame_in(length, type, flags, padding, options.max_empty_frames,
                                             options.max_priority_frames, options.max_window_updates)
        if not flood:
            return 0
        if flood == EMPTY_FRAMES:
            self.count(INBOUND_EMPTY_FRAMES_FLOOD, 1)
            found = ng.nghttp2_session_get_stream_user_data(self.session, stream_id)
            if found != NULL:
                (<Http2Stream> found).details = "http2.inbound_empty_frames_flood"
            return self.fail("Too many consecutive frames with an empty payload", True)
        if flood == PRIORITY_FRAMES:
            self.count(INBOUND_PRIORITY_FRAMES_FLOOD, 1)
            return self.fail("Too many PRIORITY frames", True)
        self.count(INBOUND_WINDOW_UPDATE_FRAMES_FLOOD, 1)
        return self.fail("Too many WINDOW_UPDATE frames", True)

    cdef int begin_headers(self, const nghttp2_frame* frame) except? -902:
        cdef Http2Stream stream
        cdef int result = self.track(frame.hd.stream_id, frame.hd.length, ng.NGHTTP2_HEADERS, frame.hd.flags,
                                     frame.headers.padlen)
        if result:
            return result
        if frame.headers.cat == ng.NGHTTP2_HCAT_REQUEST:
            stream = Http2Stream.__new__(Http2Stream)
            stream.id = frame.hd.stream_id
            self.link(stream)
            ng.nghttp2_session_set_stream_user_data(self.session, stream.id, <void*> stream)
            stream.incoming = HeaderMap()
            self.current = <PyObject*> stream
            self.begin_stream(stream)
            return 0
        self.current = <PyObject*> ng.nghttp2_session_get_stream_user_data(self.session, frame.hd.stream_id)
        if self.current == NULL:
            return 0
        if not self.client:
            self.count(TRAILERS, 1)
        stream = <Http2Stream> self.current
        stream.incoming = HeaderMap()
        return 0

    cdef int header_received(self, Http2Stream stream, const char* name, size_t name_len, const char* value,
                             size_t value_len) except? -902:
        cdef Http2Options options = self.options
        cdef HeaderMap headers = stream.incoming
        cdef size_t size, lines
        cdef size_t i
        if options.underscores != UNDERSCORES_ALLOWED:
            for i in range(name_len):
                if name[i] == 95:
                    if options.underscores == UNDERSCORES_DROPPED:
                        self.count(DROPPED_HEADERS_WITH_UNDERSCORES, 1)
                        return 0
                    self.count(REQUESTS_REJECTED_WITH_UNDERSCORES_IN_HEADERS, 1)
                    stream.details = "http2.unexpected_underscore"
                    return ng.NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
        stream.field_bytes_received += name_len + value_len
        if name_len == 6 and memcmp(name, b"cookie", 6) == 0:
            add_crumb(stream, value, value_len)
        elif not self.client and (name_len == 10 and memcmp(name, b":authority", 10) == 0 or name_len == 4
                                  and memcmp(name, b"host", 4) == 0) and memchr(value, USERINFO, value_len) != NULL:
            return self.bad_field(stream)
        elif name_len == 4 and not self.client and memcmp(name, b"host", 4) == 0:
            if not (options.discard_host and headers.c_find(b":authority", 10, 0) >= 0):
                add_joined(headers, b":authority", 10, value, value_len)
        else:
            add_field(headers, name, name_len, value, value_len, options.joined)
        size = headers.bytes_total
        lines = <size_t> headers.count
        if stream.crumbs is not None:
            size += stream.crumbs.bytes_total
            lines += stream.crumb_count
        if size > options.max_headers_bytes:
            stream.details = "http2.header_list_size_too_large"
            self.count(HEADER_LIST_SIZE_TOO_LARGE, 1)
        elif lines > options.max_headers_count:
            stream.details = "http2.too_many_headers"
            self.count(HEADER_OVERFLOW, 1)
        else:
            return 0
        return ng.NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE

    cdef int bad_field(self, Http2Stream stream) except? -902:
        """A field that this version of nghttp2 lets pass and Envoy's does not."""
        stream.details = "http2.invalid.header.field"
        self.count(RX_MESSAGING_ERROR, 1)
        if not self.options.stream_error_on_invalid:
            return self.fail("The user callback function failed", False)
        stream.messaging_error = True
        return ng.NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE

    cdef int headers_complete(self, Http2Stream stream, const nghttp2_frame* frame) except? -902:
        cdef HeaderMap headers = stream.incoming
        cdef HeaderEntry* e
        cdef bint end_stream = frame.hd.flags & ng.NGHTTP2_FLAG_END_STREAM != 0
        stream.incoming = None
        stream.bytes_received += frame.hd.length + FRAME_HEAD
        stream.header_bytes_received += frame.hd.length + FRAME_HEAD
        stream.remote_end = end_stream
        if stream.crumbs is not None:
            e = &stream.crumbs.entries[0]
            headers.c_add(b"cookie", 6, stream.crumbs.arena + e.value, e.value_len)
            stream.crumbs = None
            stream.crumb_count = 0
        if frame.headers.cat == ng.NGHTTP2_HCAT_HEADERS and (not self.client or stream.final_headers):
            if not stream.reset_pending:
                self.trailers_received(stream, headers)
            return 0
        if self.client and not stream.final_headers:
            stream.final_headers = end_stream or not is_informational(headers)
        if not stream.reset_pending:
            self.headers_received(stream, headers, end_stream)
        return 0

    cdef int chunk_received(self, int32_t stream_id, const char* data, size_t n) except? -902:
        cdef void* found = ng.nghttp2_session_get_stream_user_data(self.session, stream_id)
        cdef Http2Stream stream
        if found == NULL:
            ng.nghttp2_session_consume_connection(self.session, n)
            return 0
        stream = <Http2Stream> found
        if n >= COPY_BELOW and n * PINNED_SHARE >= self.slab.capacity:
            self.slab.refs += 1
            self.body.push(self.slab, <char*> data, n)
        else:
            self.body.put(data, n)
        if stream.read_disable_count:
            stream.unconsumed += n
        else:
            ng.nghttp2_session_consume(self.session, stream_id, n)
        return 0

    cdef int whole_frame(self, const nghttp2_frame* frame) except? -902:
        cdef int type = frame.hd.type
        cdef Http2Stream stream
        cdef void* found
        cdef int result
        if type == ng.NGHTTP2_HEADERS:
            found = <void*> self.current
            if found == NULL or (<Http2Stream> found).id != frame.hd.stream_id:
                return 0
            self.current = NULL
            stream = <Http2Stream> found
            return self.headers_complete(stream, frame)
        if type == ng.NGHTTP2_DATA:
            result = self.track(frame.hd.stream_id, frame.hd.length, type, frame.hd.flags, frame.data.padlen)
            if result:
                return result
            found = ng.nghttp2_session_get_stream_user_data(self.session, frame.hd.stream_id)
            if found != NULL:
                stream = <Http2Stream> found
                stream.bytes_received += frame.hd.length + FRAME_HEAD
                stream.remote_end = frame.hd.flags & ng.NGHTTP2_FLAG_END_STREAM != 0
                if not stream.reset_pending:
                    self.data_received(stream, self.body, stream.remote_end)
            if self.body.length:
                self.body.c_drain(<size_t> self.body.length)
            return 0
        if type == ng.NGHTTP2_PING:
            if frame.hd.flags & ng.NGHTTP2_FLAG_ACK:
                self.ping_answered()
            return 0
        if type == ng.NGHTTP2_SETTINGS:
            if not frame.hd.flags & ng.NGHTTP2_FLAG_ACK:
                self.settings_received(settings_of(frame))
            return 0
        if type == ng.NGHTTP2_GOAWAY:
            if not self.goaway_raised:
                self.goaway_raised = True
                self.goaway_received(frame.goaway.last_stream_id, frame.goaway.error_code)
            return 0
        if type == ng.NGHTTP2_RST_STREAM:
            found = ng.nghttp2_session_get_stream_user_data(self.session, frame.hd.stream_id)
            if found != NULL:
                stream = <Http2Stream> found
                stream.bytes_received += frame.hd.length + FRAME_HEAD
                stream.remote_reset = True
                self.count(RX_RESET, 1)
        return 0

    cdef int invalid_frame(self, const nghttp2_frame* frame, int error) except? -902:
        cdef void* found = ng.nghttp2_session_get_stream_user_data(self.session, frame.hd.stream_id)
        cdef Http2Stream stream = <Http2Stream> found if found != NULL else None
        if stream is not None:
            if error == ng.NGHTTP2_ERR_HTTP_HEADER:
                stream.details = "http2.invalid.header.field"
            elif error == ng.NGHTTP2_ERR_HTTP_MESSAGING:
                stream.details = "http2.violation.of.messaging.rule"
            else:
                stream.details = "http2.unknown.nghttp2.error"
        if error == ng.NGHTTP2_ERR_REFUSED_STREAM:
            self.count(STREAM_REFUSED_ERRORS, 1)
            return 0
        if error == ng.NGHTTP2_ERR_HTTP_HEADER or error == ng.NGHTTP2_ERR_HTTP_MESSAGING:
            self.count(RX_MESSAGING_ERROR, 1)
            if self.options.stream_error_on_invalid:
                if stream is not None:
                    stream.messaging_error = True
                return 0
        return self.fail("The user callback function failed", False)

    cdef int closed(self, int32_t stream_id, uint32_t error_code) except? -902:
        cdef void* found = ng.nghttp2_session_get_stream_user_data(self.session, stream_id)
        if found == NULL:
            return 0
        return self.forget(<Http2Stream> found, stream_id, error_code)

    cdef int not_sent(self, const nghttp2_frame* frame) except? -902:
        """A frame will never be sent. A request whose head it was never was a stream for nghttp2."""
        cdef PyObject* item = self.first
        if frame.hd.type != ng.NGHTTP2_HEADERS or frame.headers.cat != ng.NGHTTP2_HCAT_REQUEST:
            return 0
        while item != NULL:
            if (<Http2Stream> item).id == frame.hd.stream_id:
                return self.forget(<Http2Stream> item, frame.hd.stream_id, ng.NGHTTP2_REFUSED_STREAM)
            item = (<Http2Stream> item).after
        return 0

    cdef int forget(self, Http2Stream stream, int32_t stream_id, uint32_t error_code) except? -902:
        # The list's reference may have been the last one.
        cdef Http2Stream _held = stream
        if self.current == <PyObject*> stream:
            self.current = NULL
        ng.nghttp2_session_set_stream_user_data(self.session, stream_id, NULL)
        if stream.unconsumed:
            # Its window is gone; the connection's must not go with it.
            ng.nghttp2_session_consume_connection(self.session, stream.unconsumed)
            stream.unconsumed = 0
        self.unlink(stream)
        if stream.local_end and not stream.local_end_sent:
            self.ends -= 1
        try:
            self.stream_closed(stream, error_code)
        finally:
            self.drop(stream)
        return 0

    cdef int hand_over(self) except -1:
        """Let nghttp2 make frames of what was submitted, and write them to the connection."""
        raise NotImplementedError

    # Books

    cdef int drop(self, Http2Stream stream) except -1:
        """A stream is over: what it still had to send, and what it refers to."""
        if stream.out is not None:
            self.count(PENDING_SEND_BYTES, -stream.out.length)
            stream.out.c_drain(<size_t> stream.out.length)
        stream.trailers = None
        stream.session = None
        stream.owner = None
        return 0

    cdef int note_frames(self) except -1:
        """Show how many frames wait for the socket."""
        if <int64_t> self.guard.outbound != self.frames_told:
            self.count(OUTBOUND_FRAMES_ACTIVE, <int64_t> self.guard.outbound - self.frames_told)
            self.frames_told = <int64_t> self.guard.outbound
        if <int64_t> self.guard.outbound_control != self.control_frames_told:
            self.count(OUTBOUND_CONTROL_FRAMES_ACTIVE,
                       <int64_t> self.guard.outbound_control - self.control_frames_told)
            self.control_frames_told = <int64_t> self.guard.outbound_control
        return 0

    cdef int fail(self, object message, bint flood) noexcept:
        if self.failure is None:
            self.failure = message
            self.flooded = flood
        return ng.NGHTTP2_ERR_CALLBACK_FAILURE

    cdef int count(self, int slot, int64_t n) noexcept:
        if self.stats is not None:
            self.stats.c_add(slot, n)
        return 0

    cdef int check_open(self) noexcept:
        """A callback returned: go on, unless it closed the connection."""
        if self.stopped or self.connection.is_closed:
            return self.fail("Connection was closed while dispatching frames", False)
        return 0

    cdef int link(self, Http2Stream stream) except -1:
        Py_INCREF(stream)
        stream.session = self
        stream.before = NULL
        stream.after = self.first
        if self.first != NULL:
            (<Http2Stream> self.first).before = <PyObject*> stream
        self.first = <PyObject*> stream
        self.active += 1
        self.guard.opened()
        self.count(STREAMS_ACTIVE, 1)
        return 0

    cdef int unlink(self, Http2Stream stream) except -1:
        if stream.before != NULL:
            (<Http2Stream> stream.before).after = stream.after
        else:
            self.first = stream.after
        if stream.after != NULL:
            (<Http2Stream> stream.after).before = stream.before
        stream.before = stream.after = NULL
        self.active -= 1
        self.count(STREAMS_ACTIVE, -1)
        Py_DECREF(stream)
        return 0

    cdef int raised_error(self, object error) noexcept:
        """A callback raised: the call into the session ends with that."""
        if self.raised is None:
            self.raised = error
        return ng.NGHTTP2_ERR_CALLBACK_FAILURE

    def streams(self):
        """The open streams, the latest first."""
        cdef list found = []
        cdef PyObject* item = self.first
        while item != NULL:
            found.append(<Http2Stream> item)
            item = (<Http2Stream> item).after
        return found
