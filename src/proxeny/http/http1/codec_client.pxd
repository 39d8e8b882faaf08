"""Types of http.http1.codec_client."""

cimport cython
from proxeny.http.codec_client cimport CodecClient
from proxeny.http.http1.client_connection cimport ClientStream, Http1ClientConnection
from proxeny.network.connection cimport Connection


cdef class PooledHttp1Codec(Http1ClientConnection):
    cdef public Http1CodecClient client


cdef class Http1CodecClient(CodecClient):
    cdef public object callbacks
    cdef public PooledHttp1Codec codec
    cdef public ClientStream _stream

    cpdef on_data(self, data, bint end_stream)
    @cython.locals(connection=Connection)
    cdef _complete(self, ClientStream stream, error)
