"""`python -m benchmarks.updates`: what updates from a control plane cost the requests that a proxy serves meanwhile.

wrk sends half of what saturates the proxy, in turns while nothing changes and while the control plane sends updates:
endpoints, routes of 10,000 entries, other listeners, secrets, or all of them. What counts: requests that failed, p99
with updates against p99 without, the longest turn of a worker's loop (`loop_duration_us`), memory.
"""

import argparse
import http.client
import json
import re
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.configs import make_upstream
from benchmarks.load import run_wrk
from benchmarks.processes import POLL_SECONDS, BenchmarkError, Peer, free_ports
from benchmarks.xds_world import World, bootstrap, proxy
from proxeny.testing.xds import ControlPlane

KINDS = ("endpoints", "routes", "listeners", "secrets", "all")
CONNECTIONS = 64
PATH = "/r5000/x"
MOST_P99 = 1.5
LONGEST_STALL_US = 5000


@dataclass(slots=True)
class Phase:
    """What one round of load saw."""

    requests: int = 0
    failure: str = ""
    p50: float = 0.0
    p99: float = 0.0
    stalls: dict[float, int] = field(default_factory=dict)
    """How many turns of workers' loops took longer than so many microseconds."""


@dataclass(slots=True)
class Outcome:
    """Of one kind of updates."""

    quiet: list[Phase] = field(default_factory=list)
    busy: list[Phase] = field(default_factory=list)
    updates: int = 0
    memory: list[float] = field(default_factory=list)


class Rig:
    """A proxy under load and its control plane."""

    def __init__(self, name: str, folder: Path, workers: int) -> None:
        self.folder = folder
        self.admin, *ports, first, second = free_ports(6)
        self._upstreams = []
        for number, port in enumerate((first, second)):
            below = folder / f"upstream{number}"
            below.mkdir(mode=0o777)
            self._upstreams.append(make_upstream(port, below))
        self.plane = ControlPlane()
        self.world = World(self.plane, ports, [first, second])
        config = folder / f"{name}.json"
        config.write_text(json.dumps(bootstrap(self.plane.port, self.admin)))
        self.peer: Peer = proxy(name, config, self.admin, workers)
        self.url = f"http://127.0.0.1:{self.world.port}{PATH}"

    def start(self) -> None:
        for upstream in self._upstreams:
            upstream.start()
            upstream.wait_serving(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        self.peer.start()
        serving = Peer("listener", [], self.world.port, self.folder, process=self.peer.process)
        serving.started = self.peer.started
        (self.folder / "listener.log").touch()
        serving.wait_serving(f"GET {PATH} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())

    def close(self) -> None:
        for peer in (self.peer, *self._upstreams):
            peer.stop()
        self.plane.close()

    def get(self, path: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=60)
        connection.request("GET", path)
        text = connection.getresponse().read().decode()
        connection.close()
        return text

    def _loop_durations(self) -> str:
        return self.get("/stats?histogram_buckets=disjoint&filter=worker_.*loop_duration_us")

    def stalls(self) -> dict[float, int]:
        """Turns of all workers' loops so far that took longer than each bound."""
        # Workers always turn: once other numbers are shown twice, all turns until now are among them.
        text = before = self._loop_durations()
        for _ in range(2):
            while text == before:
                time.sleep(POLL_SECONDS)
                text = self._loop_durations()
            before = text
        counts: dict[float, int] = {}
        for bound, count in re.findall(r"B([\d.e+]+)\(\d+,(\d+)\)", text):
            counts[float(bound)] = counts.get(float(bound), 0) + int(count)
        return {bound: sum(count for upper, count in counts.items() if upper > bound) for bound in counts}


def load(rig: Rig, seconds: float, delay_ms: tuple[int, int]) -> Phase:
    """One round of wrk; every connection rests between its requests for so many milliseconds."""
    script = rig.folder / "delay.lua"
    script.write_text(f"function delay() return math.random({delay_ms[0]}, {delay_ms[1]}) end\n")
    before = rig.stalls()
    phase = Phase()
    try:
        seen = run_wrk(rig.url, CONNECTIONS, seconds, script=script)
        phase.requests, phase.p50, phase.p99 = seen.requests, seen.p50, seen.p99
    except BenchmarkError as error:
        phase.failure = str(error)
    after = rig.stalls()
    phase.stalls = {bound: count - before.get(bound, 0) for bound, count in after.items()}
    return phase


@contextmanager
def updates(rig: Rig, kind: str, interval_s: float) -> Iterator[list[int]]:
    """Changes one after the other meanwhile; their number at the end."""
    ends = threading.Event()
    count = [0]

    def run() -> None:
        due = time.monotonic()
        while not ends.wait(max(0.0, due - time.monotonic())):
            rig.world.change(kind)
            count[0] += 1
            due += interval_s

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield count
    finally:
        ends.set()
        thread.join()


def resting(rig: Rig) -> tuple[int, int]:
    """How long connections rest between requests for half of what saturates the proxy."""
    most = run_wrk(rig.url, CONNECTIONS, 3).per_second
    mean = CONNECTIONS / (most / 2) * 1000
    print(f"  saturated at {most:,.0f} requests/s; each of {CONNECTIONS} connections rests {mean:.1f} ms", flush=True)
    return max(0, round(mean * 0.5)), max(1, round(mean * 1.5))


def measure(name: str, kinds: list[str], args: argparse.Namespace) -> dict[str, Outcome]:
    with tempfile.TemporaryDirectory(prefix="proxeny-bench-") as path:
        folder = Path(path)
        folder.chmod(0o777)
        rig = Rig(name, folder, args.workers)
        outcomes: dict[str, Outcome] = {}
        try:
            rig.start()
            run_wrk(rig.url, CONNECTIONS, 1)
            delay = resting(rig)
            for kind in kinds:
                outcomes[kind] = one = Outcome()
                for _ in range(args.rounds):
                    one.memory.append(rig.peer.memory()[1])
                    one.quiet.append(load(rig, args.seconds, delay))
                    with updates(rig, kind, 1 / args.rate) as count:
                        one.busy.append(load(rig, args.seconds, delay))
                    one.updates += count[0]
                one.memory.append(rig.peer.memory()[1])
        finally:
            rig.close()
    return outcomes


def slow_turns(phases: list[Phase]) -> str:
    return " / ".join(
        [str(sum(phase.stalls.get(float(bound), 0) for phase in phases)) for bound in (2000, LONGEST_STALL_US, 10_000)]
    )


def show(name: str, outcomes: dict[str, Outcome]) -> bool:
    """Print a table; whether all goals were reached."""
    good = True
    print(name)
    print(
        "| updates | sent | requests | failed | p99, ms | with updates | ratio | turns > 2 / 5 / 10 ms | with | PSS |"
    )
    print("|---" * 10 + "|")
    for kind, one in outcomes.items():
        quiet = statistics.median(phase.p99 for phase in one.quiet)
        busy = statistics.median(phase.p99 for phase in one.busy)
        phases = [*one.quiet, *one.busy]
        failures = [phase.failure for phase in phases if phase.failure]
        cells = [
            kind,
            f"{one.updates}",
            f"{sum(phase.requests for phase in phases):,}",
            "; ".join(failures) or "0",
            f"{quiet:.2f}",
            f"{busy:.2f}",
            f"{busy / quiet if quiet else 0:.2f}",
            slow_turns(one.quiet),
            slow_turns(one.busy),
            f"{one.memory[0]:.0f} -> {one.memory[-1]:.0f} MB",
        ]
        print(f"| {' | '.join(cells)} |", flush=True)
        good = good and not failures and busy <= MOST_P99 * quiet
    return good


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.updates", description=__doc__)
    parser.add_argument("--kind", action="append", choices=KINDS, help="of updates; may be repeated (all of them)")
    parser.add_argument("--only", default="envoy,proxeny", help="proxies, separated by commas")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4, help="of load, without updates and with them, per round")
    parser.add_argument("--rate", type=float, default=10, help="updates per second")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--check", action="store_true", help="fail where Proxeny misses a goal")
    args = parser.parse_args(arguments)
    good = True
    for name in args.only.split(","):
        reached = show(name, measure(name, args.kind or list(KINDS), args))
        good = good and (reached or name != "proxeny")
    return 1 if args.check and not good else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
