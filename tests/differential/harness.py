"""The differential test: one case, driven with the same bytes through Envoy and through Proxeny, gives one transcript each.

A transcript is a list of lines: what the client read and how its connections ended, what the upstreams saw, the access
log, and by how much each counter moved. Everything that may differ between two runs of one proxy is normalised; the
rest must be equal. A case also states its own expectation, which is asserted on both sides, so that two proxies that
fail in the same way are not taken for agreement.
"""

import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import zip_longest
from pathlib import Path

import pytest

from tests.differential.proxies import CONFIGS, ENVOY, POLL_SECONDS, PROXENY, Proxy
from tests.differential.upstream import Answer
from tests.differential.wire import STALL_SECONDS, End, Message, Wire, read_response

BYTE_PACE_SECONDS = 0.0004
"""Between single bytes, so that most of them arrive in a read of their own; no verdict depends on it."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Read one response."""

    on: int = 0
    head_only: bool = False


@dataclass(frozen=True, slots=True)
class Send:
    """Send on another connection than the first, or byte by byte."""

    data: bytes
    on: int = 0
    each_byte: bool = False


@dataclass(frozen=True, slots=True)
class Expect:
    """Raw: read as many bytes as this has; they go into the transcript."""

    data: bytes
    on: int = 0


@dataclass(frozen=True, slots=True)
class UpstreamSaw:
    """Wait until an upstream saw this many requests (raw upstream: connections)."""

    count: int = 1
    upstream: str = "up"


@dataclass(frozen=True, slots=True)
class Release:
    """Let an upstream's `Hold` go on."""

    name: str = "hold"
    upstream: str = "up"


@dataclass(frozen=True, slots=True)
class Do:
    """Client connection: `fin`, `rst`, `close`, `end` (read up to the end)."""

    name: str
    on: int = 0


@dataclass(frozen=True, slots=True)
class StatIs:
    """Wait until a stat has this value."""

    name: str
    value: int


Step = bytes | Reply | Send | Expect | UpstreamSaw | Release | Do | StatIs


@dataclass(frozen=True)
class Case:
    """One differential case; `steps` is the client's program, `answers` the upstream's."""

    name: str
    steps: Sequence[Step]
    config: str = "http"
    listener: str = "main"
    answers: Sequence[Answer] = ()
    raw: Answer | None = None
    answers_of: dict[str, Sequence[Answer]] = field(default_factory=dict)
    status: int | tuple[int, ...] | None = None
    body: bytes | None = None
    end: End | None = None
    """How the first connection stands at the end; `CLOSED` is FIN or RST."""
    forwarded: int | None = None
    """How many requests reached the upstreams."""
    log: str = ""
    """Text that a line of the access log must hold."""
    contains: tuple[str, ...] = ()
    """Regexes, each of which must be found in the transcript."""
    ignore: tuple[str, ...] = ()
    """Regexes of transcript lines that are not compared."""
    exact: str = ""
    """Regex of stat lines to compare although pooling may move them from case to case."""
    stats: str = r"^(http\.LISTENER\.|tcp\.LISTENER\.|cluster\.|listener\.127)"
    stricter: str = ""
    """Why Proxeny may refuse here what Envoy lets pass: then only safety is asserted for it."""


def request(*data: bytes, head_only: bool = False) -> tuple[Step, ...]:
    """Send a request, read its response."""
    return (*data, Reply(head_only=head_only))


@dataclass(slots=True)
class Transcript:
    """What one side did."""

    responses: list[Message] = field(default_factory=list)
    end: End = End.OPEN
    requests: int = 0
    lines: list[str] = field(default_factory=list)


class Driver:
    """Runs one case on one proxy; `run` then `collect`, in that order."""

    def __init__(self, proxy: Proxy, case: Case) -> None:
        self.proxy = proxy
        self.case = case
        self.transcript = Transcript()
        self._wires: dict[int, Wire] = {}
        self._ends: dict[int, End] = {}
        self._log_path = proxy.log_path(case.listener)
        self._log_offset = self._log_path.stat().st_size if self._log_path.exists() else 0
        self._pattern = case.stats.replace("LISTENER", case.listener)
        self._before = proxy.stats(self._pattern)

    # -- driving ------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        for name, upstream in self.proxy.upstreams.items():
            answers = self.case.answers_of.get(name, self.case.answers if name == "up" else ())
            upstream.begin(answers, self.case.raw)
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
            self._wires[on] = Wire.connect(self.proxy.listeners[self.case.listener])
        return self._wires[on]

    def _step(self, step: Step) -> None:
        if isinstance(step, bytes):
            self._wire(0).send(step)
        elif isinstance(step, Send):
            self._send(step)
        elif isinstance(step, Reply):
            self._note_response(step.on, read_response(self._wire(step.on), head_only=step.head_only))
        elif isinstance(step, Expect):
            self._expect(step)
        elif isinstance(step, UpstreamSaw):
            if not self.proxy.upstreams[step.upstream].wait_for(lambda upstream: len(upstream.seen) >= step.count):
                self._note(f"upstream {step.upstream}: never saw {step.count} requests")
        elif isinstance(step, Release):
            self.proxy.upstreams[step.upstream].release(step.name)
        elif isinstance(step, StatIs):
            self._wait_stat(step)
        else:
            self._do(step)

    def _send(self, step: Send) -> None:
        wire = self._wire(step.on)
        if not step.each_byte:
            wire.send(step.data)
            return
        for position in range(len(step.data)):
            if not wire.send(step.data[position : position + 1]):
                break
            time.sleep(BYTE_PACE_SECONDS)

    def _expect(self, step: Expect) -> None:
        wire = self._wire(step.on)
        try:
            data = wire.read(len(step.data))
        except Exception as ended:
            data = wire.take(len(wire.buffer))
            self._note(f"client {step.on} stopped reading: {ended}")
        self._note(f"client {step.on} < {_show(data)}")

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

    def _note_end(self, on: int) -> None:
        data, end = self._wires[on].read_to_end()
        if data:
            self._note(f"client {on} < {_show(data)}")
        self._ends[on] = end

    def _finish(self, on: int) -> End:
        """Is the connection open? Shown by another request; a response that says `close` must be followed by one."""
        wire = self._wires[on]
        if on in self._ends:
            return self._ends[on]
        if wire.end is not None:
            return wire.end
        last = self.transcript.responses[-1] if self.transcript.responses else None
        if last is None or last.closes or last.end is not End.COMPLETE or on != 0:
            if last is None or on != 0:
                return End.OPEN
            self._note_end(on)
            return self._ends[on]
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

    def _note_response(self, on: int, response: Message) -> None:
        self.transcript.responses.append(response)
        for line in _message_lines(response):
            self._note(f"client {on} < {line}")

    def collect(self, like: "Driver | None" = None) -> None:
        """Wait until the proxy has settled, then write down upstreams, log and counters."""
        for on, end in sorted(self._ends.items()):
            shown = End.CLOSED if end in (End.FIN, End.RST) and self.case.end not in (End.FIN, End.RST) else end
            self._note(f"client {on} connection: {shown}")
        self._settle()
        self._note_upstreams()
        for line in self._log_lines(like):
            self._note(f"log {line}")
        self._note_stats(like)

    def _note_upstreams(self) -> None:
        for name, upstream in sorted(self.proxy.upstreams.items()):
            if not upstream.wait_idle():
                self._note(f"upstream {name}: an exchange never ended")
                upstream.drop_connections()
            self.transcript.requests += len(upstream.seen)
            for seen in list(upstream.seen):
                for line in _message_lines(seen) if seen.line else ():
                    self._note(f"upstream {name} > {line}")
            for data, end in sorted(upstream.streams):
                self._note(f"upstream {name} > {_show(data)} then {end}")

    def _settle(self) -> None:
        """No active request or connection downstream, and the upstream connections that both ends agree on."""
        deadline = time.monotonic() + STALL_SECONDS
        gauges = rf"(^(http|tcp)\.{self.case.listener}\.downstream_(rq|cx)_active|\.upstream_(cx|rq)_active)$"
        while time.monotonic() < deadline:
            values = self.proxy.stats(gauges)
            held = sum(value for name, value in values.items() if name.endswith(".upstream_cx_active"))
            rest = sum(value for name, value in values.items() if not name.endswith(".upstream_cx_active"))
            if rest == 0 and held == sum(up.open_connections for up in self.proxy.upstreams.values()):
                return
            time.sleep(POLL_SECONDS)
        self._note(f"never settled: {values}")

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
        if "{{log:" + self.case.listener + "}}" not in (CONFIGS / f"{self.case.config}.yaml").read_text():
            return 0
        now = self.proxy.stats(self._pattern)
        names = [f"http.{self.case.listener}.downstream_rq_total", f"tcp.{self.case.listener}.downstream_cx_total"]
        return sum(now.get(name, 0) - self._before.get(name, 0) for name in names)

    def _moved(self) -> list[str]:
        """Every compared counter's step during this case (gauges end where they began)."""
        lines = []
        for name, value in self.proxy.stats(self._pattern).items():
            step = value - self._before.get(name, 0)
            if step:
                line = self.proxy.normalise(f"stat {step:+d} " + re.sub(r"(127\.0\.0\.1)_(\d+)", r"\1:\2", name))
                if not _ignored(self.case, line):
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


def _show(data: bytes) -> str:
    if len(data) > 400:
        return f"{len(data)} bytes, {data[:60]!r}...{data[-20:]!r}"
    return repr(data)[1:]


_VOLATILE = {
    b"date": (re.compile(rb"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT"), b"<date>"),
    b"x-request-id": (re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), b"<uuid>"),
    b"x-envoy-upstream-service-time": (re.compile(rb"\d+"), b"<ms>"),
    b"x-envoy-expected-rq-timeout-ms": (re.compile(rb"\d+"), b"<ms>"),
}


def _message_lines(message: Message) -> Iterator[str]:
    """Headers sorted by name: their order among different names carries no meaning."""
    yield _show(message.line)
    for prefix, fields in (("", message.headers), ("trailer ", message.trailers)):
        for name, value in sorted(fields, key=lambda pair: pair[0]):
            pattern, mark = _VOLATILE.get(name, (None, b""))
            shown = mark if pattern is not None and pattern.fullmatch(value) else value
            yield f"  {prefix}{name.decode('latin-1')}: {shown.decode('latin-1')}"
    yield f"  body {_show(message.body)} {message.end}"


# -- two sides ------------------------------------------------------------------------------------------------------------


class Pair:
    """Envoy and Proxeny on one configuration, started together and kept for many cases."""

    def __init__(self, config: str, folder: Path, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        template = (CONFIGS / f"{config}.yaml").read_text()
        starts = [pool.submit(Proxy, kind, template, folder / kind) for kind in (ENVOY, PROXENY)]
        self.error: BaseException | None = next((error for start in starts if (error := start.exception())), None)
        self.sides = [start.result() for start in starts if start.exception() is None]

    def check(self, case: Case) -> None:
        """Run the case on both sides; AssertionError with both transcripts where they differ."""
        if self.error is not None:
            pytest.fail(f"config {case.config!r} does not run: {self.error}", pytrace=False)
        envoy, proxeny = (Driver(side, case) for side in self.sides)
        for done in [self._pool.submit(driver.run) for driver in (envoy, proxeny)]:
            done.result()
        envoy.collect()
        proxeny.collect(like=envoy)
        problems = [f"envoy: {text}" for text in expectation_failures(case, envoy.transcript)]
        if case.stricter:
            problems += safety_failures(envoy.transcript, proxeny.transcript)
        else:
            problems += [f"proxeny: {text}" for text in expectation_failures(case, proxeny.transcript)]
            if _compared(case, envoy.transcript) != _compared(case, proxeny.transcript):
                problems.append("the transcripts differ")
        problems += [f"{side.kind} died:\n{side.log_tail()}" for side in self.sides if not side.alive()]
        if self.sides[1].stats("^server.worker_restarts$").get("server.worker_restarts", 0):
            problems.append(f"proxeny lost a worker:\n{self.sides[1].log_tail()}")
        if problems:
            table = side_by_side(_compared(case, envoy.transcript), _compared(case, proxeny.transcript))
            pytest.fail("\n".join([f"{case.config}/{case.listener}: {case.name}", *problems, *table]), pytrace=False)

    def close(self) -> None:
        for side in self.sides:
            side.close()


_POOL_STATS = re.compile(
    r"^stat \S+ (\S+_bytes_buffered|\S+\.downstream_cx_tx_bytes_total|cluster\.\w+\.upstream_cx_"
    r"(total|active|http1_total|destroy|destroy_local|destroy_remote|[rt]x_bytes_total|max_requests|connect_attempts.*))$"
)
"""How many upstream connections a case meets depends on the cases before it; digits of times change byte counts."""


def _ignored(case: Case, line: str) -> bool:
    if any(re.search(pattern, line) for pattern in case.ignore):
        return True
    return bool(_POOL_STATS.match(line)) and not (case.exact and re.search(case.exact, line))


def _compared(case: Case, transcript: Transcript) -> list[str]:
    return [line for line in transcript.lines if not _ignored(case, line)]


def expectation_failures(case: Case, transcript: Transcript) -> list[str]:
    """What the case itself expects, and did not get."""
    failures = []
    statuses = tuple(response.status for response in transcript.responses)
    if case.status is not None:
        wanted = case.status if isinstance(case.status, tuple) else (case.status,)
        _expect(failures, "status", wanted, statuses)
    if case.body is not None:
        _expect(failures, "body", case.body, transcript.responses[-1].body if transcript.responses else None)
    if case.end is not None:
        end = transcript.end
        _expect(failures, "end", case.end, End.CLOSED if case.end is End.CLOSED and end in (End.FIN, End.RST) else end)
    if case.forwarded is not None:
        _expect(failures, "forwarded", case.forwarded, transcript.requests)
    if case.log and not any(case.log in line for line in transcript.lines if line.startswith("log ")):
        failures.append(f"no log line with {case.log!r}")
    text = "\n".join(transcript.lines)
    failures += [f"nothing matches {pattern!r}" for pattern in case.contains if not re.search(pattern, text, re.M)]
    return failures


def _expect(failures: list[str], what: str, wanted: object, got: object) -> None:
    if wanted != got:
        failures.append(f"{what} {wanted!r} expected, got {got!r}")


def safety_failures(envoy: Transcript, proxeny: Transcript) -> list[str]:
    """A stricter verdict: as Envoy, or refused (4xx, 5xx, or closed without an answer); never more requests forwarded."""
    failures = []
    same = [response.status for response in envoy.responses] == [response.status for response in proxeny.responses]
    last = proxeny.responses[-1] if proxeny.responses else Message(end=proxeny.end)
    refused = last.status >= 400 or last.end in (End.FIN, End.RST)
    if not (same or refused):
        failures.append(f"proxeny: neither Envoy's verdict nor a refusal: {last.line!r}")
    if proxeny.requests > envoy.requests:
        failures.append(f"proxeny: {proxeny.requests} requests reached the upstream, Envoy's let {envoy.requests} through")
    return failures


def side_by_side(left: list[str], right: list[str]) -> list[str]:
    """Both transcripts in columns, aligned; `!` marks what only one side has."""
    width = 78
    rows = [f"  {'ENVOY':<{width}} | PROXENY"]
    for what, a, b, c, d in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        mark = " " if what == "equal" else "!"
        rows += [
            f"{mark} {one:<{width}} | {other}" for one, other in zip_longest(left[a:b], right[c:d], fillvalue="")
        ]
    return rows


class Pairs:
    """All pairs of a test session, started on first use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pool = ThreadPoolExecutor(4)
        self._pairs: dict[str, Pair] = {}

    def check(self, case: Case) -> None:
        if case.config not in self._pairs:
            self._pairs[case.config] = Pair(case.config, self._folder / case.config, self._pool)
        self._pairs[case.config].check(case)

    def close(self) -> None:
        for pair in self._pairs.values():
            pair.close()
        self._pool.shutdown()


def case_id(case: Case) -> str:
    return case.name
