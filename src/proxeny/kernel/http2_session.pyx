"""Http2Session: one HTTP/2 connection over libnghttp2, for servers and clients.

Receiving. receive() gives nghttp2 what the connection read; its callbacks build header maps and bodies and call the
methods that a codec overrides. Nobody sends, receives or frees the session from inside a callback: what is submitted
there leaves when receive() ends. Windows are given back as the codec takes the bytes; those of a stream that is
read-disabled are kept until it is not.

Sending. What is submitted outside receive() puts the session on the poller's late list, so that the frames of one batch
of events leave together. DATA frames take the slices of the stream's buffer: bodies are not copied.

Failure. An error ends receive() with its text, as Envoy does: frames that are invalid end the connection, unless
`stream_error_on_invalid` leaves those of HTTP's rules to the stream. A GOAWAY with an error is the last frame sent.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp

from proxeny.kernel cimport http2_lib as ng
from proxeny.kernel.buffer cimport Buffer
from proxeny.kernel.epoll cimport Watcher
from proxeny.kernel.headers cimport HeaderEntry, HeaderMap
from proxeny.kernel.http2_callbacks cimport read_data, set_callbacks
from proxeny.kernel.http2_flood cimport EMPTY_FRAMES, OUTBOUND, PRIORITY_FRAMES, FloodGuard
from proxeny.kernel.http2_lib cimport nghttp2_data_provider, nghttp2_frame, nghttp2_session_callbacks, ssize_t
from proxeny.kernel.http2_options cimport UNDERSCORES_ALLOWED, UNDERSCORES_DROPPED, Http2Options
from proxeny.kernel.http2_stream cimport (
    Fields,
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
    FIRST_WINDOW = 65535        # RFC 9113 6.9.2


cdef class Http2Session(Watcher):
    """The session of `connection`; a codec subclasses it."""

    def __cinit__(self, Stream connection not None, Http2Options options not None, *args, **kwargs):
        cdef nghttp2_session_callbacks* callbacks
        cdef int result
        self.connection = connection
        self.options = options
        self.client = options.client
        self.out = Buffer()
        self.body = Buffer()
        self.guard = FloodGuard()
        self.resets = []
        if ng.nghttp2_session_callbacks_new(&callbacks) != 0:
            raise MemoryError()
        set_callbacks(callbacks)
        if options.client:
            result = ng.nghttp2_session_client_new2(&self.session, callbacks, <void*> self, options.option)
        else:
            result = ng.nghttp2_session_server_new2(&self.session, callbacks, <void*> self, options.option)
        ng.nghttp2_session_callbacks_del(callbacks)
        if result != 0:
            raise MemoryError()
        ng.nghttp2_submit_settings(self.session, ng.NGHTTP2_FLAG_NONE, options.settings, options.settings_count)
        if options.connection_window > FIRST_WINDOW:
            ng.nghttp2_submit_window_update(
                self.session, ng.NGHTTP2_FLAG_NONE, 0, <int32_t> (options.connection_window - FIRST_WINDOW))

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
        cdef bint of_size
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
        elif name_len == 10 and memcmp(name, b":authority", 10) == 0 and memchr(value, USERINFO, value_len) != NULL:
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
        self.current = <PyObject*> stream
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
            self.current = NULL
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
            # What came of a frame that goes on: the next frame is another stream's.
            if self.body.length:
                self.body.c_drain(<size_t> self.body.length)
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

    # Sending

    cdef int end_local(self, Http2Stream stream) except -1:
        """All of our message was handed over."""
        stream.local_end = True
        self.ends += 1
        return 0

    cdef int tell_blocked(self) except -1:
        """What was to end a message and is still here waits for the peer's window."""
        cdef Http2Stream stream
        for item in self.streams():
            stream = <Http2Stream> item
            if stream.local_end and not stream.local_end_sent and not stream.end_blocked and stream.session is self:
                stream.end_blocked = True
                self.end_stream_blocked(stream)
        return 0

    cdef int touch(self) except -1:
        """There is something to send: late in this turn, unless a call into the session ends before."""
        if self.depth == 0 and self.connection.poller is not None:
            self.connection.poller.c_mark_late(self)
        return 0

    cdef int flush_late(self) except -1:
        self.flush()
        return 0

    def on_handler_error(self, error):
        """What went wrong while sending late is the connection's."""
        self.connection.on_handler_error(error)

    cpdef flush(self):
        """Send what was submitted, now; inside a callback: when the call into the session ends."""
        if self.depth or self.stopped or self.failure is not None or self.connection.is_closed:
            return
        self.hand_over()
        if self.failure is not None:
            self.violated()

    cdef int hand_over(self) except -1:
        """Let nghttp2 make frames of what was submitted, and write them to the connection."""
        cdef int result
        cdef int flood
        cdef Http2Stream stream
        cdef Stream connection = self.connection
        self.guard.drained(<uint64_t> connection.write_buffer.length)
        self.note_frames()
        while True:
            self.depth += 1
            result = ng.nghttp2_session_send(self.session)
            self.depth -= 1
            if result != 0 or not self.resets:
                break
            while self.resets:
                stream = <Http2Stream> self.resets.pop()
                if stream.session is not None:
                    self.submit_reset(stream, stream.reset_code)
        if self.raised is not None:
            error, self.raised = self.raised, None
            raise error
        if result != 0 and self.failure is None:
            self.fail((<bytes> ng.nghttp2_strerror(result)).decode(), False)
        if self.out.length:
            connection.write(self.out)
        if self.failure is None:
            flood = self.guard.check_out(self.options.max_outbound_frames, self.options.max_outbound_control_frames)
            if flood == OUTBOUND:
                self.count(OUTBOUND_FLOOD, 1)
                self.fail("Too many frames in the outbound queue.", True)
            elif flood:
                self.count(OUTBOUND_CONTROL_FLOOD, 1)
                self.fail("Too many control frames in the outbound queue.", True)
        if self.ends and self.failure is None:
            self.tell_blocked()
        return 0

    cpdef submit_response(self, Http2Stream stream, HeaderMap headers, bint end_stream):
        """The response's head."""
        cdef nghttp2_data_provider provider
        cdef Fields fields
        if stream.session is not self:
            return
        fields = Fields.__new__(Fields)
        fields.take(headers)
        if end_stream:
            self.end_local(stream)
            ng.nghttp2_submit_response(self.session, stream.id, fields.nv, fields.n, NULL)
        else:
            stream.has_source = True
            provider.source.ptr = <void*> stream
            provider.read_callback = read_data
            ng.nghttp2_submit_response(self.session, stream.id, fields.nv, fields.n, &provider)
        self.touch()

    cpdef submit_1xx(self, Http2Stream stream, HeaderMap headers):
        """An informational response."""
        cdef Fields fields
        if stream.session is not self:
            return
        fields = Fields.__new__(Fields)
        fields.take(headers)
        ng.nghttp2_submit_headers(self.session, ng.NGHTTP2_FLAG_NONE, stream.id, NULL, fields.nv, fields.n, NULL)
        self.touch()

    cpdef Http2Stream submit_request(self, object owner, HeaderMap headers, bint end_stream):
        """Client: a stream of its own, with this head; None when the session takes no more."""
        cdef nghttp2_data_provider provider
        cdef Http2Stream stream = Http2Stream.__new__(Http2Stream)
        cdef Fields fields = Fields.__new__(Fields)
        fields.take(headers)
        stream.owner = owner
        stream.has_source = not end_stream
        provider.source.ptr = <void*> stream
        provider.read_callback = read_data
        stream.id = ng.nghttp2_submit_request(
            self.session, NULL, fields.nv, fields.n, NULL if end_stream else &provider, <void*> stream)
        if stream.id < 0:
            return None
        self.link(stream)
        if end_stream:
            self.end_local(stream)
        self.touch()
        return stream

    cpdef send_data(self, Http2Stream stream, Buffer data, bint end_stream):
        """Body bytes: moved out of `data`."""
        cdef Py_ssize_t n = data.length
        if stream.session is not self or stream.local_end:
            data.c_drain(<size_t> n)
            return
        if end_stream:
            self.end_local(stream)
        if n:
            if stream.out is None:
                stream.out = Buffer()
            stream.out.c_move(data, <size_t> n)
            self.count(PENDING_SEND_BYTES, n)
        if stream.deferred:
            stream.deferred = False
            ng.nghttp2_session_resume_data(self.session, stream.id)
        self.touch()
        if n and stream.out.length > <Py_ssize_t> self.options.stream_buffer_limit and not stream.above:
            # What the peer's window takes does not count.
            self.flush()
            if stream.session is self and stream.out.length > <Py_ssize_t> self.options.stream_buffer_limit:
                stream.above = True
                self.stream_above(stream)

    cpdef send_trailers(self, Http2Stream stream, HeaderMap trailers):
        """Trailers end our message; without a field, an empty DATA frame does."""
        if stream.session is not self or stream.local_end:
            return
        self.end_local(stream)
        if trailers.count:
            stream.trailers = trailers
        if stream.deferred:
            stream.deferred = False
            ng.nghttp2_session_resume_data(self.session, stream.id)
        self.touch()

    cpdef reset(self, Http2Stream stream, uint32_t error_code, bint after_data):
        """RST_STREAM; `after_data`: if all of our message was handed over, behind as much of it as can be sent now."""
        if stream.session is not self:
            return
        if after_data and stream.local_end and not stream.local_end_sent:
            if not stream.reset_pending:
                stream.reset_pending = True
                stream.reset_code = error_code
                self.resets.append(stream)
        else:
            # What was submitted before goes out before: nghttp2 drops frames of a stream that is reset.
            self.flush()
            if stream.session is self:
                self.submit_reset(stream, error_code)
        self.touch()

    cdef int submit_reset(self, Http2Stream stream, uint32_t error_code) except -1:
        """RST_STREAM; a server's that breaks its response off is no NO_ERROR."""
        if error_code == ng.NGHTTP2_NO_ERROR and not self.client and not stream.local_end_sent:
            error_code = ng.NGHTTP2_INTERNAL_ERROR
        ng.nghttp2_submit_rst_stream(self.session, ng.NGHTTP2_FLAG_NONE, stream.id, error_code)
        return 0

    cpdef read_disable(self, Http2Stream stream, bint disable):
        """Keep the stream's window, or give back what was kept (counted)."""
        if disable:
            stream.read_disable_count += 1
            return
        if stream.read_disable_count:
            stream.read_disable_count -= 1
            if stream.read_disable_count == 0 and stream.unconsumed and stream.session is self:
                self.consume(stream, stream.unconsumed)

    cdef int consume(self, Http2Stream stream, size_t n) except -1:
        stream.unconsumed -= n
        ng.nghttp2_session_consume(self.session, stream.id, n)
        return self.touch()

    cdef Py_ssize_t next_data(self, Http2Stream stream, size_t most, uint32_t* flags) except? -902:
        """How much of a body goes into the next DATA frame."""
        cdef size_t length = 0 if stream.out is None else <size_t> stream.out.length
        cdef Fields fields
        if length == 0 and not stream.local_end:
            stream.deferred = True
            return ng.NGHTTP2_ERR_DEFERRED
        flags[0] |= ng.NGHTTP2_DATA_FLAG_NO_COPY
        if length > most:
            return <Py_ssize_t> most
        if stream.local_end:
            flags[0] |= ng.NGHTTP2_DATA_FLAG_EOF
            if stream.trailers is not None:
                flags[0] |= ng.NGHTTP2_DATA_FLAG_NO_END_STREAM
                fields = Fields.__new__(Fields)
                fields.take(stream.trailers)
                ng.nghttp2_submit_trailer(self.session, stream.id, fields.nv, fields.n)
                stream.trailers = None
        return <Py_ssize_t> length

    cdef int data_sent(self, Http2Stream stream, const uint8_t* head, size_t n) except? -902:
        """A DATA frame: its head and `n` bytes of the stream's body."""
        self.guard.frame_out(head, FRAME_HEAD, n)
        self.out.put(<const char*> head, FRAME_HEAD)
        if n:
            self.count(PENDING_SEND_BYTES, -<int64_t> n)
            self.out.c_move(stream.out, n)
            if stream.above and stream.out.length <= <Py_ssize_t> (self.options.stream_buffer_limit // 2):
                stream.above = False
                self.stream_below(stream)
        return 0

    cdef int frame_sent(self, const nghttp2_frame* frame) except? -902:
        cdef int type = frame.hd.type
        cdef void* found
        cdef Http2Stream stream
        if type == ng.NGHTTP2_GOAWAY:
            if frame.goaway.error_code:
                return self.fail("The user callback function failed", False)
            return 0
        if type == ng.NGHTTP2_RST_STREAM:
            self.count(TX_RESET, 1)
        found = ng.nghttp2_session_get_stream_user_data(self.session, frame.hd.stream_id)
        if found == NULL:
            return 0
        stream = <Http2Stream> found
        stream.bytes_sent += frame.hd.length + FRAME_HEAD
        if type == ng.NGHTTP2_HEADERS:
            stream.header_bytes_sent += frame.hd.length + FRAME_HEAD
        elif type != ng.NGHTTP2_DATA:
            return 0
        if frame.hd.flags & ng.NGHTTP2_FLAG_END_STREAM:
            stream.local_end_sent = True
            self.ends -= 1
            self.end_stream_sent(stream)
        return 0

    # The connection as a whole

    def ping(self, bytes payload not None):
        """PING with eight bytes."""
        if PyBytes_GET_SIZE(payload) != 8:
            raise ValueError("a PING has eight bytes")
        ng.nghttp2_submit_ping(self.session, ng.NGHTTP2_FLAG_NONE, <const uint8_t*> PyBytes_AS_STRING(payload))
        self.touch()

    def goaway(self, uint32_t error_code=0):
        """GOAWAY: no stream above the last one is served."""
        cdef int32_t last = ng.nghttp2_session_get_last_proc_stream_id(self.session)
        ng.nghttp2_submit_goaway(self.session, ng.NGHTTP2_FLAG_NONE, last, error_code, NULL, 0)
        self.count(GOAWAY_SENT, 1)
        self.touch()

    def shutdown_notice(self):
        """The GOAWAY that says that another one will follow."""
        ng.nghttp2_submit_shutdown_notice(self.session)
        self.touch()

    def streams(self):
        """The open streams, the latest first."""
        cdef list found = []
        cdef PyObject* item = self.first
        while item != NULL:
            found.append(<Http2Stream> item)
            item = (<Http2Stream> item).after
        return found

    def remote_setting(self, int identifier):
        """The peer's setting, or its default."""
        return ng.nghttp2_session_get_remote_settings(self.session, identifier)

    def window_of(self, Http2Stream stream not None):
        """How many bytes of the stream's body the peer takes now."""
        cdef int32_t window = ng.nghttp2_session_get_remote_window_size(self.session)
        if stream.session is not self:
            return 0
        return max(0, min(window, ng.nghttp2_session_get_stream_remote_window_size(self.session, stream.id)))

    def abandon(self):
        """The connection is closed: let go of the streams that were open; nobody is told."""
        cdef Http2Stream stream
        self.stopped = True
        for item in self.streams():
            stream = <Http2Stream> item
            self.unlink(stream)
            self.drop(stream)
        self.guard.drained(0)
        self.note_frames()
        self.resets.clear()

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
