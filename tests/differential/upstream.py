"""A scripted upstream: it records what the proxy sent and answers with the bytes that a case prescribes.

An HTTP upstream cuts the proxy's stream into requests and pops one `Answer` per request (connections may be pooled and
outlive a case, so nothing hangs on a connection). A raw upstream runs one program of steps per accepted connection.
"""

import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.differential.wire import STALL_SECONDS, End, Ended, Message, Wire, read_body, read_head

PIECE_PACE_SECONDS = 0.0004
"""Between pieces of an answer, so that most of them arrive in a read of their own; no verdict depends on it."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Wait until the client's script releases this name."""

    name: str = "hold"


@dataclass(frozen=True, slots=True)
class Act:
    """A step without data."""

    name: str


FIN = Act("fin")
RST = Act("rst")
BODY = Act("read the request's body now (otherwise it is read before the first step)")
READ_END = Act("raw: read up to the proxy's FIN")
NEVER = Act("say nothing more, read until the proxy closes")


@dataclass(frozen=True, slots=True)
class Read:
    """Raw upstream: read exactly this many bytes."""

    count: int


Step = bytes | Hold | Act | Read
Answer = Sequence[Step]

OK: Answer = (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",)


@dataclass(slots=True)
class Script:
    """What the upstream does during one case, and what it saw."""

    answers: list[Answer] = field(default_factory=list)
    raw: Answer | None = None
    seen: list[Message] = field(default_factory=list)
    streams: list[tuple[bytes, End]] = field(default_factory=list)
    released: set[str] = field(default_factory=set)
    over: bool = False
    """Nobody waits for an answer any more."""

    def is_released(self, name: str) -> bool:
        return self.over or name in self.released


class FakeUpstream:
    """Listens on 127.0.0.1 at a free port; one thread per connection; `begin` starts a case."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._script = Script()
        self._wires: set[Wire] = set()
        self._busy = 0
        self._silent = 0
        """Of the busy ones, those that wait for the proxy to close."""
        self._closed = False
        self._probe: tuple[str, int] | None = None
        """Where our own connection comes from, which goes behind those of the proxy."""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def begin(self, answers: Sequence[Answer], raw: Answer | None) -> None:
        with self._changed:
            self._script = Script(list(answers), raw)

    @property
    def seen(self) -> list[Message]:
        return self._script.seen

    @property
    def streams(self) -> list[tuple[bytes, End]]:
        return self._script.streams

    @property
    def open_connections(self) -> int:
        return len(self._wires)

    def release(self, name: str) -> None:
        with self._changed:
            self._script.released.add(name)
            self._changed.notify_all()

    def release_all(self) -> None:
        """Hold nothing back any more."""
        with self._changed:
            if not self._script.over:
                self._script.over = True
                self._changed.notify_all()

    def wait_for(self, condition: Callable[["FakeUpstream"], bool]) -> bool:
        """True once the condition holds; False when it did not within the stall time."""
        with self._changed:
            return self._changed.wait_for(lambda: condition(self), STALL_SECONDS)

    def wait_idle(self) -> bool:
        """Whether all that reached the listening socket was served, within the stall time.

        To be asked once the proxy has settled: an exchange that then says nothing more never ends.
        """
        if self._script.raw is not None:
            self._wait_accepted()
        self.wait_for(lambda upstream: upstream._busy == upstream._silent)
        return self._busy == 0

    def _wait_accepted(self) -> None:
        """A proxy may connect and leave before our thread accepts; a connection behind it in the queue tells."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._probe = probe.getsockname()
            probe.connect(("127.0.0.1", self.port))
            self.wait_for(lambda upstream: upstream._probe is None)

    def drop_connections(self) -> None:
        """End every connection, so that an exchange that hangs does not reach into the next case."""
        with self._changed:
            for wire in self._wires:
                wire.abort_reads()
            self._changed.wait_for(lambda: not self._wires, STALL_SECONDS)

    def close(self) -> None:
        self._closed = True
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        self.drop_connections()

    def _accept(self) -> None:
        while not self._closed:
            try:
                sock, peer = self._listener.accept()
            except OSError:
                return
            if peer == self._probe:
                self._end_probe(sock)
                continue
            wire = Wire(sock)
            sock.settimeout(None)
            with self._changed:
                self._wires.add(wire)
                script = self._script
                self._busy += script.raw is not None
            threading.Thread(target=self._serve, args=(wire, script), daemon=True).start()

    def _end_probe(self, sock: socket.socket) -> None:
        sock.close()
        with self._changed:
            self._probe = None
            self._changed.notify_all()

    def _serve(self, wire: Wire, script: Script) -> None:
        try:
            if script.raw is not None:
                self._serve_raw(wire, script, script.raw)
            else:
                while self._serve_request(wire):
                    pass
        except Ended:
            pass
        finally:
            with self._changed:
                self._wires.discard(wire)
                wire.close()
                self._changed.notify_all()

    def _serve_request(self, wire: Wire) -> bool:
        """One exchange; False when the connection is finished."""
        request = read_head(wire)
        with self._changed:
            script = self._script
            script.seen.append(request)
            answer = script.answers.pop(0) if script.answers else OK
            self._busy += 1
            self._changed.notify_all()
        try:
            request.end = End.OPEN
            if BODY not in answer:
                self._read_body(wire, request)
            return self._run(wire, script, answer, request) and request.end is End.COMPLETE
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()

    def _serve_raw(self, wire: Wire, script: Script, program: Answer) -> None:
        request = Message()
        with self._changed:
            script.seen.append(request)
            self._changed.notify_all()
        try:
            if self._run(wire, script, program, request):
                rest, request.end = wire.read_to_end()
                request.body += rest
        finally:
            with self._changed:
                script.streams.append((request.body, request.end))
                self._busy -= 1
                self._changed.notify_all()

    def _run(self, wire: Wire, script: Script, program: Answer, request: Message) -> bool:
        """Run the steps; False when the upstream itself closed, or was told to read on for ever."""
        for step, before in zip(program, (None, *program), strict=False):
            if isinstance(step, bytes):
                if isinstance(before, bytes):
                    time.sleep(PIECE_PACE_SECONDS)
                wire.send(step)
            elif isinstance(step, Read):
                try:
                    request.body += wire.read(step.count)
                except Ended as ended:
                    request.end = ended.end
                    return False
            elif isinstance(step, Hold):
                self.wait_for(lambda _, name=step.name: script.is_released(name))  # type: ignore[misc]
            elif step is READ_END:
                rest, request.end = wire.read_to_end()
                request.body += rest
            elif step is BODY:
                self._read_body(wire, request)
            elif step is RST:
                wire.reset()
                return False
            elif step is FIN:
                wire.finish()
            elif step is NEVER:
                rest, end = self._stay_silent(wire)
                request.body += rest
                request.end = end if request.end is End.OPEN else request.end
                return False
        return wire.end is None or program is script.raw

    def _stay_silent(self, wire: Wire) -> tuple[bytes, End]:
        with self._changed:
            self._silent += 1
            self._changed.notify_all()
        try:
            return wire.read_to_end()
        finally:
            with self._changed:
                self._silent -= 1

    def _read_body(self, wire: Wire, request: Message) -> None:
        request.end = End.COMPLETE
        read_body(wire, request, until_close=False)


class RefusedPort:
    """A port that answers every connect with RST: bound, never listening."""

    def __init__(self) -> None:
        self._sock = socket.socket()
        self._sock.bind(("127.0.0.1", 0))
        self.port: int = self._sock.getsockname()[1]

    def close(self) -> None:
        self._sock.close()


class SilentPort:
    """A port whose accept queue is full: SYNs are dropped, so that a connect never ends."""

    def __init__(self) -> None:
        self._sock = socket.socket()
        self._sock.bind(("127.0.0.1", 0))
        self._sock.listen(0)
        self.port: int = self._sock.getsockname()[1]
        self._fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self.port))
            self._fillers.append(filler)

    def close(self) -> None:
        for filler in self._fillers:
            filler.close()
        self._sock.close()
