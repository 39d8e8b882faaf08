"""Types of http.http2.server_connection."""

cimport cython
from libc.stdint cimport int32_t, uint32_t

from proxeny.http.codec cimport GoneDecoder, RequestDecoder, ResponseEncoder, StreamCallbacks
from proxeny.http.stream_manager cimport StreamManager
from proxeny.kernel.buffer cimport Buffer
from proxeny.kernel.headers cimport HeaderMap
from proxeny.kernel.http2_session cimport Http2Session
from proxeny.kernel.http2_stream cimport Http2Stream
from proxeny.kernel.timer cimport Timer


cdef class Http2ServerStream(ResponseEncoder):
    cdef Http2ServerConnection _codec
    cdef public Http2Stream h2
    cdef public RequestDecoder decoder
    cdef public bint extended_connect
    cdef public Timer flush_timer
    cdef public long long header_bytes_of_head

    cpdef encode_headers(self, HeaderMap headers, bint end_stream)
    cpdef encode_data(self, Buffer data, bint end_stream)
    cpdef bint is_sent(self)
    cpdef on_blocked(self)
    cpdef let_go(self)


cdef class Http2ServerConnection(Http2Session):
    cdef StreamManager _callbacks
    cdef public object keepalive, protocol, settings

    cpdef dispatch(self, Buffer data, bint end_stream)
    cpdef begin_stream(self, Http2Stream stream)
    @cython.locals(owner=Http2ServerStream, decoder=RequestDecoder)
    cpdef headers_received(self, Http2Stream stream, HeaderMap headers, bint end_stream)
    @cython.locals(owner=Http2ServerStream, decoder=RequestDecoder)
    cpdef data_received(self, Http2Stream stream, Buffer data, bint end_stream)
    cpdef trailers_received(self, Http2Stream stream, HeaderMap trailers)
    @cython.locals(owner=Http2ServerStream, callbacks=StreamCallbacks)
    cpdef stream_closed(self, Http2Stream stream, uint32_t error_code)
    @cython.locals(owner=Http2ServerStream, callbacks=StreamCallbacks)
    cpdef end_stream_sent(self, Http2Stream stream)
    cpdef end_stream_blocked(self, Http2Stream stream)
    cpdef stream_above(self, Http2Stream stream)
    cpdef stream_below(self, Http2Stream stream)
    cpdef frame_received(self)
    cpdef ping_answered(self)
    cpdef violated(self)
