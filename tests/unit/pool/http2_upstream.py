"""The HTTP/2 side of the scripted upstream: a server of the library h2 on each of its connections."""

from __future__ import annotations

from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings

SERVER = h2.config.H2Configuration(
    client_side=False, header_encoding=None, validate_inbound_headers=False, validate_outbound_headers=False
)


class Http2Upstream:
    """Reads what an ``Upstream`` received, answers through it."""

    def __init__(self, world: Any, **settings: int) -> None:
        self.world = world
        self.settings = settings
        self.sides: list[h2.connection.H2Connection] = []
        self.requests: list[tuple[int, int, dict[bytes, bytes]]] = []
        """(connection, stream, headers) in their order."""
        self.bodies: dict[tuple[int, int], bytes] = {}
        self.ended: set[tuple[int, int]] = set()
        self.trailers: dict[tuple[int, int], dict[bytes, bytes]] = {}
        self.resets: dict[tuple[int, int], int] = {}
        self.events: list[Any] = []
        self.acknowledges = True
        """Whether body bytes are taken out of the windows."""

    def pump(self) -> None:
        """Take in what came."""
        upstream = self.world.upstream
        while len(self.sides) < len(upstream.received):
            side = h2.connection.H2Connection(SERVER)
            if self.settings:
                codes = {getattr(h2.settings.SettingCodes, name.upper()): v for name, v in self.settings.items()}
                side.local_settings = h2.settings.Settings(client=False, initial_values=codes)
            side.initiate_connection()
            self.sides.append(side)
        for index, side in enumerate(self.sides):
            data, upstream.received[index] = upstream.received[index], b""
            if data:
                for event in side.receive_data(data):
                    self._on_event(index, side, event)
            self.flush(index)

    def _on_event(self, index: int, side: h2.connection.H2Connection, event: Any) -> None:
        self.events.append(event)
        if isinstance(event, h2.events.RequestReceived):
            self.requests.append((index, event.stream_id, dict(event.headers)))
        elif isinstance(event, h2.events.DataReceived):
            key = (index, event.stream_id)
            self.bodies[key] = self.bodies.get(key, b"") + event.data
            if self.acknowledges:
                side.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            self.trailers[index, event.stream_id] = dict(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            self.ended.add((index, event.stream_id))
        elif isinstance(event, h2.events.StreamReset):
            self.resets[index, event.stream_id] = event.error_code

    def flush(self, index: int) -> None:
        data = self.sides[index].data_to_send()
        if data and not self.world.upstream.closed[index]:
            self.world.upstream.send(index, data)

    def until(self, predicate: Any) -> None:
        def pumped() -> object:
            self.pump()
            return predicate()

        self.world.until(pumped)

    def wait(self, count: int) -> None:
        """Until so many requests came."""
        self.until(lambda: len(self.requests) >= count)

    def answer(self, nth: int, status: bytes = b"200", body: bytes = b"ok", trailers: Any = None) -> None:
        index, stream, _ = self.requests[nth]
        side = self.sides[index]
        side.send_headers(stream, [(b":status", status)], end_stream=not body and not trailers)
        if body:
            side.send_data(stream, body, end_stream=not trailers)
        if trailers:
            side.send_headers(stream, trailers, end_stream=True)
        self.flush(index)
