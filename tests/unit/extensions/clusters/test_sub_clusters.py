"""Sub-clusters of a dynamic forward proxy: asked for, added, told of, and forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.unit.extensions.clusters.test_dynamic_forward_proxy import message

from proxeny import extensions
from proxeny.config.errors import ConfigError
from proxeny.event.dispatcher import Dispatcher
from proxeny.event.time_source import SimulatedTimeSource
from proxeny.extensions.clusters.dynamic_forward_proxy.sub_clusters import SubClusterLoadBalancer, sub_cluster_name
from proxeny.kernel.limits import LimitTable
from proxeny.network.factory_context import FactoryContext
from proxeny.registry import REGISTRY
from proxeny.stats.store import MainStore
from proxeny.upstream import cluster_config
from proxeny.upstream.main_cluster_manager import MainClusterManager
from proxeny.upstream.sub_cluster_link import MainSubClusterLink, WorkerSubClusters


@pytest.fixture(autouse=True, scope="module")
def _extensions() -> None:
    extensions.install(REGISTRY)


def parent(**config: Any) -> Any:
    return message({"dns_cache_config": None, "sub_clusters_config": config}, lb_policy="CLUSTER_PROVIDED")


class World:
    """Main and one worker, whose messages arrive at once."""

    def __init__(self, **config: Any) -> None:
        self.time = SimulatedTimeSource()
        self.dispatcher = Dispatcher(self.time)
        store, table = MainStore(), LimitTable.create(1)
        context = FactoryContext("main", store, self.dispatcher, limits=table)
        self.main = MainSubClusterLink.of(context)
        self.main.link = self
        self.manager = MainClusterManager(context, 1, table)
        self.main.watch(self.manager)
        self.manager.add_static([parent(**config)])
        self.manager.initialize(lambda: None)
        worker = FactoryContext("worker", store, self.dispatcher, limits=table)
        worker.cluster_manager = self
        self.worker = WorkerSubClusters.of(worker)
        self.worker.link = self
        compiled = cluster_config.compile(parent(**config), worker)
        self.balancer = SubClusterLoadBalancer(compiled, compiled.options.sub_clusters, self.dispatcher.monotonic_ns)
        self.told: list[tuple[str, bool]] = []
        self.ready: list[str] = []
        self.answers = True

    def get(self, name: str) -> Any:
        return self.manager.find(name)

    def ask_sub_cluster(self, parent: str, name: str, host: str, port: int) -> None:
        self.main.on_ask(parent, name, host, port)

    def send_sub_cluster(self, parent: str, name: str, there: bool) -> None:
        self.told.append((name, there))
        self.worker.on_sub_cluster(parent, name, there)

    def ask_sub_cluster_use(self, parent: str) -> int:
        if self.answers:
            self.dispatcher.call_soon(self.main.on_used, parent, self.worker.take_used(parent))
        return 1

    def ask(self, host: str) -> Any:
        return self.balancer.ask(host.encode(), 80, lambda: self.ready.append(host))

    def advance(self, seconds: int) -> None:
        for _ in range(10):
            self.time.advance_ms(seconds * 100)
            self.dispatcher.run_once()
            self.dispatcher.run_once()


@pytest.fixture
def worlds() -> Iterator[Any]:
    made: list[World] = []

    def make(**config: Any) -> World:
        made.append(World(**config))
        return made[-1]

    yield make
    for world in made:
        world.manager.close()
        world.dispatcher.run_once()
        world.dispatcher.close()


def test_names() -> None:
    assert sub_cluster_name(b"a.test", 80) == ("DFPCluster:a.test:80", "a.test", 80)
    assert sub_cluster_name(b"[::1]:81", 80) == ("DFPCluster:::1:81", "::1", 81)


def test_a_sub_cluster_is_like_its_parent(worlds: Any) -> None:
    world = worlds(lb_policy="RANDOM")
    assert world.ask("127.0.0.1:81") is not None
    world.dispatcher.run_until(lambda: world.ready)
    cluster = world.manager.find("DFPCluster:127.0.0.1:81")
    assert cluster is not None and cluster.added_via_api
    assert [entry.address_text for entry in cluster.members()] == ["127.0.0.1:81"]
    assert world.told == [("DFPCluster:127.0.0.1:81", True)]
    assert world.balancer.find(b"127.0.0.1:81", 80) is cluster
    assert world.balancer.statistics()["sub_clusters"] == 1


def test_one_that_is_there_is_told_again(worlds: Any) -> None:
    world = worlds()
    world.ask("127.0.0.1:81")
    world.dispatcher.run_until(lambda: world.ready)
    world.ask("127.0.0.1:81")
    assert world.ready == ["127.0.0.1:81"] * 2


def test_too_many(worlds: Any) -> None:
    world = worlds(max_sub_clusters=1)
    pending = world.ask("127.0.0.1:81")
    assert world.ask("127.0.0.1:82") is None
    assert world.ask("127.0.0.1:81") is not None
    pending.cancel()
    pending.cancel()
    world.dispatcher.run_until(lambda: world.ready)
    assert len(world.ready) == 1


def test_one_that_cannot_be(worlds: Any) -> None:
    world = worlds()
    world.main.on_ask("c", "DFPCluster::80", "", 80)
    world.main.on_ask("nobody", "DFPCluster:a:80", "a", 80)
    assert world.balancer.statistics()["sub_clusters"] <= 1


@pytest.mark.parametrize("answers", [True, False])
def test_unused_ones_go(worlds: Any, answers: bool) -> None:
    world = worlds(sub_cluster_ttl="10s")
    world.answers = answers
    world.ask("127.0.0.1:81")
    world.dispatcher.run_until(lambda: world.ready)
    world.advance(9)
    world.balancer.find(b"127.0.0.1:81", 80)
    world.advance(3)
    assert (world.manager.find("DFPCluster:127.0.0.1:81") is not None) == answers or not answers
    world.advance(30)
    assert world.manager.find("DFPCluster:127.0.0.1:81") is None
    assert world.told[-1] == ("DFPCluster:127.0.0.1:81", False)
    assert world.balancer.statistics()["sub_clusters"] == 0


def test_they_go_with_their_parent(worlds: Any) -> None:
    world = worlds()
    world.ask("127.0.0.1:81")
    world.dispatcher.run_until(lambda: world.ready)
    world.manager.remove("c")
    world.dispatcher.run_until(lambda: world.manager.find("DFPCluster:127.0.0.1:81") is None)
    world.main.on_ask("c", "DFPCluster:127.0.0.1:82", "127.0.0.1", 82)
    assert world.manager.find("DFPCluster:127.0.0.1:82") is None


def test_a_policy_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match="unsupported lb_policy 'CLUSTER_PROVIDED' in sub_cluster_config"):
        cluster_config.compile(parent(lb_policy="CLUSTER_PROVIDED"), FactoryContext("main", MainStore()))
