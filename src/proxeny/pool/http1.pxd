"""Types of pool.http1."""

cimport cython
from proxeny.http.codec_client cimport CodecClient
from proxeny.pool.base cimport ActiveClient, ConnPoolBase


cdef class ActiveHttp1Client(ActiveClient):
    cdef public object _idle_timer
    cdef public CodecClient codec_client
    cdef public long long idle_since_ms

    cpdef on_response_complete(self)


cdef class HttpConnPool(ConnPoolBase):
    @cython.locals(client=ActiveHttp1Client)
    cpdef new_stream(self, response_decoder, callbacks)
