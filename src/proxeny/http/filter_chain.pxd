"""Types of http.filter_chain."""


cdef class FilterChain:
    cdef dict _variants
    cdef public tuple create, disabled, factories, names
    cdef public bint direct_decode, direct_encode, has_encoders, single
    cdef public Py_ssize_t last
    cdef public tuple decode_headers, decode_data, decode_trailers
    cdef public tuple encode_1xx_headers, encode_headers, encode_data, encode_trailers
    cdef public tuple decode_complete, encode_complete, on_stream_complete, on_local_reply, on_destroy

    cpdef for_route(self, route)
