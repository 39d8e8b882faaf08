"""Map of HTTP/2 sessions: what compiled codecs call."""
from libc.stdint cimport int32_t, uint8_t, uint32_t

from proxeny.kernel.buffer cimport Buffer
from proxeny.kernel.headers cimport HeaderMap
from proxeny.kernel.http2_lib cimport nghttp2_frame
from proxeny.kernel.http2_receiver cimport Http2Receiver
from proxeny.kernel.http2_stream cimport Http2Stream


cdef class Http2Session(Http2Receiver):
    # What codecs call.
    cpdef flush(self)
    cpdef submit_response(self, Http2Stream stream, HeaderMap headers, bint end_stream)
    cpdef submit_1xx(self, Http2Stream stream, HeaderMap headers)
    cpdef Http2Stream submit_request(self, object owner, HeaderMap headers, bint end_stream)
    cpdef send_data(self, Http2Stream stream, Buffer data, bint end_stream)
    cpdef send_trailers(self, Http2Stream stream, HeaderMap trailers)
    cpdef reset(self, Http2Stream stream, uint32_t error_code, bint after_data)
    cpdef read_disable(self, Http2Stream stream, bint disable)
    cdef int end_local(self, Http2Stream stream) except -1
    cdef int tell_blocked(self) except -1
    cdef int touch(self) except -1
    cdef int consume(self, Http2Stream stream, size_t n) except -1
    cdef int submit_reset(self, Http2Stream stream, uint32_t error_code) except -1
    cdef int frame_sent(self, const nghttp2_frame* frame) except? -902
    cdef Py_ssize_t next_data(self, Http2Stream stream, size_t most, uint32_t* flags) except? -902
    cdef int data_sent(self, Http2Stream stream, const uint8_t* head, size_t n) except? -902
