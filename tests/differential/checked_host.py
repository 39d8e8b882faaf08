"""A host whose health is checked: it answers check after check as scripted, and then says nothing more.

So a case comes to rest by itself: the check behind the last answer waits for its time-out, which is long, and all
counters stand still. Requests that are no checks (by their user agent) get the answer for traffic.
"""

import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.events

DEADLINE_SECONDS = 30.0

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
BAD = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\nno"


@dataclass(frozen=True, slots=True)
class Act:
    """An answer that is no bytes, or more than bytes."""

    name: str
    data: tuple[bytes, ...] = ()


CLOSE = Act("close")
RST = Act("rst")
SILENT = Act("silent")


def then_close(data: bytes) -> Act:
    """Bytes, and the end of the connection."""
    return Act("close", (data,))


def pieces(*data: bytes) -> Act:
    """Bytes in several writes."""
    return Act("pieces", data)


Answer = bytes | Act


@dataclass(slots=True)
class Seen:
    """One connection as the host saw it."""

    messages: list[str] = field(default_factory=list)
    closed: bool = False


@dataclass(frozen=True, slots=True)
class H2Answer:
    """An answer over HTTP/2: response headers, body, trailers; ``reset`` or ``goaway`` (before it) besides."""

    headers: tuple[tuple[str, str], ...] = ((":status", "200"),)
    body: bytes = b""
    trailers: tuple[tuple[str, str], ...] = ()
    reset: bool = False
    goaway: int = -1


class CheckedHost:
    """Listens on 127.0.0.1; ``reads``: a raw host that reads so many bytes per check (HTTP otherwise)."""

    def __init__(self, answers: Sequence[Any], reads: int | None = None, http2: bool = False) -> None:
        self._answers = list(answers)
        self._reads = reads
        self._http2 = http2
        self.traffic = OK
        self.checks = 0
        """Checks that began."""
        self.connections: list[Seen] = []
        self._changed = threading.Condition()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def begin(self) -> None:
        """From the first answer on, for a proxy that is started (again)."""
        with self._changed:
            self.checks = 0
            self.connections = []

    @property
    def scripted(self) -> int:
        """How many checks get an answer."""
        return len(self._answers)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            seen = Seen()
            with self._changed:
                self.connections.append(seen)
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection, seen), daemon=True).start()

    def _serve(self, connection: socket.socket, seen: Seen) -> None:
        try:
            if self._http2:
                self._serve_http2(connection, seen)
            elif self._reads is None:
                self._serve_http1(connection, seen)
            else:
                self._serve_raw(connection, seen, self._reads)
        except OSError:
            pass
        finally:
            with self._changed:
                self._open.discard(connection)
                seen.closed = True
                self._changed.notify_all()
            connection.close()

    def _next(self, seen: Seen, message: str) -> Any:
        """A check began: its answer."""
        with self._changed:
            seen.messages.append(message)
            index = self.checks
            self.checks += 1
            self._changed.notify_all()
            return self._answers[index] if index < len(self._answers) else SILENT

    def _act(self, connection: socket.socket, answer: Answer) -> bool:
        """Carry an answer out; whether the connection goes on."""
        if isinstance(answer, bytes):
            connection.sendall(answer)
            return True
        for data in answer.data:
            connection.sendall(data)
        if answer.name == "rst":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            return False
        if answer.name == "close":
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
            return False
        return True

    def _serve_http1(self, connection: socket.socket, seen: Seen) -> None:
        buffer = b""
        while True:
            head, end, rest = buffer.partition(b"\r\n\r\n")
            size = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")), 0)
            if not end or len(rest) < size:
                data = connection.recv(65536)
                if not data:
                    return
                buffer += data
                continue
            buffer = rest[size:]
            if b"user-agent: Envoy/HC" in head or b"x-check" in head:
                answer = self._next(seen, (head + end + rest[:size]).decode("latin-1"))
            else:
                answer = self.traffic
            if not self._act(connection, answer):
                return

    def _serve_raw(self, connection: socket.socket, seen: Seen, count: int) -> None:
        while True:
            data = b""
            while len(data) < count:
                more = connection.recv(count - len(data))
                if not more:
                    if data:
                        seen.messages.append(f"cut short: {data!r}")
                    return
                data += more
            if not self._act(connection, self._next(seen, repr(data))):
                return
            if not count:
                while connection.recv(65536):
                    pass
                return

    def _serve_http2(self, connection: socket.socket, seen: Seen) -> None:
        codec = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="latin-1"))
        codec.initiate_connection()
        heads: dict[int, str] = {}
        while True:
            connection.sendall(codec.data_to_send())
            data = connection.recv(65536)
            if not data:
                return
            for event in codec.receive_data(data):
                stream = getattr(event, "stream_id", 0) or 0
                if isinstance(event, h2.events.RequestReceived):
                    heads[stream] = "\n".join(f"{name}: {value}" for name, value in sorted(event.headers))
                elif isinstance(event, h2.events.DataReceived):
                    heads[stream] += f"\n{event.data!r}"
                    codec.acknowledge_received_data(event.flow_controlled_length, stream)
                if isinstance(event, h2.events.StreamEnded):
                    answer = self._next(seen, heads.pop(stream))
                    if isinstance(answer, H2Answer):
                        _answer_http2(codec, stream, answer)
                    elif not self._act(connection, answer):
                        return

    def is_at_rest(self) -> bool:
        """Whether the check behind the last answer is under way, and all connections but its own are gone."""
        with self._changed:
            return self.checks > len(self._answers) and all(seen.closed for seen in self.connections[:-1])

    def wait_for(self, predicate: Callable[[], bool]) -> bool:
        """Until ``predicate`` holds; False when it never did."""
        with self._changed:
            return self._changed.wait_for(predicate, DEADLINE_SECONDS)

    def close(self) -> None:
        self._listener.close()
        with self._changed:
            left = list(self._open)
        for connection in left:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


def _answer_http2(codec: h2.connection.H2Connection, stream: int, answer: H2Answer) -> None:
    if answer.goaway >= 0:
        # By hand: the codec's own would end its streams.
        codec._data_to_send += b"\x00\x00\x08\x07\x00" + bytes(4) + stream.to_bytes(4, "big")
        codec._data_to_send += answer.goaway.to_bytes(4, "big")
    if answer.reset:
        codec.reset_stream(stream, 2)
        return
    last = not answer.body and not answer.trailers
    codec.send_headers(stream, list(answer.headers), end_stream=last)
    if answer.body:
        codec.send_data(stream, answer.body, end_stream=not answer.trailers)
    if answer.trailers:
        codec.send_headers(stream, list(answer.trailers), end_stream=True)
