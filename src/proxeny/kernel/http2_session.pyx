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
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from proxeny.kernel cimport http2_lib as ng
from proxeny.kernel.buffer cimport Buffer
from proxeny.kernel.headers cimport HeaderMap
from proxeny.kernel.http2_callbacks cimport read_data, set_callbacks
from proxeny.kernel.http2_flood cimport OUTBOUND
from proxeny.kernel.http2_lib cimport nghttp2_data_provider, nghttp2_frame, nghttp2_session_callbacks
from proxeny.kernel.http2_options cimport Http2Options
from proxeny.kernel.http2_receiver cimport (
    GOAWAY_SENT,
    OUTBOUND_CONTROL_FLOOD,
    OUTBOUND_FLOOD,
    PENDING_SEND_BYTES,
    TX_RESET,
    Http2Receiver,
)
from proxeny.kernel.http2_stream cimport Fields, Http2Stream
from proxeny.kernel.stream cimport Stream

cdef enum:
    FRAME_HEAD = 9
    FIRST_WINDOW = 65535        # RFC 9113 6.9.2


cdef class Http2Session(Http2Receiver):
    """The session of `connection`; a codec subclasses it."""

    def __cinit__(self, Stream connection not None, Http2Options options not None, *args, **kwargs):
        cdef nghttp2_session_callbacks* callbacks
        cdef int result
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
        if self.failure is not None and not self.connection.is_closed:
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
        self.kept = None
        if self.raised is not None:
            error, self.raised = self.raised, None
            raise error
        if connection.is_closed:
            # A callback did that.
            self.out.c_drain(<size_t> self.out.length)
            return 0
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
        if stream.session is None:
            # Abandoned in a callback of this call.
            return ng.NGHTTP2_ERR_CALLBACK_FAILURE
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
        """The connection is closed: let go of the streams that were open; nobody is told.

        Inside a callback they stay in memory until the call into the session ends: nghttp2 still knows them.
        """
        cdef Http2Stream stream
        cdef list open_streams = self.streams()
        self.stopped = True
        if self.depth and self.kept is None:
            self.kept = open_streams
        for item in open_streams:
            stream = <Http2Stream> item
            ng.nghttp2_session_set_stream_user_data(self.session, stream.id, NULL)
            self.unlink(stream)
            self.drop(stream)
        self.guard.drained(0)
        self.note_frames()
        self.resets.clear()
