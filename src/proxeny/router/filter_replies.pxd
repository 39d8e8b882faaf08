"""Types of router.filter_replies."""

from proxeny.http.filter cimport StreamFilter
from proxeny.kernel.headers cimport HeaderMap
from proxeny.kernel.timer cimport Timer
from proxeny.network.stream_info cimport StreamInfo
from proxeny.router.config cimport RouterConfig
from proxeny.router.retry_policy cimport RetryPolicy
from proxeny.router.route cimport RouteEntry
from proxeny.upstream.cluster_info cimport ClusterInfo


cdef class RouterReplies(StreamFilter):
    cdef public RouterConfig config
    cdef public HeaderMap request_headers
    cdef public StreamInfo stream_info
    cdef public object virtual_cluster, alt_stat_name, cluster_name, direct, mirrors, others, request_body
    cdef public object request_trailers, retry_state, upstream
    cdef public list set_cookies
    cdef public RetryPolicy retry_policy
    cdef public RouteEntry entry
    cdef public ClusterInfo cluster
    cdef public Timer timer
    cdef public long long attempt_count, complete_ns, per_try_idle_timeout_ms, per_try_timeout_ms
    cdef public long long stream_duration_ms, timeout_code, timeout_ms
    cdef public bint dropped, orca_reported, grpc_request, has_cluster, has_stream_timers, hedges, is_retry, request_complete
    cdef public bint response_started, retry_pending

    cpdef charge_code(self, long long code, upstream, bint canary=*)
    cpdef charge_time(self, long long milliseconds, upstream)
