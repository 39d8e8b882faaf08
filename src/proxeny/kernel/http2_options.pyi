from collections.abc import Sequence

class Http2Options:
    settings_count: int
    client: bool
    connection_window: int
    max_headers_bytes: int
    max_headers_count: int
    stream_buffer_limit: int
    stream_error_on_invalid: bool
    discard_host: bool
    max_outbound_frames: int
    max_outbound_control_frames: int
    max_empty_frames: int
    max_priority_frames: int
    max_window_updates: int
    underscores: int
    joined: frozenset[bytes]
    def __init__(
        self,
        settings: Sequence[tuple[int, int]] = (),
        *,
        client: bool = False,
        connection_window: int = 25165824,
        hpack_table_size: int = 4096,
    ) -> None: ...
