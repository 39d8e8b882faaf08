"""Types of http.filter_manager."""

from proxeny.http.codec cimport RequestDecoder
from proxeny.http.filter cimport StreamFilter
from proxeny.http.filter_chain cimport FilterChain
from proxeny.kernel.buffer cimport Buffer
from proxeny.kernel.headers cimport HeaderMap
from proxeny.network.stream_info cimport StreamInfo


cdef class ActiveFilter:
    cdef public FilterManager manager
    cdef public object connection, dispatcher
    cdef public StreamInfo stream_info
    cdef public Py_ssize_t index

    cpdef encode_headers(self, HeaderMap headers, bint end_stream, details)
    cpdef encode_data(self, Buffer data, bint end_stream)


cdef class FilterManager(RequestDecoder):
    cdef public FilterChain chain
    cdef public object connection, dispatcher, decode_path, encode_path
    cdef public StreamFilter terminal
    cdef public StreamInfo stream_info
    cdef public list filters
    cdef public tuple upstream_options
    cdef public HeaderMap request_headers, request_trailers, response_headers, response_trailers
    cdef public bint began_as_grpc, remote_complete, local_complete
    cdef public Py_ssize_t decoder_limit, encoder_limit
    cdef public list watermark_callbacks

    cpdef create_filters(self, FilterChain chain)
    cpdef filter_headers(self, HeaderMap headers, bint end_stream)
    cpdef filter_data(self, Buffer data, bint end_stream)
    cpdef encode_headers(self, HeaderMap headers, bint end_stream, details)
    cpdef encode_filtered_headers(self, HeaderMap headers, bint end_stream)
    cpdef encode_data(self, Buffer data, bint end_stream)
    cpdef destroy_filters(self)
    cpdef get_route(self)
    cpdef encode_headers_out(self, HeaderMap headers, bint end_stream)
    cpdef encode_data_out(self, Buffer data, bint end_stream)
