"""Types of http.downstream_filter_manager."""

from proxeny.http.connection_manager_config cimport ConnectionManagerConfig
from proxeny.http.codec cimport ResponseEncoder
from proxeny.http.filter_manager cimport FilterManager
from proxeny.http.stream_manager cimport StreamManager
from proxeny.kernel.timer cimport Timer


cdef class DownstreamFilterManager(FilterManager):
    cdef public StreamManager manager
    cdef public ConnectionManagerConfig config
    cdef public ResponseEncoder encoder
    cdef public object resolved_route, tunnel
    cdef public Timer idle_timer, request_timer, header_timer, log_timer, max_duration_timer
    cdef public long long idle_timeout_ms
    cdef public object stream_id
    cdef public bint codec_complete, destroyed, encoder_started, is_head, route_resolved, saw_connection_close, upgrade
    cdef public bint given_up, waits_for_codec
    cdef public bint sent_1xx

    cdef _charge(self, long long code)
