"""Types of http.http2.codec_client."""

from proxeny.http.codec_client cimport CodecClient
from proxeny.http.http2.client_connection cimport Http2ClientConnection


cdef class Http2CodecClient(CodecClient):
    cdef public object callbacks
    cdef public Http2ClientConnection codec
    cdef bint _closing
    cdef object _keepalive, _random

    cpdef new_stream(self, response_decoder)
    cpdef on_data(self, data, bint end_stream)
    cpdef on_stream_over(self, reason)
