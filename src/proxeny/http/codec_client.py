"""CodecClient: an upstream connection with its codec, whatever protocol that speaks (Envoy: ``Http::CodecClient``).

It is the connection's only read filter. What happens on a close: the bytes before the FIN have been decoded already; a
request that is still active afterwards is reset with the reason that fits (protocol error, connection termination).
The protocols' clients are ``http.http1.codec_client`` and ``http.http2.codec_client``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from proxeny.http.codec import StreamResetReason
from proxeny.network.filter import ConnectionCloseType, ConnectionEvent, NetworkFilter

if TYPE_CHECKING:
    from proxeny.http.codec import ResponseDecoder
    from proxeny.network.connection import ClientConnection

NO_FLUSH = ConnectionCloseType.NO_FLUSH
REMOTE_CLOSE = ConnectionEvent.REMOTE_CLOSE


class CodecClientCallbacks(Protocol):
    """The pool's side of a codec client."""

    def on_protocol_error(self) -> None:
        """The peer violated the protocol; the connection is about to be closed."""


class CodecClient(NetworkFilter):
    """One client connection."""

    __slots__ = ("closed_with_active_request", "connected", "failed", "remote_closed")

    connection: ClientConnection

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.connected = False
        self.remote_closed = False
        self.failed = False
        """Whether the peer violated the protocol."""
        self.closed_with_active_request = False
        """Whether the close cut a request short; for the pool's statistics."""

    @property
    def active(self) -> bool:
        """Whether a response is still awaited."""
        raise AssertionError("abstract")

    @property
    def protocol(self) -> str:
        """``HTTP/2``, ``HTTP/1.1`` or ``HTTP/1.0``, of the latest response."""
        raise AssertionError("abstract")

    def new_stream(self, response_decoder: ResponseDecoder) -> Any:
        """Begin a request: the RequestEncoder. The response goes to ``response_decoder``."""
        raise AssertionError("abstract")

    def close(self) -> None:
        """Close the connection now; active requests are reset."""
        self.connection.close(NO_FLUSH)

    def reset_reason(self, event: ConnectionEvent) -> StreamResetReason:
        """Why requests are over that were active when the connection closed."""
        if self.failed:
            return StreamResetReason.PROTOCOL_ERROR
        if self.connected:
            return StreamResetReason.CONNECTION_TERMINATION
        if event is REMOTE_CLOSE:
            return StreamResetReason.REMOTE_CONNECTION_FAILURE
        return StreamResetReason.LOCAL_CONNECTION_FAILURE

    def let_go(self) -> None:
        """The connection is closed: break the cycles."""

    def statistics(self) -> dict[str, Any]:
        """For admin pages and tests."""
        return {"active": self.active, "connected": self.connected, "remote_closed": self.remote_closed}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.connection!r} active={self.active}>"
