"""``http1_safe_max_connection_duration``: a connection that is too old ends with its next response."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxeny.http.stream_manager import StreamManager


class SoftDrain:
    """The drain decision of such a connection: its next response says ``connection: close``."""

    __slots__ = ("_manager",)

    def __init__(self, manager: StreamManager) -> None:
        self._manager = manager

    def drain_close(self) -> bool:
        """No drain sequence: the connection closes behind the response that asks."""
        self._manager.close_after_response()
        return False
