"""A socket that remembers what it read, and just enough HTTP/1 to cut messages out of it.

Used on both ends of the proxy under test: by the scripted client (responses) and by the scripted upstream (requests).
It keeps the bytes as they came: header names and values are not normalised here.
"""

import socket
import struct
from dataclasses import dataclass, field
from enum import StrEnum

STALL_SECONDS = 8.0
"""How long a peer may stay silent before a step counts as stalled; never a value that a test asserts."""

LENIENT_STALL_SECONDS = 2.0
"""The same of the side that is more lenient than the case asks for."""

STILL_SILENT_SECONDS = 0.3
"""The same for a peer that stalled and was told nothing since."""

MAX_READ = 65536


class End(StrEnum):
    """How a message or a connection ended."""

    COMPLETE = "complete"
    FIN = "fin"
    RST = "rst"
    STALLED = "stalled"
    OPEN = "open"
    CLOSED = "closed"


class Ended(Exception):
    """The peer closed (or stalled) before what was being read was complete."""

    def __init__(self, end: End) -> None:
        super().__init__(end.value)
        self.end = end


Address = tuple[str, int] | str
"""Host and port, or the path of a unix socket."""

Headers = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class Message:
    """One HTTP/1 message: request or response; `end` tells how its body ended."""

    line: bytes = b""
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    trailers: Headers = field(default_factory=list)
    end: End = End.COMPLETE

    def values(self, name: bytes) -> list[bytes]:
        """All values of one header, in order; the name is lower case."""
        return [value for key, value in self.headers if key.lower() == name]

    @property
    def status(self) -> int:
        parts = self.line.split(b" ", 2)
        return int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0

    @property
    def closes(self) -> bool:
        return b"close" in (value.lower() for value in self.values(b"connection"))


class Wire:
    """A connected socket with a read buffer; every read raises `Ended` when the peer ends first, or says nothing for
    `patience` seconds."""

    __slots__ = ("_patience", "buffer", "end", "sock")

    def __init__(self, sock: socket.socket, patience: float = STALL_SECONDS) -> None:
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(patience)
        self._patience = patience
        self.sock = sock
        self.buffer = bytearray()
        self.end: End | None = None

    @classmethod
    def connect(cls, address: Address, source: str = "", patience: float = STALL_SECONDS) -> "Wire":
        if isinstance(address, tuple):
            own = (source, 0) if source else None
            return cls(socket.create_connection(address, timeout=STALL_SECONDS, source_address=own), patience)
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(STALL_SECONDS)
        sock.connect(address)
        return cls(sock, patience)

    def fill(self) -> None:
        """Read once into the buffer."""
        if self.end is not None:
            raise Ended(self.end)
        try:
            data = self.sock.recv(MAX_READ)
        except TimeoutError:
            self.sock.settimeout(STILL_SILENT_SECONDS)
            raise Ended(End.STALLED) from None
        except OSError:
            self.end = End.RST
            raise Ended(End.RST) from None
        if not data:
            self.end = End.FIN
            raise Ended(End.FIN)
        self.buffer += data

    def take(self, count: int) -> bytes:
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    def read(self, count: int) -> bytes:
        while len(self.buffer) < count:
            self.fill()
        return self.take(count)

    def read_until(self, mark: bytes) -> bytes:
        start = 0
        while (found := self.buffer.find(mark, start)) < 0:
            start = max(0, len(self.buffer) - len(mark) + 1)
            self.fill()
        return self.take(found + len(mark))

    def read_to_end(self) -> tuple[bytes, End]:
        """Everything up to FIN, RST or a stall."""
        while True:
            try:
                self.fill()
            except Ended as ended:
                return self.take(len(self.buffer)), ended.end

    def send(self, data: bytes) -> bool:
        """Send all; False when the peer is gone (its verdict is then read, not raised)."""
        try:
            if self.sock.gettimeout() == STILL_SILENT_SECONDS:
                self.sock.settimeout(self._patience)
            self.sock.sendall(data)
        except OSError:
            return False
        return True

    def finish(self) -> None:
        """Send FIN; the reading side stays open."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def reset(self) -> None:
        """Close with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def abort_reads(self) -> None:
        """Wake a thread that is blocked in a read of this socket, from another thread."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def close(self) -> None:
        self.end = self.end or End.CLOSED
        self.sock.close()


def read_head(wire: Wire) -> Message:
    """Start line and headers; raises `Ended` with what came still in the buffer."""
    head = wire.read_until(b"\r\n\r\n")[:-4]
    line, _, rest = head.partition(b"\r\n")
    return Message(line, _fields(rest))


def read_body(wire: Wire, message: Message, *, until_close: bool) -> None:
    """Read the body by the message's own framing into `message`; sets `message.end`."""
    try:
        if b"chunked" in (value.lower() for value in message.values(b"transfer-encoding")):
            _read_chunked(wire, message)
        elif lengths := message.values(b"content-length"):
            wanted = int(lengths[0])
            while len(message.body) < wanted:
                if not wire.buffer:
                    wire.fill()
                message.body += wire.take(wanted - len(message.body))
        elif until_close:
            message.body, message.end = wire.read_to_end()
    except Ended as ended:
        message.end = ended.end


def read_response(wire: Wire, *, head_only: bool = False) -> Message:
    """The next response, interim ones included; a connection that ended gives an empty message with that end."""
    try:
        response = read_head(wire)
    except Ended as ended:
        return Message(line=wire.take(len(wire.buffer)), end=ended.end)
    if not head_only and response.status >= 200 and response.status not in (204, 304):
        read_body(wire, response, until_close=True)
    return response


def _read_chunked(wire: Wire, message: Message) -> None:
    while True:
        size = int(wire.read_until(b"\r\n").split(b";")[0].strip(), 16)
        if size == 0:
            break
        remaining = size
        while remaining:
            if not wire.buffer:
                wire.fill()
            data = wire.take(remaining)
            message.body += data
            remaining -= len(data)
        wire.read_until(b"\r\n")
    trailers = bytearray()
    while (line := wire.read_until(b"\r\n")) != b"\r\n":
        trailers += line
    message.trailers = _fields(bytes(trailers).removesuffix(b"\r\n"))


def _fields(block: bytes) -> Headers:
    fields = []
    for line in block.split(b"\r\n") if block else []:
        name, _, value = line.partition(b":")
        fields.append((name, value.strip(b" \t")))
    return fields
