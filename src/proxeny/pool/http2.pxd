"""Types of pool.http2."""

cimport cython
from proxeny.http.codec_client cimport CodecClient
from proxeny.pool.base cimport ConnPoolBase
from proxeny.pool.http cimport ActiveHttpClient, HttpConnPool


cdef class ActiveHttp2Client(ActiveHttpClient):
    @cython.locals(pool=ConnPoolBase)
    cpdef on_stream_over(self, reason)


cdef class Http2ConnPool(HttpConnPool):
    @cython.locals(client=ActiveHttpClient, codec_client=CodecClient)
    cpdef new_stream(self, response_decoder, callbacks)
