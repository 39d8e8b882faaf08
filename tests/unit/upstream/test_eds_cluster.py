"""Clusters whose endpoints are a resource of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from google.protobuf import json_format
from tests.unit.upstream.fake_xds import FakeSubscription, FakeXds

from proxeny.config.errors import ConfigError
from proxeny.event.dispatcher import Dispatcher
from proxeny.event.time_source import SimulatedTimeSource
from proxeny.network.factory_context import FactoryContext
from proxeny.stats.store import MainStore
from proxeny.upstream.main_cluster_manager import MainClusterManager
from proxeny.upstream.stats import CLUSTER, CLUSTER_MANAGER


class NoCache:
    """A runtime without the cache of assignments."""

    def get_boolean(self, key: str, default: bool) -> bool:
        return False if key == "envoy.restart_features.use_eds_cache_for_ads" else default

    def get_integer(self, key: str, default: int) -> int:
        return default


class World:
    def __init__(self, runtime: Any = None) -> None:
        self.time = SimulatedTimeSource()
        self.dispatcher = Dispatcher(self.time)
        self.store = MainStore()
        context = FactoryContext(role="main", stats=self.store, dispatcher=self.dispatcher, runtime=runtime)
        self.xds = FakeXds(self.dispatcher)
        context.xds = self.xds  # type: ignore[assignment]
        self.main = MainClusterManager(context, 1)
        self.done: list[bool] = []

    def start(self) -> None:
        self.main.initialize(lambda: self.done.append(True))

    def add(self, name: str = "a", path: str = "", **fields: Any) -> FakeSubscription:
        """A cluster from an API; its subscription."""
        assert self.main.add_or_update(cluster(name, path, **fields))
        return self.xds.subscriptions[-1]

    def ports(self, name: str = "a") -> list[int]:
        found = self.main.find(name)
        assert found is not None
        return [host.port for host in found.hosts]

    def count(self, stat: str) -> int:
        return self.store.block(CLUSTER, "cluster.a.").get(CLUSTER.slot(stat))

    def total(self, stat: str) -> int:
        return self.store.block(CLUSTER_MANAGER, "cluster_manager.").get(CLUSTER_MANAGER.slot(stat))

    def after(self, ms: int) -> None:
        self.time.advance_ms(ms)
        self.dispatcher.run_until_complete(asyncio.sleep(0))

    def close(self) -> None:
        self.main.close()
        self.dispatcher.close()


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def cluster(name: str, path: str = "", service: str = "", **fields: Any) -> Any:
    source: dict[str, Any] = {"path": path} if path else {"ads": {}}
    config = {"eds_config": source, "service_name": service}
    return json_format.ParseDict(
        {"name": name, "type": "EDS", "eds_cluster_config": config, **fields}, cluster_pb2.Cluster()
    )


def assignment(*ports: int, name: str = "a", weight: int = 1, **policy: Any) -> Any:
    hosts = [
        {
            "endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}},
            "load_balancing_weight": weight,
        }
        for port in ports
    ]
    tree = {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}] if hosts else [], "policy": policy}
    return json_format.ParseDict(tree, endpoint_pb2.ClusterLoadAssignment())


def test_a_cluster_of_the_bootstrap_is_fetched_in_the_second_phase(world: World) -> None:
    world.main.add_static([cluster("a"), cluster("file", "/eds")])
    world.start()
    ads, file = world.xds.subscriptions
    assert (ads.names, file.names) == (None, ["file"])
    file.deliver()
    assert ads.names == ["a"]
    assert world.xds.log[0].startswith("pause ClusterLoadAssignment,LbEndpoint,Secret")
    assert not world.done
    ads.deliver(assignment(1))
    assert world.done == [True]
    assert world.ports() == [1]


def test_warming_pauses_clusters(world: World) -> None:
    world.start()
    subscription = world.add()
    world.add("b").deliver(assignment(name="b"))
    assert world.xds.log == ["pause Cluster"]
    assert world.count("warming_state") == 1
    subscription.deliver(assignment(1))
    assert world.xds.log == ["pause Cluster", "resume Cluster"]
    assert world.count("warming_state") == 0


def test_the_predecessor_goes_before_clusters_go_on(world: World) -> None:
    world.start()
    before = world.add()
    before.deliver(assignment(1))
    world.xds.log.clear()
    after = world.add(connect_timeout="1s")
    assert after.names == ["a"] and not before.closed
    after.deliver(assignment(2))
    assert before.closed
    assert world.xds.log == ["pause Cluster", "resume Cluster"]


def test_a_source_that_cannot_be_watched(world: World) -> None:
    world.start()
    with pytest.raises(ConfigError, match="unable to add filesystem watch"):
        world.add(path="/unwatched")
    assert world.main.all_names() == []
    assert world.total("warming_clusters") == 0
    assert ("cluster", "cluster.a.") not in world.store.entries


def test_failures(world: World) -> None:
    world.start()
    subscription = world.add()
    subscription.fail_to_connect()
    assert world.main.find("a") is None
    subscription.refuse()
    assert world.ports() == []
    world.add("b").time_out()
    assert world.ports("b") == []


def test_what_is_refused(world: World) -> None:
    world.start()
    subscription = world.add()
    subscription.deliver(assignment(1))
    with pytest.raises(ConfigError, match="Unexpected EDS resource length: 2"):
        subscription.deliver(assignment(1), assignment(2, name="b"))
    with pytest.raises(ConfigError, match=r"Unexpected EDS cluster \(expecting a\): b"):
        subscription.deliver(assignment(2, name="b"))
    with pytest.raises(ConfigError, match="leds_cluster_locality_config' is not supported"):
        bad = assignment(2)
        bad.endpoints[0].leds_cluster_locality_config.leds_collection_name = "x"
        subscription.deliver(bad)
    assert world.ports() == [1]


def test_a_removed_assignment_changes_nothing(world: World) -> None:
    world.start()
    subscription = world.add()
    subscription.change(assignment(1))
    subscription.change(removed=["a"])
    assert world.ports() == [1]
    assert world.count("update_empty") == 1


def test_the_same_assignment_again(world: World) -> None:
    world.start()
    told: list[str] = []
    world.main.on_hosts_changed = lambda name, update: told.append(name)
    subscription = world.add()
    for _ in range(3):
        subscription.deliver(assignment(1, 2))
    assert world.count("update_no_rebuild") == 2
    assert world.store.block(CLUSTER, "cluster.a.").get(CLUSTER.slot("default.total_match_count")) == 6
    assert told == []
    subscription.deliver(assignment(1))
    subscription.deliver(assignment(1, 2))
    assert world.ports() == [1, 2]
    assert told == ["a", "a"]
    assert world.total("cluster_updated") == 2


def test_weights_are_followed_at_once(world: World) -> None:
    world.start()
    told: list[str] = []
    world.main.on_hosts_changed = lambda name, update: told.append(name)
    subscription = world.add()
    for weight in (1, 2, 3):
        subscription.deliver(assignment(1, weight=weight))
    assert told == ["a", "a"]
    assert world.total("cluster_updated") == 2
    assert world.total("update_out_of_merge_window") == 0


def _cache(world: World, subscription: FakeSubscription, message: Any) -> None:
    """What the stream does."""
    subscription.deliver(message)
    world.xds.eds_cache.set(subscription.decoded([message], "1")[0])


def test_the_assignment_of_the_predecessor(world: World) -> None:
    world.start()
    _cache(world, world.add(), assignment(1, 2))
    subscription = world.add(connect_timeout="1s")
    subscription.time_out()
    assert world.ports() == [1, 2]
    assert world.count("assignment_use_cached") == 1
    # It is not valid any more.
    world.xds.eds_cache.remove("a")
    assert world.ports() == []
    subscription.deliver(assignment(3))
    assert world.ports() == [3]


def test_what_comes_ends_the_use_of_the_cached_one(world: World) -> None:
    world.start()
    _cache(world, world.add(), assignment(1))
    subscription = world.add(connect_timeout="1s")
    subscription.time_out()
    subscription.deliver(assignment(1))
    world.xds.eds_cache.remove("a")
    assert world.ports() == [1]


def test_without_the_cache() -> None:
    world = World(NoCache())
    world.start()
    _cache(world, world.add(), assignment(1))
    world.add(connect_timeout="1s").time_out()
    assert world.ports() == []
    world.close()


def test_stale_endpoints_go(world: World) -> None:
    world.start()
    subscription = world.add()
    message = assignment(1, endpoint_stale_after="1s")
    subscription.deliver(message)
    world.after(900)
    subscription.deliver(message)
    world.after(900)
    assert world.ports() == [1]
    assert world.count("assignment_timeout_received") == 2
    world.after(200)
    assert world.ports() == []
    assert world.count("assignment_stale") == 1
    subscription.deliver(message)
    assert world.ports() == [1]


def test_cached_endpoints_become_stale_too(world: World) -> None:
    world.start()
    _cache(world, world.add(), assignment(1, endpoint_stale_after="1s"))
    world.after(500)
    world.add(connect_timeout="1s").time_out()
    assert world.ports() == [1]
    world.after(600)
    assert world.ports() == []
