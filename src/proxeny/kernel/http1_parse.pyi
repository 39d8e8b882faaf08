from proxeny.kernel.buffer import Buffer
from proxeny.kernel.headers import HeaderMap

NEED_MORE: int
HEADERS: int
DATA: int
TRAILERS: int
COMPLETE: int
ERROR: int
UPGRADE: int
HEADERS_1XX: int

class MessageParser:
    headers: HeaderMap
    trailers: HeaderMap
    body: Buffer
    end_stream: bool
    keep_alive: bool
    close_announced: bool
    http10: bool
    chunked: bool
    upgrade: bool
    started: bool
    content_length: int
    message_bytes: int
    header_bytes: int
    field_bytes: int
    error: str
    error_message: str
    error_status: int
    max_head_bytes: int
    max_headers_count: int
    enable_trailers: bool
    allow_chunked_length: bool
    keep_case: bool
    proper_added: bool
    keep_reason: bool
    underscore_action: int
    dropped_underscores: int
    in_message: bool
    def advance(self, data: Buffer) -> int: ...
    def finish(self) -> int: ...
    def open_tunnel(self) -> None: ...
