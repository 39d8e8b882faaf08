"""Types of router.upstream_request."""

from proxeny.http.codec cimport ResponseDecoder
from proxeny.kernel.timer cimport Timer
from proxeny.router.filter cimport RouterFilter


cdef class UpstreamRequest(ResponseDecoder):
    cdef public RouterFilter router
    cdef public object attached, body, encoder, host, log, pending, trailers
    cdef public Timer duration_timer, idle_timer, timer
    cdef public bint awaiting_headers, body_above_limit, body_ends, encode_complete, end_stream, grpc_success_deferred
    cdef public bint reading_paused, retried, timeout_noted, watches_downstream, wrote_headers

    cpdef attach(self, request_encoder, host, codec_client)
    cpdef send_headers(self, headers)
