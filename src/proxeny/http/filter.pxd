"""Types of http.filter."""

from proxeny.kernel.buffer cimport Buffer
from proxeny.kernel.headers cimport HeaderMap
from proxeny.kernel.timer cimport TimerTarget


cdef class StreamFilter(TimerTarget):
    cdef public object decoder_callbacks, encoder_callbacks

    cpdef decode_headers(self, HeaderMap headers, bint end_stream)
    cpdef decode_data(self, Buffer data, bint end_stream)
