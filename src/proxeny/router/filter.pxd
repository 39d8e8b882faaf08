"""Types of router.filter."""

cimport cython
from proxeny.kernel.buffer cimport Buffer
from proxeny.kernel.headers cimport HeaderMap
from proxeny.network.stream_info cimport StreamInfo
from proxeny.router.filter_retries cimport RouterRetries
from proxeny.router.retry_policy cimport RetryPolicy
from proxeny.router.route cimport Route, RouteEntry, RoutePolicy
from proxeny.upstream.cluster_info cimport ClusterInfo


cdef class RouterFilter(RouterRetries):
    @cython.locals(forward=RouteEntry, info=StreamInfo, own=ClusterInfo, route=Route)
    cpdef decode_headers(self, HeaderMap headers, bint end_stream)
    cpdef decode_data(self, Buffer data, bint end_stream)
    @cython.locals(policy=RoutePolicy)
    cpdef pool_of(self, cluster, host)
    cpdef start_attempt(self, cluster, host, bint end_stream)
    @cython.locals(retry_policy=RetryPolicy)
    cdef _prepare_headers(self, HeaderMap headers, RouteEntry entry)
    cdef _on_request_complete(self)
    @cython.locals(entry=RouteEntry, policy=RetryPolicy)
    cpdef on_upstream_headers(self, upstream, HeaderMap headers, bint end_stream, long long now_ns)
    cpdef on_upstream_complete(self, upstream)
