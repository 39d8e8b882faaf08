"""A checked cluster in main, with probes that answer when a test says so, and a clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from proxeny.event.dispatcher import Dispatcher
from proxeny.event.time_source import SimulatedTimeSource
from proxeny.network.factory_context import FactoryContext
from proxeny.runtime.snapshot import RuntimeReader
from proxeny.stats.store import MainStore
from proxeny.upstream.endpoints import CheckTarget, HostEntry
from proxeny.upstream.health_check.contract import FailureType
from proxeny.upstream.main_cluster import MainCluster
from proxeny.upstream.main_cluster_manager import MainClusterManager
from proxeny.upstream.stats import CLUSTER, HEALTH_CHECK, UPSTREAM_CX_TOTAL


class FakeProbe:
    """A probe of one host."""

    def __init__(self, owner: Any) -> None:
        self.owner = owner
        self.checks = 0
        self.timed_out = 0
        self.closed = False

    def check(self) -> None:
        assert not self.closed
        self.checks += 1

    def on_timeout(self) -> None:
        self.timed_out += 1

    def close(self) -> None:
        self.closed = True


class FakeProber:
    """Remembers its probes by the hosts' ports."""

    kind = "HTTP"

    def __init__(self) -> None:
        self.probes: dict[int, FakeProbe] = {}
        self.made: list[FakeProbe] = []

    def create(self, owner: Any) -> FakeProbe:
        probe = self.probes[owner.entry.port] = FakeProbe(owner)
        self.made.append(probe)
        return probe


class FakeLog:
    """An event log file."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def write(self, line: bytes) -> None:
        self.lines.append(line)


class FakeLogs:
    def __init__(self) -> None:
        self.files: dict[str, FakeLog] = {}

    def create_access_log(self, path: str) -> FakeLog:
        return self.files.setdefault(path, FakeLog())


class Bench:
    """One STRICT_DNS cluster, whose hosts the test publishes."""

    def __init__(self, static_cluster: Callable[..., Any], *checks: dict[str, Any], **fields: Any) -> None:
        self.time = SimulatedTimeSource()
        self.dispatcher = Dispatcher(self.time)
        self.store = MainStore()
        self.runtime = RuntimeReader()
        self.logs = FakeLogs()
        self.context = FactoryContext(role="main", stats=self.store, dispatcher=self.dispatcher, runtime=self.runtime)
        self.context.access_log_manager = self.logs  # type: ignore[assignment]
        self.main = MainClusterManager(self.context, 1)
        plain = {
            "timeout": "1s",
            "interval": "10s",
            "no_traffic_interval": "60s",
            "unhealthy_threshold": 3,
            "healthy_threshold": 2,
            "tcp_health_check": {},
        }
        listed = [{**plain, **check} for check in checks or ({},)]
        self.main.add_static([static_cluster("c", type="STRICT_DNS", health_checks=listed, **fields)])
        self.probers = [FakeProber() for _ in listed]
        for config, prober in zip(self.cluster.config.health_checks, self.probers, strict=True):
            config.prober = prober
        self.initialized = 0

    @property
    def cluster(self) -> MainCluster:
        cluster = self.main.find("c")
        assert cluster is not None
        return cluster

    def start(self, *ports: int) -> None:
        """Start with these hosts."""
        # The resolver has nothing to resolve; hosts come from the test.
        self.cluster.publish([HostEntry("127.0.0.1", port) for port in ports])
        self.main.initialize(self._on_initialized)

    def _on_initialized(self) -> None:
        self.initialized += 1

    def publish(self, *ports: int, **checks: CheckTarget) -> None:
        self.cluster.publish([HostEntry("127.0.0.1", port, check=checks.get(f"p{port}")) for port in ports])

    def probe(self, port: int, check: int = 0) -> FakeProbe:
        return self.probers[check].probes[port]

    def ok(self, *ports: int, degraded: bool = False, check: int = 0) -> None:
        for port in ports:
            self.probe(port, check).owner.succeeded(degraded)

    def fail(self, *ports: int, failure: FailureType = FailureType.ACTIVE, check: int = 0, **more: Any) -> None:
        for port in ports:
            self.probe(port, check).owner.failed(failure, **more)

    def flags(self, port: int) -> int:
        return next(entry.health_flags for entry in self.cluster.hosts if entry.port == port)

    def ports(self) -> list[int]:
        return [entry.port for entry in self.cluster.hosts]

    def traffic(self) -> None:
        """The cluster was used."""
        self.store.block(CLUSTER, "cluster.c.").inc(UPSTREAM_CX_TOTAL)

    def count(self, name: str, prefix: str = "cluster.c.health_check.") -> int:
        return self.store.block(HEALTH_CHECK, prefix).get(HEALTH_CHECK.slot(name))

    def gauge(self, name: str) -> int:
        return self.store.block(CLUSTER, "cluster.c.").get(CLUSTER.slot(name))

    def turn(self, ms: int = 0) -> None:
        self.time.advance_ms(ms)
        for _ in range(2):
            self.dispatcher.run_until_complete(asyncio.sleep(0))

    def waits(self, port: int) -> int:
        """After how many milliseconds the next check of a host comes."""
        probe = self.probe(port)
        before, waited = probe.checks, 0
        while probe.checks == before:
            assert waited < 200_000
            self.turn(250)
            waited += 250
        return waited

    def close(self) -> None:
        self.main.close()
        self.dispatcher.close()


@pytest.fixture
def bench(static_cluster: Callable[..., Any]) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(*checks: dict[str, Any], **fields: Any) -> Bench:
        one = Bench(static_cluster, *checks, **fields)
        made.append(one)
        return one

    yield make
    for one in made:
        one.close()
