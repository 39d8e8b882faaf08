"""Types of router.filter."""

from proxeny.kernel.headers cimport HeaderMap
from proxeny.router.filter_replies cimport RouterReplies


cdef class RouterFilter(RouterReplies):
    cdef _prepare_headers(self, HeaderMap headers, entry)
    cdef _on_request_complete(self)
    cpdef on_upstream_headers(self, upstream, HeaderMap headers, bint end_stream, long long now_ns)
    cpdef on_upstream_complete(self, upstream)
