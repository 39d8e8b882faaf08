"""HTTP/2 for checks, over the sans-I/O library h2: main sends few requests, one at a time on a connection."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

from proxeny.kernel.headers import HeaderMap
from proxeny.network.filter import ConnectionCloseType, ConnectionEvent, FilterStatus, NetworkFilter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from proxeny.extensions.health_checkers.client import CheckClientOwner
    from proxeny.kernel.buffer import Buffer
    from proxeny.network.connection import ClientConnection

log = logging.getLogger("proxeny.hc")

NO_FLUSH: Final = ConnectionCloseType.NO_FLUSH
_CONFIG: Final = h2.config.H2Configuration(client_side=True, header_encoding=None)
_GOAWAY: Final = 7
_OTHERS: Final = -1
_TOO_LARGE: Final = -2
"""Kinds of what ``_frames`` yields."""
_FRAME_HEAD: Final = 9
_LARGEST_FRAME: Final = 16_384 + _FRAME_HEAD
"""SETTINGS_MAX_FRAME_SIZE, which is left as it is."""
_HOP_BY_HOP: Final = (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"host")


class Http2Client(NetworkFilter):
    """A ``CheckClient``; the connection's read filter and callbacks."""

    __slots__ = (
        "_body",
        "_body_size",
        "_connection",
        "_going",
        "_h2",
        "_headers",
        "_owner",
        "_stream_id",
        "_unread",
        "_waiting",
    )

    def __init__(self, connection: ClientConnection, owner: CheckClientOwner, body_size: int) -> None:
        self._owner: CheckClientOwner | None = owner
        self._connection = connection
        self._body_size = body_size
        self._h2 = h2.connection.H2Connection(_CONFIG)
        self._stream_id = 0
        """The request under way."""
        self._headers: HeaderMap | None = None
        self._body = bytearray()
        self._unread = bytearray()
        """The beginning of a frame."""
        self._waiting: tuple[HeaderMap, bytes] | None = None
        self._going = False
        """Whether the host said that it will close once it has answered."""
        connection.add_filter(self)
        connection.add_connection_callbacks(self)
        connection.connect()

    def request(self, headers: HeaderMap, body: bytes) -> None:
        """Send a request, once connected."""
        if self._connection.connected_ns:
            self._send(headers, body)
        else:
            self._waiting = headers, body

    def _send(self, headers: HeaderMap, body: bytes) -> None:
        stream_id = self._stream_id = self._h2.get_next_available_stream_id()
        self._headers = None
        self._body.clear()
        pairs = [(name, value) for name, value in headers.items() if name not in _HOP_BY_HOP]
        # Pseudo headers go first.
        pairs.sort(key=lambda pair: not pair[0].startswith(b":"))
        try:
            self._h2.send_headers(stream_id, pairs, end_stream=not body)
            if body:
                self._h2.send_data(stream_id, body, end_stream=True)
        except h2.exceptions.ProtocolError:
            # The host lets no request begin, or no body be sent: the check times out.
            log.debug("%r: no request can be sent", self._connection, exc_info=True)
        self._flush()

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and self._connection.fd >= 0:
            self._connection.write(data, False)

    # -- the connection's side -----------------------------------------------------------------------------------
    def on_event(self, event: ConnectionEvent) -> None:
        """Connected: the preface, and what waits; closed: the request is lost."""
        if event is ConnectionEvent.CONNECTED:
            self._connection.initialize_read_filters()
            self._h2.initiate_connection()
            waiting, self._waiting = self._waiting, None
            if waiting is not None:
                self._send(*waiting)
            else:
                self._flush()
            return
        owner, self._owner = self._owner, None
        if owner is None:
            return
        if self._stream_id or self._waiting is not None:
            owner.on_failure(True)
        else:
            owner.on_closed()

    def on_data(self, data: Buffer, end_stream: bool) -> FilterStatus:
        """Frames; what violates the protocol ends the connection."""
        self._unread += data.take()
        for kind, frames in self._frames():
            if self._owner is None:
                break
            if kind == _GOAWAY:
                self._on_goaway(int.from_bytes(frames[13:17], "big"))
            elif kind == _TOO_LARGE:
                self._end(failed=bool(self._stream_id))
            else:
                self._receive(frames)
        if self._owner is not None:
            self._flush()
        return FilterStatus.STOP_ITERATION

    def _frames(self) -> Iterator[tuple[int, bytes]]:
        """What came, in whole frames. A GOAWAY comes by itself: h2 would take it for the end of the connection, while a
        graceful one lets the request under way finish."""
        unread = self._unread
        start = at = 0
        while len(unread) - at >= _FRAME_HEAD:
            end = at + _FRAME_HEAD + int.from_bytes(unread[at : at + 3], "big")
            if end - at > _LARGEST_FRAME:
                yield _TOO_LARGE, b""
                return
            if end > len(unread):
                break
            if unread[at + 3] == _GOAWAY:
                yield _OTHERS, bytes(unread[start:at])
                yield _GOAWAY, bytes(unread[at:end])
                start = end
            at = end
        yield _OTHERS, bytes(unread[start:at])
        del unread[:at]

    def _receive(self, frames: bytes) -> None:
        try:
            events = self._h2.receive_data(frames)
        except h2.exceptions.ProtocolError:
            self._flush()
            self._end(failed=bool(self._stream_id))
            return
        for event in events:
            if self._owner is None:
                break
            self._on_h2_event(event)

    def _on_h2_event(self, event: Any) -> None:
        if getattr(event, "stream_id", None) != self._stream_id or not self._stream_id:
            return
        elif isinstance(event, h2.events.ResponseReceived):
            self._headers = _header_map(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            room = self._body_size - len(self._body)
            if room > 0:
                self._body += event.data[:room]
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            self._complete(_header_map(event.headers))
        elif isinstance(event, h2.events.StreamEnded):
            self._complete(None)
        elif isinstance(event, h2.events.StreamReset):
            self._stream_id = 0
            if self._owner is not None:
                self._owner.on_failure(self._going)

    def _complete(self, trailers: HeaderMap | None) -> None:
        headers, owner = self._headers, self._owner
        self._stream_id = 0
        if headers is not None and owner is not None:
            owner.on_response(headers, bytes(self._body), trailers, not self._going)

    def _on_goaway(self, error_code: int) -> None:
        """A graceful end lets the request under way finish; any other fails it."""
        if self._stream_id and error_code == h2.errors.ErrorCodes.NO_ERROR:
            self._going = True
            return
        self._end(failed=bool(self._stream_id))

    def _end(self, failed: bool) -> None:
        owner = self._owner
        self.close()
        if owner is None:
            return
        if failed:
            owner.on_failure(True)
        else:
            owner.on_closed()

    def reset(self) -> None:
        """Give the request under way up, and keep the connection."""
        stream_id, self._stream_id = self._stream_id, 0
        try:
            self._h2.reset_stream(stream_id, h2.errors.ErrorCodes.NO_ERROR)
        except h2.exceptions.ProtocolError:
            # It never began.
            return
        self._flush()

    @property
    def connected(self) -> bool:
        """Whether the connection is established."""
        return self._connection.connected_ns != 0

    @property
    def going(self) -> bool:
        """Whether the host said that it will close."""
        return self._going

    def close(self) -> None:
        """Close the connection at once."""
        self._owner = None
        self._connection.close(NO_FLUSH)


def _header_map(pairs: Iterable[Any] | None) -> HeaderMap:
    return HeaderMap([(bytes(name), bytes(value)) for name, value in pairs or ()])
