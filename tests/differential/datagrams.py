"""Differential cases over UDP: the same datagrams to Envoy and to Proxeny, and transcripts that must be equal.

A transcript holds what each client received and from where, what the upstreams saw in which session, the access log,
and how far each statistic moved. Ports differ between the two sides: those of clients and sessions become numbers.
"""

import re
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.differential.datagram_upstream import Respond, echo
from tests.differential.harness import Pair
from tests.differential.proxies import POLL_SECONDS, Proxy
from tests.differential.transcript import normalise_times, show, side_by_side
from tests.differential.wire import STALL_SECONDS


@dataclass(frozen=True, slots=True)
class Datagram:
    """A client sends; `on` numbers clients, `to` is another address of the listener's port."""

    data: bytes
    on: int = 0
    to: str = ""
    address: str = ""
    """`+1` for the listener's first additional address."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A client receives one datagram."""

    on: int = 0


@dataclass(frozen=True, slots=True)
class Unasked:
    """The upstream sends to the session that spoke last."""

    data: bytes
    upstream: str = "up"


@dataclass(frozen=True, slots=True)
class Saw:
    """Wait until an upstream saw so many datagrams."""

    count: int = 1
    upstream: str = "up"


@dataclass(frozen=True, slots=True)
class Moved:
    """Wait until a statistic has moved by so much in this case; LISTENER stands for the listener's name."""

    name: str
    by: int = 1


Step = bytes | Datagram | Answer | Unasked | Saw | Moved
STATS = (
    r"^(udp\.|dns_filter\.|listener\..*\.udp\."
    r"|cluster\.\w+\.(udp|upstream_cx_(rx|tx)_bytes_total|upstream_cx_(overflow|none_healthy|total|active)))"
)


@dataclass(frozen=True)
class DatagramCase:
    """One case; bytes in `steps` are a datagram of client 0 and its answer."""

    name: str
    steps: Sequence[Step]
    listener: str = "main"
    respond: Respond = echo
    show: Callable[[bytes], str] = show
    """How an answer is written into the transcript."""
    logged: int = 0
    """Lines of the access log to wait for."""
    contains: tuple[str, ...] = ()
    """Regexes that both transcripts must hold."""
    ignore: tuple[str, ...] = ()
    """Regexes of lines that are not compared."""
    config: str = "udp"


class Driver:
    """Runs one case on one proxy; its transcript is `lines`."""

    def __init__(self, proxy: Proxy, case: DatagramCase) -> None:
        self.proxy = proxy
        self.case = case
        self.lines: list[str] = []
        self._clients: dict[int, socket.socket] = {}
        self._log_path = proxy.log_path(case.listener)
        self._log_offset = self._log_path.stat().st_size if self._log_path.exists() else 0
        self._before = proxy.stats(STATS)

    def run(self) -> None:
        for name, upstream in self.proxy.datagram_upstreams.items():
            upstream.begin(self.case.respond if name in ("up", "dns") else echo)
        try:
            for step in self.case.steps:
                self._step(step)
            self._collect()
        finally:
            for client in self._clients.values():
                client.close()

    def _step(self, step: Step) -> None:
        if isinstance(step, bytes):
            self._send(Datagram(step))
            self._receive(0)
        elif isinstance(step, Datagram):
            self._send(step)
        elif isinstance(step, Answer):
            self._receive(step.on)
        elif isinstance(step, Unasked):
            self.proxy.datagram_upstreams[step.upstream].send_to_last(step.data)
        elif isinstance(step, Saw):
            upstream = self.proxy.datagram_upstreams[step.upstream]
            self._wait(lambda: len(upstream.seen) >= step.count, f"upstream {step.upstream} saw {step.count}")
        else:
            name = step.name.replace("LISTENER", self.case.listener)
            self._wait(lambda: self._move_of(name) == step.by, f"{name} moved by {step.by}")

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + STALL_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                self.lines.append(f"never: {what}")
                return
            time.sleep(POLL_SECONDS)

    def _move_of(self, name: str) -> int:
        return self.proxy.stats(f"^{re.escape(name)}$").get(name, 0) - self._before.get(name, 0)

    def _client(self, on: int, family: int) -> socket.socket:
        if on not in self._clients:
            made = self._clients[on] = socket.socket(family, socket.SOCK_DGRAM)
            made.settimeout(STALL_SECONDS)
            made.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        return self._clients[on]

    def _send(self, step: Datagram) -> None:
        host, port = self.proxy.listeners[self.case.listener + step.address]
        to = step.to or str(host)
        family = socket.AF_INET6 if ":" in to else socket.AF_INET
        self._client(step.on, family).sendto(step.data, (to, int(port)))

    def _receive(self, on: int) -> None:
        try:
            data, source = self._clients[on].recvfrom(65536)
        except TimeoutError:
            self.lines.append(f"client {on} < nothing")
            return
        shown = self.proxy.normalise(f"{source[0]}:{source[1]}")
        self.lines.append(f"client {on} < {self.case.show(data)} from {shown}")

    def _collect(self) -> None:
        sessions: dict[int, int] = {}
        for name, upstream in sorted(self.proxy.datagram_upstreams.items()):
            for data, (host, port) in list(upstream.seen) if name != "dns" else ():
                number = sessions.setdefault(port, len(sessions))
                self.lines.append(f"upstream {name} > {show(data)} from {host}, session {number}")
        names = {f":{port}": f":<session {number}>" for port, number in sessions.items()}
        names |= {f":{client.getsockname()[1]}": f":<client {on}>" for on, client in self._clients.items()}
        for line in self._log_lines():
            line = self.proxy.normalise(normalise_times(line))
            for port, shown in names.items():
                line = line.replace(port, shown)
            self.lines.append(f"log {line}")

    def _log_lines(self) -> list[str]:
        lines: list[str] = []

        def complete() -> bool:
            text = b""
            if self._log_path.exists():
                with self._log_path.open("rb") as log:
                    log.seek(self._log_offset)
                    text = log.read()
            lines[:] = text.decode("latin-1").splitlines()
            return len(lines) >= self.case.logged and (not text or text.endswith(b"\n"))

        self._wait(complete, f"{self.case.logged} log lines")
        return lines

    def moves(self) -> list[str]:
        """How far each statistic has moved."""
        found = []
        for name, value in self.proxy.stats(STATS).items():
            step = value - self._before.get(name, 0)
            if step:
                shown = re.sub(r"((?:127\.0\.0\.1|0\.0\.0\.0))_(\d+)", r"\1:\2", name)
                found.append(f"stat {step:+d} {self.proxy.normalise(shown)}")
        return sorted(found, key=lambda line: line.split(" ")[2])

    def compared(self) -> list[str]:
        return [line for line in self.lines if not any(re.search(pattern, line) for pattern in self.case.ignore)]


class DatagramPair(Pair):
    """Envoy and Proxeny on one configuration of UDP listeners."""

    def check_datagrams(self, case: DatagramCase) -> None:
        """Run the case on both sides; fails with both transcripts where they differ."""
        if self.error is not None:
            pytest.fail(f"config {case.config!r} does not run: {self.error}", pytrace=False)
        envoy, proxeny = drivers = [Driver(side, case) for side in self.sides]
        for done in [self._pool.submit(driver.run) for driver in drivers]:
            done.result()
        self._compare_stats(envoy, proxeny)
        problems = [
            f"{driver.proxy.kind}: nothing matches {pattern!r}"
            for driver in drivers
            for pattern in case.contains
            if not re.search(pattern, "\n".join(driver.lines), re.M)
        ]
        if envoy.compared() != proxeny.compared():
            problems.append("the transcripts differ")
        problems += [f"{side.kind} died:\n{side.log_tail()}" for side in self.sides if not side.alive()]
        if self.sides[1].stats("^server.worker_restarts$").get("server.worker_restarts", 0):
            problems.append(f"proxeny lost a worker:\n{self.sides[1].log_tail()}")
        if problems:
            table = side_by_side(envoy.compared(), proxeny.compared())
            pytest.fail("\n".join([f"{case.config}/{case.listener}: {case.name}", *problems, *table]), pytrace=False)

    def _compare_stats(self, envoy: Driver, proxeny: Driver) -> None:
        """What both count may come a moment later than what they do."""
        deadline = time.monotonic() + STALL_SECONDS / 4
        while (moves := (envoy.moves(), proxeny.moves()))[0] != moves[1] and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS * 4)
        envoy.lines += moves[0]
        proxeny.lines += moves[1]


class DatagramPairs:
    """All pairs of a test module, started on first use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pool = ThreadPoolExecutor(4)
        self._pairs: dict[str, DatagramPair] = {}

    def check(self, case: DatagramCase) -> None:
        if case.config not in self._pairs:
            self._pairs[case.config] = DatagramPair(case.config, self._folder / case.config, self._pool)
        self._pairs[case.config].check_datagrams(case)

    def close(self) -> None:
        for pair in self._pairs.values():
            pair.close()
        self._pool.shutdown()
