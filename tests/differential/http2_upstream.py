"""A scripted HTTP/2 upstream: requests are recorded as messages, each gets the frames that its answer prescribes.

It knows frames and HPACK, and no rules: what it is told to send may be wrong. Requests of one connection are answered
each by a thread of its own, in the order of the answers' steps; the answers are taken in the order of the requests.
"""

import re
import socket
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import hpack
from tests.differential.upstream import BODY, FIN, RST, FakeUpstream, Hold, Script
from tests.differential.wire import STALL_SECONDS, End, Ended, Message, Wire

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, REFUSED_STREAM, CANCEL, CONNECT_ERROR = 0, 1, 2, 7, 8, 10

SMALL = 32768

Fields = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Head:
    """HEADERS: a head, an informational one, or trailers."""

    fields: Fields
    end: bool = False


@dataclass(frozen=True, slots=True)
class Body:
    """DATA."""

    data: bytes = b""
    end: bool = True


@dataclass(frozen=True, slots=True)
class Reset:
    """RST_STREAM."""

    code: int = INTERNAL_ERROR


@dataclass(frozen=True, slots=True)
class Frame:
    """Any frame; without a stream of its own it is on the request's."""

    type: int
    payload: bytes = b""
    flags: int = 0
    stream: int | None = None


@dataclass(frozen=True, slots=True)
class GoAway:
    """GOAWAY; ``last``: the last stream that is served, relative to the request's (-2: not even that one)."""

    last: int = 0
    code: int = NO_ERROR


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait until the proxy has ``reset`` the stream, ``end``ed its request, or sent ``data`` on it."""

    what: str


UNTIL_RESET = Wait("reset")
UNTIL_END = Wait("end")
UNTIL_DATA = Wait("data")

Step = Head | Body | Reset | Frame | GoAway | Wait | Hold | object


def head(status: int = 200, *fields: tuple[bytes, bytes], end: bool = False) -> Head:
    return Head([(b":status", b"%d" % status), *fields], end)


def answer(body: bytes = b"ok", status: int = 200, *fields: tuple[bytes, bytes]) -> tuple[Step, ...]:
    """A whole response."""
    if not body:
        return (head(status, *fields, end=True),)
    return (head(status, (b"content-length", b"%d" % len(body)), *fields), Body(body))


def frame(type_: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", type_, flags, stream) + payload


class Exchange:
    """One stream: the request as far as it came."""

    def __init__(self, stream: int, request: Message) -> None:
        self.stream = stream
        self.request = request
        self.ended = False
        self.reset = False


class Connection:
    """One connection of the proxy."""

    def __init__(self, upstream: "Http2Upstream", wire: Wire, max_streams: int | None) -> None:
        self.upstream = upstream
        self.wire = wire
        self.exchanges: dict[int, Exchange] = {}
        self.closed = False
        self._decoder = hpack.Decoder()
        self._encoder = hpack.Encoder()
        self._sending = threading.Lock()
        self._block = b""
        settings = b"" if max_streams is None else struct.pack(">HI", 3, max_streams)
        self.send(frame(SETTINGS, 0, 0, settings))

    def send(self, data: bytes) -> None:
        with self._sending:
            self.wire.send(data)

    def send_headers(self, stream: int, fields: Fields, end: bool) -> None:
        with self._sending:
            block = self._encoder.encode([hpack.NeverIndexedHeaderTuple(*field) for field in fields])
            self.wire.send(frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, block))

    def read(self) -> None:
        """Read frames up to the end of the connection."""
        if self.wire.read(len(PREFACE)) != PREFACE:
            return
        while True:
            prefix = self.wire.read(9)
            length = int.from_bytes(prefix[:3], "big")
            type_, flags, stream = struct.unpack(">BBI", prefix[3:])
            self._frame(type_, flags, stream, self.wire.read(length))

    def _frame(self, type_: int, flags: int, stream: int, payload: bytes) -> None:
        if type_ == HEADERS:
            self._headers(stream, flags, payload)
        elif type_ == DATA:
            self._data(stream, flags, payload)
        elif type_ == RST_STREAM:
            self._reset(stream, int.from_bytes(payload, "big"))
        elif type_ == SETTINGS and not flags & ACK:
            self.send(frame(SETTINGS, ACK, 0, b""))
        elif type_ == PING and not flags & ACK:
            self.send(frame(PING, ACK, 0, payload))

    def _headers(self, stream: int, flags: int, block: bytes) -> None:
        fields = [(bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True)]
        exchange = self.exchanges.get(stream)
        with self.upstream._changed:
            if exchange is not None:
                exchange.request.trailers = fields
            else:
                pseudo = dict(fields)
                line = b"%b %b HTTP/2" % (pseudo.get(b":method", b"-"), pseudo.get(b":path", b"-"))
                request = Message(line, fields, end=End.OPEN)
                exchange = self.exchanges[stream] = Exchange(stream, request)
                self.upstream.begin_exchange(self, exchange)
            if flags & END_STREAM:
                exchange.ended = True
                exchange.request.end = End.COMPLETE
            self.upstream._changed.notify_all()

    def _data(self, stream: int, flags: int, payload: bytes) -> None:
        exchange = self.exchanges.get(stream)
        if payload:
            update = len(payload).to_bytes(4, "big")
            self.send(frame(WINDOW_UPDATE, 0, 0, update))
            # Not for small bodies: what comes to a stream is counted, whenever it comes.
            if exchange is not None and len(exchange.request.body) > SMALL:
                self.send(frame(WINDOW_UPDATE, 0, stream, update))
        if exchange is None:
            return
        with self.upstream._changed:
            exchange.request.body += payload
            if flags & END_STREAM:
                exchange.ended = True
                exchange.request.end = End.COMPLETE
            self.upstream._changed.notify_all()

    def _reset(self, stream: int, code: int) -> None:
        exchange = self.exchanges.get(stream)
        if exchange is not None:
            with self.upstream._changed:
                exchange.request.headers.append((b":reset", b"%d" % code))
                exchange.request.end = End.RST
                exchange.ended = exchange.reset = True
                self.upstream._changed.notify_all()


class Http2Upstream(FakeUpstream):
    """As the HTTP/1 one; a name that ends in ``_max<n>`` allows so many streams at a time."""

    def __init__(self, name: str) -> None:
        found = re.search(r"_max(\d+)$", name)
        self._max_streams = None if found is None else int(found.group(1))
        super().__init__()

    def _serve(self, wire: Wire, script: Script) -> None:
        connection = Connection(self, wire, self._max_streams)
        try:
            connection.read()
        except Ended as ended:
            end = ended.end
        else:
            end = End.FIN
        with self._changed:
            connection.closed = True
            for exchange in connection.exchanges.values():
                if not exchange.ended:
                    exchange.ended = exchange.reset = True
                    exchange.request.end = end
            self._wires.discard(wire)
            wire.close()
            self._changed.notify_all()

    def begin_exchange(self, connection: Connection, exchange: Exchange) -> None:
        """A request came; under the lock."""
        script = self._script
        script.seen.append(exchange.request)
        steps = script.answers.pop(0) if script.answers else answer()
        self._busy += 1
        threading.Thread(target=self._answer, args=(connection, exchange, script, steps), daemon=True).start()

    def _answer(self, connection: Connection, exchange: Exchange, script: Script, steps: Sequence[Step]) -> None:
        try:
            if BODY not in steps:
                self._await(connection, exchange, "end")
            for step in steps:
                if not self._step(connection, exchange, script, step):
                    return
            self._await(connection, exchange, "end")
        except Ended:
            pass
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()

    def _await(self, connection: Connection, exchange: Exchange, what: str) -> None:
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    connection.closed
                    or exchange.reset
                    or (what == "end" and exchange.ended)
                    or (what == "data" and exchange.request.body)
                ),
                STALL_SECONDS,
            )

    def _step(self, connection: Connection, exchange: Exchange, script: Script, step: Step) -> bool:
        """False: the connection is over."""
        stream = exchange.stream
        if isinstance(step, Head):
            connection.send_headers(stream, step.fields, step.end)
        elif isinstance(step, Body):
            connection.send(frame(DATA, END_STREAM if step.end else 0, stream, step.data))
        elif isinstance(step, Reset):
            connection.send(frame(RST_STREAM, 0, stream, step.code.to_bytes(4, "big")))
            # Nothing more has to come.
            exchange.ended = True
        elif isinstance(step, GoAway):
            last = max(stream + step.last, 0)
            connection.send(frame(GOAWAY, 0, 0, last.to_bytes(4, "big") + step.code.to_bytes(4, "big")))
        elif isinstance(step, Frame):
            connection.send(frame(step.type, step.flags, stream if step.stream is None else step.stream, step.payload))
        elif isinstance(step, Wait):
            self._await(connection, exchange, step.what)
        elif isinstance(step, Hold):
            self.wait_for(lambda _: script.is_released(step.name))
        elif step is FIN:
            connection.wire.sock.shutdown(socket.SHUT_WR)
            return False
        elif step is RST:
            # Whoever reads closes the socket.
            connection.wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.wire.abort_reads()
            return False
        elif isinstance(step, bytes):
            connection.send(step)
        return True
