"""Http2Options: what the HTTP/2 sessions of one configuration share; the defaults are Envoy's."""
from libc.stdlib cimport calloc, free

from proxeny.kernel.http2_lib cimport (
    nghttp2_option_del,
    nghttp2_option_new,
    nghttp2_option_set_max_continuations,
    nghttp2_option_set_max_deflate_dynamic_table_size,
    nghttp2_option_set_max_outbound_ack,
    nghttp2_option_set_max_send_header_block_length,
    nghttp2_option_set_no_auto_window_update,
    nghttp2_option_set_no_closed_streams,
    nghttp2_option_set_no_rfc9113_leading_and_trailing_ws_validation,
    nghttp2_option_set_peer_max_concurrent_streams,
)

cdef enum:
    DEFAULT_TABLE = 4096
    MAX_HEADER_BLOCK = 0x2000000    # of what is sent: limits on headers are checked where they come in
    MAX_ACKS = 10000                # the limit on control frames is met first
    MAX_CONTINUATIONS = 1024        # what is in them is limited as it comes
    MOST_STREAMS = 0x7FFFFFFF


cdef class Http2Options:
    """`settings`: (identifier, value) in the order in which they are sent. Limits: the field of the same name."""

    def __cinit__(self, settings=(), *, bint client=False, unsigned int connection_window=25165824,
                  size_t hpack_table_size=4096):
        cdef size_t position = 0
        if nghttp2_option_new(&self.option) != 0:
            raise MemoryError()
        self.client = client
        self.connection_window = connection_window
        self.settings_count = len(settings)
        self.settings = <nghttp2_settings_entry*> calloc(self.settings_count + 1, sizeof(nghttp2_settings_entry))
        if self.settings == NULL:
            raise MemoryError()
        for identifier, value in settings:
            self.settings[position].settings_id = identifier
            self.settings[position].value = value
            position += 1
        # What would be kept of closed streams serves priorities, which nobody here looks at.
        nghttp2_option_set_no_closed_streams(self.option, 1)
        nghttp2_option_set_no_auto_window_update(self.option, 1)
        nghttp2_option_set_no_rfc9113_leading_and_trailing_ws_validation(self.option, 1)
        nghttp2_option_set_max_send_header_block_length(self.option, MAX_HEADER_BLOCK)
        nghttp2_option_set_max_continuations(self.option, MAX_CONTINUATIONS)
        nghttp2_option_set_max_outbound_ack(self.option, MAX_ACKS)
        if hpack_table_size != DEFAULT_TABLE:
            nghttp2_option_set_max_deflate_dynamic_table_size(self.option, hpack_table_size)
        if client:
            nghttp2_option_set_peer_max_concurrent_streams(self.option, MOST_STREAMS)

    def __init__(self, settings=(), *, client=False, connection_window=25165824, hpack_table_size=4096):
        self.max_headers_bytes = 60 * 1024
        self.max_headers_count = 100
        self.stream_buffer_limit = 16777216
        self.max_outbound_frames = 10000
        self.max_outbound_control_frames = 1000
        self.max_empty_frames = 1
        self.max_priority_frames = 100
        self.max_window_updates = 10
        self.joined = frozenset()

    def __dealloc__(self):
        if self.option != NULL:
            nghttp2_option_del(self.option)
        free(self.settings)
