"""Types of pool.http1."""

cimport cython
from proxeny.http.codec_client cimport CodecClient
from proxeny.pool.http cimport ActiveHttpClient, HttpConnPool


cdef class ActiveHttp1Client(ActiveHttpClient):
    cpdef on_response_complete(self)


cdef class Http1ConnPool(HttpConnPool):
    @cython.locals(client=ActiveHttp1Client, codec_client=CodecClient)
    cpdef new_stream(self, response_decoder, callbacks)
