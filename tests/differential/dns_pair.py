"""Envoy and Proxeny beside name servers of the test's own: each side has a name server and an upstream of its own.

A case is a function that does the same things on a side and writes down what it sees.

Marks besides those of `proxies`: `{{dns}}` the port of the name server, `{{spread}}` that of the upstream.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.differential.proxies import CONFIGS, ENVOY, POLL_SECONDS, PROXENY, Proxy
from tests.differential.transcript import normalise_times, side_by_side
from tests.differential.wire import STALL_SECONDS, Wire, read_response
from tests.name_server import Fault, NameServer
from tests.spread_upstream import SpreadUpstream

Records = Mapping[str, Sequence[str] | Fault]


class Side(Proxy):
    """One proxy, its name server and its upstream."""

    def __init__(self, kind: str, config: str, folder: Path, records: Records, aliases: Mapping[str, str]) -> None:
        self.server = NameServer(dict(records), dict(aliases))
        self.spread = SpreadUpstream()
        self._wires: list[Wire] = []
        self._log_offset = 0
        self.lines: list[str] = []
        super().__init__(kind, (CONFIGS / f"{config}.yaml").read_text(), folder)
        self.names[f":{self.spread.port}"] = ":<spread>"

    def _fill(self, mark: "re.Match[str]") -> str:
        if mark.group(1) == "dns":
            return str(self.server.port)
        return str(self.spread.port) if mark.group(1) == "spread" else super()._fill(mark)

    def begin(self) -> None:
        self.lines = []
        self._wires = []
        log = self.log_path("main")
        self._log_offset = log.stat().st_size if log.exists() else 0

    def note(self, text: str) -> None:
        self.lines.append(self.normalise(text))

    # -- what a case does ----------------------------------------------------------------------------------------
    def get(self, cluster: str, status: int = 0) -> None:
        """One request to a cluster, on a connection of its own; its answer and its line of the log.

        With a `status` it is repeated until that comes: workers hear of hosts later than /clusters shows them.
        """
        deadline = time.monotonic() + STALL_SECONDS
        while True:
            wire = Wire.connect(self.address_of("main"))
            try:
                wire.send(b"GET / HTTP/1.1\r\nhost: a.test\r\ncluster: %s\r\n\r\n" % cluster.encode())
                response = read_response(wire)
            finally:
                wire.close()
            line = self._log_line()
            if status in (0, response.status) or time.monotonic() > deadline:
                break
        self.note(f"{cluster}: {response.status} {response.body.decode()}")
        self.note(f"log {normalise_times(line)}")

    def _log_line(self) -> str:
        log = self.log_path("main")
        deadline = time.monotonic() + STALL_SECONDS
        while time.monotonic() < deadline:
            text = log.read_bytes()[self._log_offset :] if log.exists() else b""
            if text.endswith(b"\n"):
                self._log_offset += len(text)
                return text.decode().strip()
            time.sleep(POLL_SECONDS)
        return "never came"

    def stream(self, listener: str, data: bytes) -> None:
        """One connection of a TCP listener."""
        wire = Wire.connect(self.address_of(listener))
        try:
            wire.send(data)
            self.note(f"{listener}: {read_response(wire).body.decode()}")
        finally:
            wire.close()

    def counters(self, cluster: str, *names: str) -> None:
        """These statistics of a cluster, once they stand still."""
        pattern = rf"^cluster\.{cluster}\.({'|'.join(names)})$"
        before: dict[str, int] = {}
        values = self.stats(pattern)
        while values != before:
            time.sleep(POLL_SECONDS * 2)
            before, values = values, self.stats(pattern)
        for name in names:
            self.note(f"{cluster}.{name} {values.get(f'cluster.{cluster}.{name}', 0)}")

    def wait(self, cluster: str, **wanted: int) -> None:
        """Wait until a cluster's statistics have these values at least."""
        names = {f"cluster.{cluster}.{name}": value for name, value in wanted.items()}
        self._until(lambda: self._has(names), f"{cluster}: {wanted}")

    def wait_stat(self, name: str, value: int) -> None:
        """Wait until any statistic has this value at least."""
        self._until(lambda: self._has({name: value}), name)

    def _has(self, names: Mapping[str, int]) -> bool:
        values = self.stats(f"^({'|'.join(re.escape(name) for name in names)})$")
        return all(values.get(name, 0) >= value for name, value in names.items())

    def wait_hosts(self, cluster: str, *addresses: str) -> None:
        """Wait until a cluster has these hosts and no others."""
        self._until(lambda: self._addresses(cluster) == sorted(addresses), f"{cluster}: hosts {addresses}")

    def wait_line(self, cluster: str, pattern: str) -> None:
        """Wait until /clusters says this of a cluster."""
        line = re.compile(rf"^{cluster}::{pattern}$", re.M)
        self._until(lambda: bool(line.search(self.admin(f"/clusters?filter=^{cluster}$"))), pattern)

    def _addresses(self, cluster: str) -> list[str]:
        shown = re.findall(rf"^{cluster}::(\S+):\d+::hostname::", self.admin(f"/clusters?filter=^{cluster}$"), re.M)
        return sorted(text.strip("[]") for text in shown)

    def hosts(self, cluster: str) -> None:
        """What /clusters says of the hosts, and of their order only where that is Envoy's."""
        shown = []
        for line in self.admin(f"/clusters?filter=^{cluster}$").splitlines():
            name, _, rest = line.partition("::")
            if name == cluster and re.search(r"::(hostname|health_flags|weight|zone|canary|priority)::", rest):
                shown.append(line)
        for line in sorted(self.normalise(text) for text in shown):
            self.note(line)

    def _until(self, predicate: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + STALL_SECONDS
        while not predicate():
            if time.monotonic() > deadline:
                self.note(f"never came true: {what}")
                return
            time.sleep(POLL_SECONDS)

    def close(self) -> None:
        super().close()
        self.server.close()
        self.spread.close()


class DnsPair:
    """Both sides on one configuration, for all cases of a module."""

    def __init__(self, config: str, folder: Path, records: Records, aliases: Mapping[str, str]) -> None:
        self._pool = ThreadPoolExecutor(2)
        starts = [self._pool.submit(Side, kind, config, folder / kind, records, aliases) for kind in (ENVOY, PROXENY)]
        self.sides = [start.result() for start in starts if start.exception() is None]
        if len(self.sides) < len(starts):
            self.close()
            raise next(error for start in starts if (error := start.exception()))

    def check(self, case: Callable[[Side], None], contains: Sequence[str] = ()) -> None:
        """Do the same on both sides; what they wrote down must be equal, and hold these regexes."""
        for side in self.sides:
            side.begin()
        for done in [self._pool.submit(case, side) for side in self.sides]:
            done.result()
        envoy, proxeny = (side.lines for side in self.sides)
        problems = [] if envoy == proxeny else ["the transcripts differ"]
        for pattern in contains:
            problems += [f"{side.kind}: no {pattern!r}" for side in self.sides if not _found(pattern, side.lines)]
        problems += [f"{side.kind} died:\n{side.log_tail()}" for side in self.sides if not side.alive()]
        if problems:
            pytest.fail("\n".join([*problems, *side_by_side(envoy, proxeny)]), pytrace=False)

    def close(self) -> None:
        for side in self.sides:
            side.close()
        self._pool.shutdown()


def _found(pattern: str, lines: Sequence[str]) -> bool:
    return any(re.search(pattern, line) for line in lines)
