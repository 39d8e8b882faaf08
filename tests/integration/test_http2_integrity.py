"""Nobody gets a byte of another's: many requests at a time, early answers, resets and slow readers, every body checked.

A request's body, and its response's, is its own number over and over; whoever receives looks at every byte.
"""

import asyncio
import random
from collections.abc import Callable

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import ProtocolError

from proxeny.testing.proxy import RunningProxy

CONFIG = """
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}
static_resources:
  listeners:
  - name: web
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    per_connection_buffer_limit_bytes: 65536
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          http2_protocol_options: {{initial_stream_window_size: 65535, initial_connection_window_size: 131072}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{match: {{prefix: /}}, route: {{cluster: up}}}}]
  clusters:
  - name: up
    per_connection_buffer_limit_bytes: 65536
    circuit_breakers: {{thresholds: [{{max_connections: 10000, max_pending_requests: 10000, max_requests: 10000}}]}}
    {options}
    load_assignment:
      cluster_name: up
      endpoints:
      - lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}}}]
"""
HTTP2 = """typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {initial_stream_window_size: 65535}}"""
CONNECTIONS, REQUESTS, AT_A_TIME = 4, 60, 8
SIZES = (0, 1, 100, 4095, 16384, 16400, 70_000, 200_000)
DEADLINE_S = 60.0

Act = str
"""What the upstream does with a request: answers when all of it is there, ``early``, or ``reset``s it halfway."""


def stuff(number: int, size: int) -> bytes:
    """``size`` bytes that only number ``number`` has."""
    tag = b"<%05d>" % number
    return (tag * (size // len(tag) + 1))[:size]


def request_head(path: str) -> tuple[int, int, Act]:
    _, number, size, act = path.split("/")
    return int(number), int(size), act


class Upstream(asyncio.Protocol):
    """Over HTTP/2; what is wrong with a body goes to ``wrong``."""

    def __init__(self, wrong: list[str]) -> None:
        self._wrong = wrong
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding="ascii"))
        self._heads: dict[int, tuple[int, int, Act]] = {}
        self._got: dict[int, int] = {}
        self._left: dict[int, bytes] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._h2.initiate_connection()
        self._send()

    def data_received(self, data: bytes) -> None:
        for event in self._h2.receive_data(data):
            if isinstance(event, RequestReceived):
                self._heads[event.stream_id] = request_head(dict(event.headers)[":path"])
                self._got[event.stream_id] = 0
                if self._heads[event.stream_id][2] == "early":
                    self._answer(event.stream_id)
            elif isinstance(event, DataReceived):
                self._take(event.stream_id, event.data)
                self._acknowledge(event)
            elif isinstance(event, StreamEnded) and self._heads[event.stream_id][2] != "early":
                self._answer(event.stream_id)
            elif isinstance(event, StreamReset):
                self._left.pop(event.stream_id, None)
        for stream in list(self._left):
            self._pump(stream)
        self._send()

    def _acknowledge(self, event: DataReceived) -> None:
        try:
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        except ProtocolError:
            pass

    def _take(self, stream: int, data: bytes) -> None:
        number, _, act = self._heads[stream]
        at = self._got[stream]
        if stuff(number, at + len(data))[at:] != data:
            self._wrong.append(f"request {number} at {at}: {data[:40]!r}")
        self._got[stream] += len(data)
        if act == "reset" and self._got[stream] > 1000:
            self._reset(stream)

    def _reset(self, stream: int) -> None:
        try:
            self._h2.reset_stream(stream)
        except ProtocolError:
            pass

    def _answer(self, stream: int) -> None:
        number, size, _ = self._heads[stream]
        try:
            self._h2.send_headers(stream, [(":status", "200")])
        except ProtocolError:
            return
        self._left[stream] = stuff(number, size)
        self._pump(stream)

    def _pump(self, stream: int) -> None:
        """As much as the windows allow."""
        left = self._left[stream]
        try:
            while True:
                part = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size, len(left))
                if left and not part:
                    break
                last = part == len(left)
                self._h2.send_data(stream, left[:part], end_stream=last)
                left = left[part:]
                if last:
                    del self._left[stream]
                    return
        except ProtocolError:
            del self._left[stream]
            return
        self._left[stream] = left

    def _send(self) -> None:
        self._transport.write(self._h2.data_to_send())


async def plain_upstream(wrong: list[str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The same over HTTP/1; a reset ends the connection."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
            number, size, act = request_head(head.split(" ")[1])
            length = next((int(line[15:]) for line in head.split("\r\n") if line.startswith("content-length:")), 0)
            answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (size, stuff(number, size))
            if act == "early":
                writer.write(answer)
            body = await reader.readexactly(min(length, 1001) if act == "reset" else length)
            if body != stuff(number, len(body)):
                wrong.append(f"request {number}: {body[:40]!r}")
            if act == "reset" and length > 1000:
                break
            if act != "early":
                writer.write(answer)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    writer.close()


class Client:
    """One connection that makes its requests, a few at a time, and gives some of them up."""

    def __init__(self, rng: random.Random, first: int, wrong: list[str]) -> None:
        self._rng = rng
        self._next = first
        self._end = first + REQUESTS
        self._wrong = wrong
        self._h2 = H2Connection(H2Configuration(header_encoding="ascii"))
        self._numbers: dict[int, tuple[int, int, Act]] = {}
        self._left: dict[int, bytes] = {}
        self._got: dict[int, int] = {}
        self._news = asyncio.Event()
        self.whole = 0
        """Responses that came complete."""

    async def run(self, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        self._h2.initiate_connection()
        receiver = asyncio.create_task(self._receive(reader))
        self._begin()
        out = b""
        while self._numbers:
            moved = [self._pump(stream) for stream in list(self._left)]
            # Frames are cut anywhere, and what happens in between finds half of one there.
            out += self._h2.data_to_send()
            size = self._rng.randint(0, len(out))
            writer.write(out[:size])
            out = out[size:]
            await writer.drain()
            await asyncio.sleep(0.001 * self._rng.random())
            if not any(moved) and not out:
                await self._news.wait()
                self._news.clear()
            self._begin()
        receiver.cancel()
        writer.close()

    async def _receive(self, reader: asyncio.StreamReader) -> None:
        # Reads of odd sizes make odd windows.
        while data := await reader.read(self._rng.choice((100, 5000, 65536))):
            for event in self._h2.receive_data(data):
                self._on(event)
            self._news.set()
        self._wrong.append("the proxy ended a connection")
        self._numbers.clear()
        self._news.set()

    def _begin(self) -> None:
        while len(self._numbers) < AT_A_TIME and self._next < self._end:
            number, self._next = self._next, self._next + 1
            stream, size = self._h2.get_next_available_stream_id(), self._rng.choice(SIZES)
            length, act = self._rng.choice(SIZES), self._rng.choice(("whole", "whole", "early", "reset"))
            self._numbers[stream] = (number, size, act)
            self._got[stream] = 0
            fields = [(":method", "POST"), (":scheme", "http"), (":authority", "a.test")]
            fields += [(":path", f"/{number}/{size}/{act}"), ("content-length", str(length))]
            self._h2.send_headers(stream, fields)
            self._left[stream] = stuff(number, length)

    def _pump(self, stream: int) -> bool:
        """Send a piece, or give the request up; whether that changed anything."""
        left = self._left[stream]
        if self._rng.random() < 0.02:
            self._h2.reset_stream(stream)
            self._forget(stream)
            return True
        room = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size, len(left))
        part = self._rng.randint(min(room, 1), room)
        if left and not part:
            return False
        self._h2.send_data(stream, left[:part], end_stream=part == len(left))
        if part == len(left):
            del self._left[stream]
        else:
            self._left[stream] = left[part:]
        return True

    def _forget(self, stream: int) -> None:
        self._numbers.pop(stream, None)
        self._left.pop(stream, None)

    def _on(self, event: object) -> None:
        if isinstance(event, DataReceived):
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            known = self._numbers.get(event.stream_id)
            if known is not None and known[2] != "failed":
                at = self._got[event.stream_id]
                if stuff(known[0], at + len(event.data))[at:] != event.data:
                    self._wrong.append(f"response {known[0]} at {at}: {event.data[:40]!r}")
                self._got[event.stream_id] += len(event.data)
        elif isinstance(event, ResponseReceived):
            number, size, _ = self._numbers.get(event.stream_id, (0, 0, ""))
            if dict(event.headers)[":status"] != "200":
                # The proxy's own words.
                self._numbers[event.stream_id] = (number, size, "failed")
        elif isinstance(event, StreamEnded):
            number, size, act = self._numbers.get(event.stream_id, (0, 0, ""))
            if act not in ("", "failed"):
                self.whole += 1
                if self._got[event.stream_id] != size:
                    self._wrong.append(f"response {number}: {self._got[event.stream_id]} of {size} bytes")
            self._forget(event.stream_id)
        elif isinstance(event, StreamReset):
            self._forget(event.stream_id)
        elif isinstance(event, ConnectionTerminated):
            self._wrong.append(repr(event))


async def exchange(seed: int, protocol: str, start: Callable[[str], RunningProxy]) -> tuple[list[str], int]:
    loop, wrong = asyncio.get_running_loop(), []
    if protocol == "http2":
        server = await loop.create_server(lambda: Upstream(wrong), "127.0.0.1", 0)
    else:
        server = await asyncio.start_server(lambda *pair: plain_upstream(wrong, *pair), "127.0.0.1", 0)
    config = CONFIG.format(port=server.sockets[0].getsockname()[1], options=HTTP2 if protocol == "http2" else "")
    running = await loop.run_in_executor(None, start, config)
    port = running.port("web")
    clients = [Client(random.Random(seed * 100 + turn), turn * REQUESTS, wrong) for turn in range(CONNECTIONS)]
    await asyncio.wait_for(asyncio.gather(*[client.run(port) for client in clients]), DEADLINE_S)
    assert running.stat("server.worker_restarts") == 0
    await loop.run_in_executor(None, running.stop)
    server.close()
    await server.wait_closed()
    return wrong, sum(client.whole for client in clients)


@pytest.mark.parametrize("protocol", ["http1", "http2"])
def test_every_byte_is_ones_own(protocol: str, proxy: Callable[[str], RunningProxy]) -> None:
    wrong, whole = asyncio.run(exchange(1, protocol, proxy))
    assert not wrong, wrong[:5]
    assert whole > CONNECTIONS * REQUESTS // 3
