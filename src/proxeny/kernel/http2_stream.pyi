from typing import Any

from proxeny.kernel.headers import HeaderMap
from proxeny.kernel.http2_session import Http2Session

class Http2Stream:
    session: Http2Session | None
    id: int
    owner: Any
    details: str | None
    incoming: HeaderMap | None
    remote_end: bool
    remote_reset: bool
    messaging_error: bool
    local_end: bool
    local_end_sent: bool
    end_blocked: bool
    bytes_received: int
    bytes_sent: int
    field_bytes_received: int
    header_bytes_received: int
    header_bytes_sent: int
    @property
    def pending(self) -> int: ...
    @property
    def above_high_watermark(self) -> bool: ...
