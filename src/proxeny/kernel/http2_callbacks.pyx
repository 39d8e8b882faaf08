"""The functions that nghttp2 calls: each calls a method of the session, which is `user`.

Whoever called into nghttp2 keeps the session alive. An exception ends that call.
"""
from libc.stdint cimport int32_t, uint8_t, uint32_t

from proxeny.kernel cimport http2_lib as ng
from proxeny.kernel.http2_lib cimport (
    nghttp2_data_source,
    nghttp2_frame,
    nghttp2_frame_hd,
    nghttp2_session,
    nghttp2_session_callbacks,
    ssize_t,
)
from proxeny.kernel.http2_session cimport Http2Session
from proxeny.kernel.http2_stream cimport Http2Stream

cdef enum:
    FRAME_HEAD = 9
    MAGIC = 80      # the first byte of what a client says first, which is no frame


cdef void set_callbacks(nghttp2_session_callbacks* callbacks) noexcept:
    ng.nghttp2_session_callbacks_set_send_callback(callbacks, send_frame)
    ng.nghttp2_session_callbacks_set_send_data_callback(callbacks, send_data_frame)
    ng.nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame)
    ng.nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers)
    ng.nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header)
    ng.nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_chunk)
    ng.nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame)
    ng.nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame)
    ng.nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close)
    ng.nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, on_not_sent)
    ng.nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_sent)


cdef ssize_t send_frame(nghttp2_session* session, const uint8_t* data, size_t n, int flags, void* user) noexcept:
    cdef Http2Session self = <Http2Session> user
    try:
        # Of the magic of a client, which is not a frame, only the bytes count.
        if n > FRAME_HEAD and self.client and data[0] == MAGIC:
            self.guard.written += n
        else:
            self.guard.frame_out(data, n, 0)
        self.out.put(<const char*> data, n)
    except BaseException as error:
        return self.raised_error(error)
    return <ssize_t> n


cdef int send_data_frame(nghttp2_session* session, nghttp2_frame* frame, const uint8_t* head, size_t n,
                         nghttp2_data_source* source, void* user) noexcept:
    cdef Http2Session self = <Http2Session> user
    try:
        return self.data_sent(<Http2Stream> source.ptr, head, n)
    except BaseException as error:
        return self.raised_error(error)


cdef ssize_t read_data(nghttp2_session* session, int32_t stream_id, uint8_t* target, size_t most, uint32_t* flags,
                       nghttp2_data_source* source, void* user) noexcept:
    cdef Http2Session self = <Http2Session> user
    try:
        return self.next_data(<Http2Stream> source.ptr, most, flags)
    except BaseException as error:
        return self.raised_error(error)


cdef int on_begin_frame(nghttp2_session* session, const nghttp2_frame_hd* head, void* user) noexcept:
    cdef Http2Session self = <Http2Session> user
    try:
        if self.body.length:
            # A stream that ended in the middle of a frame: the rest of it is not told, and its beginning is nobody's.
            self.body.c_drain(<size_t> self.body.length)
        if self.watches_frames and not (head.type == ng.NGHTTP2_PING and head.flags & ng.NGHTTP2_FLAG_ACK):
            self.frame_received()
        if head.type != ng.NGHTTP2_HEADERS and head.type != ng.NGHTTP2_DATA:
            return self.track(head.stream_id, head.length, head.type, head.flags, 0)
        return 0
    except BaseException as error:
        return self.raised_error(error)


cdef int on_begin_headers(nghttp2_session* session, const nghttp2_frame* frame, void* user) noexcept:
    cdef Http2Session self = <Http2Session> user
    try:
        return self.begin_headers(frame) or self.check_open()
    except BaseException as error:
        return self.raised_error(error)


cdef int on_header(nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name, size_t name_len,
                   const uint8_t* value, size_t value_len, uint8_t flags, void* user) noexcept:
    cdef Http2Session self = <Http2Session> user
    if self.current == NULL:
        return 0
    try:
        return self.header_received(
            <Http2Stream> self.current, <const char*> name, name_len, <const char*> value, value_len)
    except BaseException as error:
        return self.raised_error(error)


cdef int on_chunk(nghttp2_session* session, uint8_t flags, int32_t stream_id, const uint8_t* data, size_t n,
                  void* user) noexcept:
    cdef Http2Session self = <Http2Session> user
    try:
        return self.chunk_received(stream_id, <const char*> data, n)
    except BaseException as error:
        return self.raised_error(error)


cdef int on_frame(nghttp2_session* session, const nghttp2_frame* frame, void* user) noexcept:
    cdef Http2Session self = <Http2Session> user
    try:
        return self.whole_frame(frame) or self.check_open()
    except BaseException as error:
        return self.raised_error(error)


cdef int on_invalid_frame(nghttp2_session* session, const nghttp2_frame* frame, int error, void* user) noexcept:
    cdef Http2Session self = <Http2Session> user
    try:
        return self.invalid_frame(frame, error)
    except BaseException as raised:
        return self.raised_error(raised)


cdef int on_close(nghttp2_session* session, int32_t stream_id, uint32_t error_code, void* user) noexcept:
    cdef Http2Session self = <Http2Session> user
    try:
        return self.closed(stream_id, error_code) or self.check_open()
    except BaseException as error:
        return self.raised_error(error)


cdef int on_sent(nghttp2_session* session, const nghttp2_frame* frame, void* user) noexcept:
    cdef Http2Session self = <Http2Session> user
    try:
        return self.frame_sent(frame)
    except BaseException as error:
        return self.raised_error(error)


cdef int on_not_sent(nghttp2_session* session, const nghttp2_frame* frame, int reason, void* user) noexcept:
    cdef Http2Session self = <Http2Session> user
    try:
        return self.not_sent(frame)
    except BaseException as error:
        return self.raised_error(error)
