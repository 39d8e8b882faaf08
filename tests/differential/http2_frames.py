"""HTTP/2 for scripted clients: frames as bytes, and a reader that turns what a proxy sends into messages by stream.

Fields are written as literals without indexing, without Huffman code: what a case says is what goes out.
"""

import struct
from dataclasses import dataclass, field

import hpack
from tests.differential.wire import End, Ended, Message, Wire

MAGIC = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 1, 1, 4, 8, 32
NO_ERROR, PROTOCOL_ERROR, CANCEL = 0, 1, 8

Pair = tuple[bytes, bytes]


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def integer(value: int, bits: int, first: int = 0) -> bytes:
    """An integer with a prefix of so many bits (RFC 7541 5.1)."""
    limit = (1 << bits) - 1
    if value < limit:
        return bytes((first | value,))
    out = bytearray((first | limit,))
    value -= limit
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    out.append(value)
    return bytes(out)


def block(*fields: Pair) -> bytes:
    """A header block."""
    return b"".join(b"\0" + integer(len(name), 7) + name + integer(len(value), 7) + value for name, value in fields)


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


HELLO = MAGIC + settings()


def request(path: bytes = b"/x", *more: Pair, method: bytes = b"GET", authority: bytes = b"a.test") -> bytes:
    """The header block of a request."""
    return block((b":method", method), (b":scheme", b"http"), (b":authority", authority), (b":path", path), *more)


def get(stream: int = 1, path: bytes = b"/x", *more: Pair, method: bytes = b"GET") -> bytes:
    """A request without a body."""
    return frame(HEADERS, END_STREAM | END_HEADERS, stream, request(path, *more, method=method))


def post(stream: int = 1, path: bytes = b"/x", *more: Pair, method: bytes = b"POST") -> bytes:
    """The head of a request whose body follows."""
    return frame(HEADERS, END_HEADERS, stream, request(path, *more, method=method))


def data(payload: bytes, stream: int = 1, end: bool = True) -> bytes:
    return frame(DATA, END_STREAM if end else 0, stream, payload)


def trailers(*fields: Pair, stream: int = 1) -> bytes:
    return frame(HEADERS, END_STREAM | END_HEADERS, stream, block(*fields))


def reset(stream: int = 1, code: int = CANCEL) -> bytes:
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def window(size: int, stream: int = 0) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", size))


@dataclass(frozen=True, slots=True)
class Frames:
    """Read frames: until these streams ended (by END_STREAM or RST_STREAM), so many other frames came, or the end.

    What was read goes into the transcript by stream, since streams do not wait for each other.
    """

    streams: tuple[int, ...] = (1,)
    on: int = 0
    goaways: int = 0
    pings: int = 0
    acks: int = 0
    bytes_of: dict[int, int] = field(default_factory=dict)
    """So many bytes of a stream's body."""
    heads: tuple[int, ...] = ()
    """These streams' response heads."""
    end: bool = False
    """Up to the end of the connection."""


@dataclass(slots=True)
class StreamRead:
    """What came on one stream."""

    message: Message = field(default_factory=Message)
    interim: list[list[Pair]] = field(default_factory=list)
    ended: bool = False
    reset: int | None = None
    noted: bool = False


class Http2Reader:
    """Everything a proxy sent on one connection."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.streams: dict[int, StreamRead] = {}
        self.others: list[str] = []
        self.counts: dict[str, int] = {}
        self.end: End | None = None
        self._decoder = hpack.Decoder()
        self._decoder.max_header_list_size = 1 << 24
        self._block = b""
        self._noted = 0

    def read(self, step: Frames) -> list[str]:
        """Read what the step wants; the lines that it adds to the transcript, and the messages that ended."""
        try:
            while step.end or not self._has(step):
                self._read_frame()
        except Ended as ended:
            self.end = ended.end
        lines = self.others[self._noted :]
        self._noted = len(self.others)
        if not step.end and self.end is not None:
            lines.append(f"ended early: {self.end}")
        return lines

    def finished(self) -> list[tuple[int, StreamRead]]:
        """The streams with news, by number; each is given once it ended."""
        found = []
        for number, stream in sorted(self.streams.items()):
            if not stream.noted and (stream.ended or stream.reset is not None or self.end is not None):
                stream.noted = True
                found.append((number, stream))
        return found

    def _has(self, step: Frames) -> bool:
        def over(number: int) -> bool:
            stream = self.streams.get(number)
            return stream is not None and (stream.ended or stream.reset is not None)

        wanted = {"GOAWAY": step.goaways, "PING": step.pings, "PING ack": step.acks}
        return (
            all(over(number) for number in step.streams)
            and all(self.counts.get(name, 0) >= count for name, count in wanted.items())
            and all(number in self.streams and self.streams[number].message.line for number in step.heads)
            and all(
                number in self.streams and len(self.streams[number].message.body) >= size
                for number, size in step.bytes_of.items()
            )
        )

    def _read_frame(self) -> None:
        head = self.wire.read(9)
        kind, flags = head[3], head[4]
        number = int.from_bytes(head[5:9], "big")
        payload = self.wire.read(int.from_bytes(head[:3], "big"))
        if kind in (HEADERS, CONTINUATION):
            self._block += payload
            if flags & END_HEADERS:
                fields = [(bytes(name), bytes(value)) for name, value in self._decoder.decode(self._block, raw=True)]
                self._block = b""
                self._note_fields(self._stream(number), fields)
            if kind == HEADERS and flags & END_STREAM:
                self._stream(number).ended = True
        elif kind == DATA:
            stream = self._stream(number)
            stream.message.body += payload
            stream.ended = stream.ended or bool(flags & END_STREAM)
        elif kind == RST_STREAM:
            self._stream(number).reset = int.from_bytes(payload, "big")
        else:
            self._note_other(kind, flags, number, payload)

    def _stream(self, number: int) -> StreamRead:
        return self.streams.setdefault(number, StreamRead())

    def _note_fields(self, stream: StreamRead, fields: list[Pair]) -> None:
        status = next((value for name, value in fields if name == b":status"), b"")
        rest = [(name, value) for name, value in fields if name != b":status"]
        if status.startswith(b"1"):
            stream.interim.append(fields)
        elif not stream.message.line:
            stream.message.line = b"HTTP/2 " + status
            stream.message.headers = rest
        else:
            stream.message.trailers = rest

    def _note_other(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == SETTINGS and not flags & ACK:
            pairs = [struct.unpack_from(">HI", payload, at) for at in range(0, len(payload), 6)]
            self._other("SETTINGS", f"SETTINGS {pairs}")
        elif kind == GOAWAY:
            last, code = struct.unpack_from(">II", payload)
            self._other("GOAWAY", f"GOAWAY last={last} code={code} {payload[8:]!r}")
        elif kind == PING and flags & ACK:
            self._other("PING ack", f"PING ack {payload!r}")
        elif kind == PING:
            self._other("PING", "PING")
        elif kind == WINDOW_UPDATE and number == 0 and not self.counts.get("WINDOW_UPDATE"):
            self._other("WINDOW_UPDATE", f"WINDOW_UPDATE {int.from_bytes(payload, 'big')}")

    def _other(self, name: str, line: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1
        self.others.append(line)
