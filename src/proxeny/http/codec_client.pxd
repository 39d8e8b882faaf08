"""Types of http.codec_client."""

from proxeny.network.filter cimport NetworkFilter


cdef class CodecClient(NetworkFilter):
    cdef public bint closed_with_active_request, connected, failed, remote_closed

    cpdef new_stream(self, response_decoder)
