"""Types of http.codec."""

from proxeny.kernel.buffer cimport Buffer
from proxeny.kernel.headers cimport HeaderMap
from proxeny.kernel.timer cimport TimerTarget


cdef class CodecError:
    cdef public object details, message, status


cdef class StreamCallbacks(TimerTarget):
    cpdef on_codec_complete(self)


cdef class RequestDecoder(StreamCallbacks):
    cpdef decode_headers(self, HeaderMap headers, bint end_stream)
    cpdef decode_data(self, Buffer data, bint end_stream)


cdef class GoneDecoder(RequestDecoder):
    pass


cdef class ResponseEncoder:
    cdef public object callbacks

    cpdef encode_headers(self, HeaderMap headers, bint end_stream)
    cpdef encode_data(self, Buffer data, bint end_stream)


cdef class ResponseDecoder(StreamCallbacks):
    cpdef decode_headers(self, HeaderMap headers, bint end_stream)
    cpdef decode_data(self, Buffer data, bint end_stream)
