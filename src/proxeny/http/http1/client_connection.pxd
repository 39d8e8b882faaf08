"""Types of http.http1.client_connection."""

from proxeny.http.codec cimport ResponseDecoder
from proxeny.kernel.buffer cimport Buffer
from proxeny.kernel.headers cimport HeaderMap
from proxeny.kernel.http1_response cimport ResponseParser


cdef class ClientStream:
    cdef public Http1ClientConnection codec
    cdef int _chunked, _disabled
    cdef public ResponseDecoder decoder
    cdef public object callbacks
    cdef public long long bytes_received, bytes_sent, extra_header_bytes, field_bytes, head_bytes, interim_bytes, interim_wire_bytes
    cdef public long long trailer_bytes
    cdef public bint connect, local_complete, remote_complete

    cpdef encode_headers(self, HeaderMap headers, bint end_stream)
    cpdef encode_data(self, Buffer data, bint end_stream)
    cdef _write(self, Buffer data)
    cdef _end(self)
    cpdef undo_read_disables(self)


cdef class Http1ClientConnection:
    cdef public ResponseParser _parser
    cdef public ClientStream _stream
    cdef bint _extraneous
    cdef public bint absolute_form, enable_trailers
    cdef public int key_format
    cdef public object connection, protocol
    cdef public Buffer out

    cpdef ClientStream new_stream(self, response_decoder)
    cpdef dispatch(self, Buffer data, bint end_stream)
    cdef _note_progress(self, ClientStream stream, Buffer data)
    cpdef on_stream_reset(self, ClientStream stream, reason)
