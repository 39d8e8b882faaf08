"""Map of what HTTP/2 sessions of one configuration share."""
from libc.stdint cimport uint32_t, uint64_t

from proxeny.kernel.http2_lib cimport nghttp2_option, nghttp2_settings_entry


cdef enum Underscores:
    UNDERSCORES_ALLOWED = 0
    UNDERSCORES_REJECTED = 1
    UNDERSCORES_DROPPED = 2


cdef class Http2Options:
    cdef nghttp2_option* option
    cdef nghttp2_settings_entry* settings
    cdef readonly size_t settings_count
    cdef readonly bint client
    cdef readonly uint32_t connection_window
    cdef public size_t max_headers_bytes, max_headers_count, stream_buffer_limit
    cdef public bint stream_error_on_invalid, discard_host
    cdef public uint64_t max_outbound_frames, max_outbound_control_frames
    cdef public uint64_t max_empty_frames, max_priority_frames, max_window_updates
    cdef public int underscores
    cdef public frozenset joined
