"""Types of http.http1.server_connection."""

from proxeny.http.codec cimport RequestDecoder, ResponseEncoder
from proxeny.kernel.buffer cimport Buffer
from proxeny.kernel.headers cimport HeaderMap
from proxeny.kernel.http1_request cimport RequestParser


cdef class ServerStream(ResponseEncoder):
    cdef Http1ServerConnection _codec
    cdef int _chunked, _disabled
    cdef public RequestDecoder decoder
    cdef public long long bytes_received, bytes_sent, extra_header_bytes, field_bytes, head_bytes, status
    cdef public long long trailer_bytes
    cdef public bint head_seen, http10, remote_complete, to_connect, to_head, upgrade

    cpdef encode_headers(self, HeaderMap headers, bint end_stream)
    cpdef encode_data(self, Buffer data, bint end_stream)
    cdef _write(self, Buffer data)
    cdef _end(self)
    cpdef undo_read_disables(self)


cdef class Http1ServerConnection:
    cdef object _callbacks, _stats
    cdef RequestParser _parser
    cdef ServerStream _stream
    cdef bint _paused, _reset
    cdef object _error
    cdef unsigned long long _underscores
    cdef public bint accept_http_10, enable_trailers
    cdef public int key_format
    cdef public object connection, protocol
    cdef public Buffer out

    cpdef dispatch(self, Buffer data, bint end_stream)
    cdef _decode_headers(self, ServerStream stream, RequestParser parser)
    cdef ServerStream _begin_stream(self)
    cpdef release(self, ServerStream stream)
