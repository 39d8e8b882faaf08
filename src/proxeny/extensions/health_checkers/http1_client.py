"""HTTP/1.1 for checks, over the codec client of the data plane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.http.codec import ResponseDecoder, StreamResetReason
from proxeny.http.http1.codec_client import Http1CodecClient
from proxeny.kernel.buffer import Buffer
from proxeny.network.filter import ConnectionCallbacks, ConnectionCloseType, ConnectionEvent

if TYPE_CHECKING:
    from proxeny.extensions.health_checkers.client import CheckClientOwner
    from proxeny.http.http1.settings import Http1Settings
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.connection import ClientConnection

NO_FLUSH: Final = ConnectionCloseType.NO_FLUSH


class Response(ResponseDecoder):
    """What came of the response so far; it is also told of the stream's reset."""

    __slots__ = ("_client", "body", "headers", "limit", "trailers")

    def __init__(self, client: Http1Client, limit: int) -> None:
        self._client: Http1Client | None = client
        self.limit = limit
        self.headers: HeaderMap | None = None
        self.body = bytearray()
        self.trailers: HeaderMap | None = None

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The head; its end is told by the codec client."""
        self.headers = headers

    def decode_data(self, data: Buffer, end_stream: bool) -> None:
        """Of the body only so much is kept as is looked at."""
        room = self.limit - len(self.body)
        if room > 0:
            self.body += data.take(min(room, data.length))

    def decode_trailers(self, trailers: HeaderMap) -> None:
        """The end."""
        self.trailers = trailers

    def on_reset_stream(self, reason: StreamResetReason, details: str) -> None:
        """No response will come."""
        client, self._client = self._client, None
        if client is not None:
            client.on_reset()

    def let_go(self) -> None:
        """Nobody wants to know any more."""
        self._client = None


class Http1Client(ConnectionCallbacks):
    """A ``CheckClient``."""

    __slots__ = ("_body_size", "_client", "_connection", "_owner", "_response", "_waiting")

    def __init__(
        self, connection: ClientConnection, owner: CheckClientOwner, settings: Http1Settings, body_size: int
    ) -> None:
        self._owner: CheckClientOwner | None = owner
        self._connection = connection
        self._body_size = body_size
        self._response: Response | None = None
        self._waiting: tuple[HeaderMap, bytes] | None = None
        self._client = Http1CodecClient(connection, self, settings)
        connection.add_filter(self._client)
        connection.add_connection_callbacks(self)
        connection.connect()

    def request(self, headers: HeaderMap, body: bytes) -> None:
        """Send a request, once connected."""
        if self._client.connected:
            self._send(headers, body)
        else:
            self._waiting = headers, body

    def _send(self, headers: HeaderMap, body: bytes) -> None:
        response = self._response = Response(self, self._body_size)
        encoder: Any = self._client.new_stream(response)
        encoder.stream.callbacks = response
        encoder.encode_headers(headers, not body)
        if body:
            encoder.encode_data(Buffer(body), True)

    # -- the connection's events ---------------------------------------------------------------------------------
    def on_event(self, event: ConnectionEvent) -> None:
        """The codec client first: it completes or resets the request that a close ends."""
        self._client.on_event(event)
        if event is ConnectionEvent.CONNECTED:
            self._connection.initialize_read_filters()
            waiting, self._waiting = self._waiting, None
            if waiting is not None:
                self._send(*waiting)
            return
        self._client.let_go()
        owner, self._owner = self._owner, None
        if owner is None:
            return
        if self._waiting is not None:
            owner.on_failure(True)
        else:
            owner.on_closed()

    # -- the codec client's callbacks ----------------------------------------------------------------------------
    def on_response_complete(self) -> None:
        """The connection takes another request."""
        self._complete(True)

    def on_last_response(self, close_notified: bool) -> None:
        """It does not."""
        self._complete(False)

    def on_protocol_error(self) -> None:
        """A reset follows, or the response was complete."""

    def _complete(self, reusable: bool) -> None:
        response, self._response = self._response, None
        owner = self._owner
        if response is None or owner is None or response.headers is None:
            return
        response.let_go()
        if not reusable:
            self._owner = None
        owner.on_response(response.headers, bytes(response.body), response.trailers, reusable)

    def on_reset(self) -> None:
        """The request came to nothing; on HTTP/1 the connection is gone with it."""
        self._response = None
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.on_failure(True)

    def close(self) -> None:
        """Close the connection at once."""
        self._owner = None
        if self._response is not None:
            self._response.let_go()
            self._response = None
        self._connection.close(NO_FLUSH)
