"""Runs one case on one proxy: the client's steps, then the wait until the proxy has settled, then the transcript."""

import re
import time
from itertools import pairwise

from tests.differential.case import Asked, Case, Do, Expect, Names, Release, Reply, Send, StatIs, Step, UpstreamSaw
from tests.differential.http2_frames import Frames, Http2Reader
from tests.differential.proxies import ADMIN, CONFIGS, ENVOY, POLL_SECONDS, Proxy
from tests.differential.transcript import Transcript, ignored, message_lines, normalise_times, show
from tests.differential.wire import LENIENT_STALL_SECONDS, STALL_SECONDS, End, Message, Wire, read_response
from tests.name_server import AAAA

BYTE_PACE_SECONDS = 0.0004
"""Between single bytes, so that most of them arrive in a read of their own; no verdict depends on it."""


class Driver:
    """Runs one case on one proxy; `run` then `collect`, in that order."""

    def __init__(self, proxy: Proxy, case: Case) -> None:
        self.proxy = proxy
        self.case = case
        self.transcript = Transcript()
        self._wires: dict[int, Wire] = {}
        self._ends: dict[int, End] = {}
        self._readers: dict[int, Http2Reader] = {}
        self._log_path = proxy.log_path(case.listener)
        self._log_offset = self._log_path.stat().st_size if self._log_path.exists() else 0
        self._pattern = case.stats.replace("LISTENER", case.listener)
        self._before = proxy.stats(self._pattern)
        self._asked_before = 0
        # Where Proxeny refuses what Envoy takes, Envoy often waits for more: that is no answer to wait for.
        lenient = case.stricter and proxy.kind == ENVOY
        self._patience = LENIENT_STALL_SECONDS if lenient else STALL_SECONDS

    # -- driving ------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        for name, upstream in self.proxy.upstreams.items():
            answers = self.case.answers_of.get(name, self.case.answers if name == "up" else ())
            upstream.begin(answers, self.case.raw)
        server = self.proxy.name_server
        if server is not None:
            self._asked_before = len(server.queries)
            server.records.update(self.case.names)
        try:
            for step in self.case.steps:
                self._step(step)
            for on in sorted(self._wires):
                self._ends[on] = self._finish(on)
        finally:
            for wire in self._wires.values():
                wire.close()
        self.transcript.end = self._ends.get(0, End.OPEN)

    def _wire(self, on: int) -> Wire:
        if on not in self._wires:
            address = self.proxy.address_of(self.case.listener + self.case.address)
            self._wires[on] = Wire.connect(address, self.case.source, self._patience)
        return self._wires[on]

    def _step(self, step: Step) -> None:
        if isinstance(step, bytes):
            self._wire(0).send(self.proxy.fill(step))
        elif isinstance(step, Send):
            self._send(step)
        elif isinstance(step, Reply):
            self._note_response(step.on, read_response(self._wire(step.on), head_only=step.head_only))
        elif isinstance(step, Frames):
            self._frames(step)
        elif isinstance(step, Expect):
            self._expect(step)
        elif isinstance(step, UpstreamSaw):
            if not self.proxy.upstreams[step.upstream].wait_for(lambda upstream: len(upstream.seen) >= step.count):
                self._note(f"upstream {step.upstream}: never saw {step.count} requests")
        elif isinstance(step, Release):
            self.proxy.upstreams[step.upstream].release(step.name)
        elif isinstance(step, StatIs):
            self._wait_stat(step)
        elif isinstance(step, Names):
            assert self.proxy.name_server is not None
            self.proxy.name_server.ttl = step.ttl
            self.proxy.name_server.records.update(step.records)
        elif isinstance(step, Asked):
            self._wait_asked(step.name)
        else:
            self._do(step)

    def _send(self, step: Send) -> None:
        wire = self._wire(step.on)
        size = len(step.data)
        cuts = range(1, size) if step.each_byte else step.cuts
        for start, end in pairwise([0, *cuts, size]):
            if not wire.send(step.data[start:end]):
                break
            if end < size:
                time.sleep(BYTE_PACE_SECONDS)

    def _expect(self, step: Expect) -> None:
        wire = self._wire(step.on)
        try:
            data = wire.read(len(step.data))
        except Exception as ended:
            data = wire.take(len(wire.buffer))
            self._note(f"client {step.on} stopped reading: {ended}")
        self._note(f"client {step.on} < {show(data)}")

    def _frames(self, step: Frames) -> None:
        on = step.on
        reader = self._readers.get(on)
        if reader is None:
            reader = self._readers[on] = Http2Reader(self._wire(on))
        for line in reader.read(step):
            self._note(f"client {on} < {line}")
        for number, stream in reader.finished():
            for fields in stream.interim:
                self._note(f"client {on}.{number} < {sorted(fields)}")
            if stream.message.line:
                stream.message.end = End.COMPLETE if stream.ended else End.RST
                self._note_response(f"{on}.{number}", stream.message)
            if stream.reset is not None:
                self._note(f"client {on}.{number} < RST_STREAM {stream.reset}")
        if reader.end is not None:
            self._ends[on] = reader.end

    def _do(self, step: Do) -> None:
        wire = self._wire(step.on)
        if step.name == "fin":
            wire.finish()
        elif step.name == "rst":
            wire.reset()
            self._ends[step.on] = End.CLOSED
        elif step.name == "close":
            wire.close()
        elif step.name == "end":
            self._note_end(step.on)
        else:
            raise ValueError(step.name)

    def _wait_stat(self, step: StatIs) -> None:
        deadline = time.monotonic() + STALL_SECONDS
        name = re.escape(step.name)
        while self.proxy.stats(f"^{name}$").get(step.name) != step.value:
            if time.monotonic() > deadline:
                self._note(f"stat {step.name} never was {step.value}")
                return
            time.sleep(POLL_SECONDS)

    def _asked(self) -> set[tuple[str, int]]:
        """What the name server was asked for in this case; how often depends on the clock."""
        server = self.proxy.name_server
        return set() if server is None else {(query.name, query.kind) for query in server.queries[self._asked_before :]}

    def _wait_asked(self, name: str) -> None:
        deadline = time.monotonic() + STALL_SECONDS
        while name not in {asked for asked, _ in self._asked()}:
            if time.monotonic() > deadline:
                self._note(f"the name server was never asked for {name}")
                return
            time.sleep(POLL_SECONDS)

    def _note_end(self, on: int) -> None:
        data, end = self._wires[on].read_to_end()
        if data:
            self._note(f"client {on} < {show(data)}")
        self._ends[on] = end

    def _finish(self, on: int) -> End:
        """Is the connection open? Shown by another request; a response that says `close` must be followed by one."""
        wire = self._wires[on]
        if on in self._ends:
            return self._ends[on]
        if wire.end is not None:
            return wire.end
        if on in self._readers:
            return End.OPEN
        last = self.transcript.responses[-1] if self.transcript.responses else None
        if last is None or last.closes or last.end is not End.COMPLETE or on != 0:
            if last is None or on != 0:
                return End.OPEN
            self._note_end(on)
            return self._ends[on]
        if self.case.listener == ADMIN:
            wire.send(b"GET /ready HTTP/1.1\r\nHost: alive.test\r\n\r\n")
            alive = read_response(wire)
            return End.OPEN if alive.status == 200 else alive.end
        wire.send(b"GET /alive HTTP/1.1\r\nHost: alive.test\r\n\r\n")
        alive = read_response(wire)
        if alive.status == 200 and alive.body == b"alive":
            return End.OPEN
        if alive.line:
            self._note_response(on, alive)
        return alive.end

    # -- the transcript -----------------------------------------------------------------------------------------------

    def _note(self, line: str) -> None:
        self.transcript.lines.append(self.proxy.normalise(line))

    def _note_response(self, on: int | str, response: Message) -> None:
        self.transcript.responses.append(response)
        for line in message_lines(response):
            self._note(f"client {on} < {line}")

    def collect(self, like: "Driver | None" = None) -> None:
        """Wait until the proxy has settled, then write down upstreams, log and counters."""
        for on, end in sorted(self._ends.items()):
            shown = End.CLOSED if end in (End.FIN, End.RST) and self.case.end not in (End.FIN, End.RST) else end
            self._note(f"client {on} connection: {shown}")
        self._settle()
        self._note_upstreams()
        for name, kind in sorted(self._asked()):
            self._note(f"asked for {name} {'AAAA' if kind == AAAA else 'A'}")
        for line in self._log_lines(like):
            self._note("log " + normalise_times(line))
        self._note_stats(like)

    def _note_upstreams(self) -> None:
        for name, upstream in sorted(self.proxy.upstreams.items()):
            if not upstream.wait_idle():
                self._note(f"upstream {name}: an exchange never ended")
                upstream.drop_connections()
            self.transcript.requests += len(upstream.seen)
            for seen in list(upstream.seen):
                for line in message_lines(seen) if seen.line else ():
                    self._note(f"upstream {name} > {line}")
            for data, end in sorted(upstream.streams):
                self._note(f"upstream {name} > {show(data)} then {end}")

    def _settle(self) -> None:
        if self.case.listener != ADMIN:
            self._wait_settled()

    def _wait_settled(self) -> None:
        """No active request or connection downstream, and the upstream connections that both ends agree on."""
        deadline = time.monotonic() + STALL_SECONDS
        named = rf"^(http|tcp|listener)\.{self.case.listener}\.downstream_(rq|cx)_active"
        # A listener without a filter that counts is known by its address.
        gauges = rf"({named}|^listener\.\d.*\.downstream_cx_active|\.upstream_(cx|rq)_active)$"
        while time.monotonic() < deadline:
            values = self.proxy.stats(gauges)
            held = sum(value for name, value in values.items() if name.endswith(".upstream_cx_active"))
            rest = sum(value for name, value in values.items() if not name.endswith(".upstream_cx_active"))
            if rest == 0 and self._open_upstreams() == held:
                return
            time.sleep(POLL_SECONDS)
        self._note(f"never settled: {values}")

    def _open_upstreams(self) -> int:
        """Connections at the upstreams' end; nobody asks any more, so that answers held back need not be."""
        for upstream in self.proxy.upstreams.values():
            upstream.release_all()
        return sum(upstream.open_connections for upstream in self.proxy.upstreams.values())

    def _log_lines(self, like: "Driver | None") -> list[str]:
        """The lines this case wrote; as many as the reference side has, or one per request that this side counted."""
        wanted = like.log_count if like is not None else self._counted()
        deadline = time.monotonic() + STALL_SECONDS / 2
        while True:
            text = b""
            if self._log_path.exists():
                with self._log_path.open("rb") as log:
                    log.seek(self._log_offset)
                    text = log.read()
            lines = text.decode("latin-1").splitlines()
            if (len(lines) >= wanted and (not text or text.endswith(b"\n"))) or time.monotonic() > deadline:
                self.log_count = len(lines)
                return lines
            time.sleep(POLL_SECONDS)

    def _counted(self) -> int:
        if self.case.logged is not None:
            return self.case.logged
        if "{{log:" + self.case.listener + "}}" not in (CONFIGS / f"{self.case.config}.yaml").read_text():
            return 0
        now = self.proxy.stats(self._pattern)
        names = [f"http.{self.case.listener}.downstream_rq_total", f"tcp.{self.case.listener}.downstream_cx_total"]
        return self.case.lines_per_request * sum(now.get(name, 0) - self._before.get(name, 0) for name in names)

    def _moved(self) -> list[str]:
        """Every compared counter's step during this case (gauges end where they began)."""
        lines = []
        for name, value in self.proxy.stats(self._pattern).items():
            step = value - self._before.get(name, 0)
            if step:
                line = self.proxy.normalise(f"stat {step:+d} " + re.sub(r"(127\.0\.0\.1|\.test)_(\d+)", r"\1:\2", name))
                if not ignored(self.case, line):
                    lines.append(line)
        return sorted(lines, key=lambda line: line.split(" ")[2])

    def _note_stats(self, like: "Driver | None") -> None:
        moves = self._moved()
        if like is not None:
            deadline = time.monotonic() + STALL_SECONDS / 4
            while moves != like.moves and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS * 4)
                moves = self._moved()
        self.moves = moves
        for line in moves:
            self._note(line)
