"""The map of kernel.http1_encode."""

from proxeny.kernel.buffer cimport Buffer
from proxeny.kernel.headers cimport HeaderMap

cpdef int encode_request_head(HeaderMap headers, Buffer out, bint end_stream, bint upgrade=*, int key_format=*,
                              bint absolute_form=*) except? -1000
cpdef int encode_response_head(HeaderMap headers, Buffer out, bint end_stream, bint http10=*, bint to_head=*,
                               bint to_connect=*, int key_format=*) except? -1000
cpdef encode_chunk(Buffer source, Buffer out)
cpdef encode_last_chunk(Buffer out, HeaderMap trailers=*)
