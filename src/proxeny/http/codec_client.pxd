"""Types of http.codec_client."""

cimport cython
from proxeny.http.http1.client_connection cimport ClientStream, Http1ClientConnection
from proxeny.network.connection cimport Connection
from proxeny.network.filter cimport NetworkFilter


cdef class PooledHttp1Codec(Http1ClientConnection):
    cdef public CodecClient client


cdef class CodecClient(NetworkFilter):
    cdef public object callbacks
    cdef public PooledHttp1Codec codec
    cdef public ClientStream _stream
    cdef public bint _failed, closed_with_active_request, connected, remote_closed

    cpdef new_stream(self, response_decoder)
    cpdef on_data(self, data, bint end_stream)
    @cython.locals(connection=Connection)
    cdef _complete(self, ClientStream stream, error)
