"""Types of http.http2.client_connection."""

from libc.stdint cimport int32_t, uint32_t
from proxeny.http.codec cimport ResponseDecoder
from proxeny.kernel.buffer cimport Buffer
from proxeny.kernel.headers cimport HeaderMap
from proxeny.kernel.http2_session cimport Http2Session
from proxeny.kernel.http2_stream cimport Http2Stream

cimport cython


cdef class Http2ClientStream:
    cdef public Http2ClientConnection codec
    cdef public ResponseDecoder decoder
    cdef public object callbacks
    cdef Http2Stream _stream
    cdef int _above
    cdef public long long decompressed_sent
    cdef object _upgrade
    cdef public bint local_complete, remote_complete

    cpdef encode_headers(self, HeaderMap headers, bint end_stream)
    cpdef encode_data(self, Buffer data, bint end_stream)
    cdef _end(self)
    cpdef raise_above(self)
    cpdef raise_below(self)


cdef class Http2ClientConnection(Http2Session):
    cdef public object callbacks, protocol
    cdef object _keepalive
    cdef long long _idle_ping_ms, _received_ms
    cdef public bint write_buffer_full
    cdef dict _streams

    cpdef Http2ClientStream new_stream(self, response_decoder)
    @cython.locals(stream=Http2ClientStream, decoder=ResponseDecoder)
    cpdef headers_received(self, Http2Stream raw, HeaderMap headers, bint end_stream)
    @cython.locals(stream=Http2ClientStream, decoder=ResponseDecoder)
    cpdef data_received(self, Http2Stream raw, Buffer data, bint end_stream)
    @cython.locals(stream=Http2ClientStream, decoder=ResponseDecoder)
    cpdef trailers_received(self, Http2Stream raw, HeaderMap trailers)
    @cython.locals(stream=Http2ClientStream)
    cpdef stream_closed(self, Http2Stream raw, uint32_t error_code)
    @cython.locals(stream=Http2ClientStream)
    cpdef stream_above(self, Http2Stream raw)
    @cython.locals(stream=Http2ClientStream)
    cpdef stream_below(self, Http2Stream raw)
    cpdef settings_received(self, dict settings)
    cpdef goaway_received(self, int32_t last_stream_id, uint32_t error_code)
    cpdef frame_received(self)
    cpdef ping_answered(self)
    cpdef violated(self)
    cdef _end_of_response(self, Http2ClientStream stream)
    cpdef end_stream(self, Http2ClientStream stream, reason, str details)
