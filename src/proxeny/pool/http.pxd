"""Types of pool.http."""

from proxeny.http.codec_client cimport CodecClient
from proxeny.kernel.timer cimport Timer
from proxeny.pool.base cimport ActiveClient, ConnPoolBase


cdef class ActiveHttpClient(ActiveClient):
    cdef public Timer _idle_timer
    cdef public CodecClient codec_client
    cdef public long long idle_since_ms


cdef class HttpConnPool(ConnPoolBase):
    cpdef new_stream(self, response_decoder, callbacks)
