"""Health flags from main to the workers, turn by turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from proxeny.event.dispatcher import Dispatcher
from proxeny.event.time_source import SimulatedTimeSource
from proxeny.kernel.limits import LimitTable
from proxeny.network.factory_context import FactoryContext
from proxeny.stats.store import MainStore, WorkerStore
from proxeny.upstream.cluster_manager import ClusterManager
from proxeny.upstream.endpoints import (
    DEGRADED_ACTIVE_HC,
    EXCLUDED_VIA_IMMEDIATE_HC_FAIL,
    FAILED_ACTIVE_HC,
    FAILED_EDS_HEALTH,
    FAILED_OUTLIER_CHECK,
    HealthChange,
    HostEntry,
)
from proxeny.upstream.host_health import ClusterHealth
from proxeny.upstream.main_cluster_manager import MainClusterManager
from proxeny.upstream.stats import CLUSTER, CLUSTER_MANAGER

MakeCluster = Callable[..., Any]


class World:
    """Main's clusters, one worker that is told all, and a clock."""

    def __init__(self, *clusters: Any) -> None:
        self.time = SimulatedTimeSource()
        self.dispatcher = Dispatcher(self.time)
        self.store = MainStore()
        self.context = FactoryContext(role="main", stats=self.store, dispatcher=self.dispatcher)
        self.main = MainClusterManager(self.context, 1)
        self.main.add_static(clusters)
        self.main.initialize(lambda: None)
        self.told: list[dict[str, HealthChange]] = []
        self.main.health.on_change = self._tell
        self.worker = self.make_worker()

    def make_worker(self) -> ClusterManager:
        """A worker, fed as the server feeds it."""
        store = WorkerStore(self.store.create_worker_segment(0))
        clusters, table = self.main.snapshot()
        store.install(self.main.process_table)
        store.install(table)
        own = replace(self.context, role="worker", stats=store)  # type: ignore[arg-type, unused-ignore]
        manager = ClusterManager(own, LimitTable(self.main.limits_fd, 1, 0))
        own.cluster_manager = manager
        manager.add_serialized(clusters)
        manager.update_health(self.main.health_snapshot())
        return manager

    def _tell(self, changes: dict[str, HealthChange]) -> None:
        self.told.append(changes)
        self.worker.update_health(changes)

    def turn(self, ms: int = 0) -> None:
        self.time.advance_ms(ms)
        # One turn fires the timers, the next what they scheduled.
        for _ in range(2):
            self.dispatcher.run_until_complete(asyncio.sleep(0))

    def healthy(self, name: str = "a") -> list[int]:
        """Ports of the hosts that the worker's load balancer takes for healthy."""
        cluster = self.worker.get(name)
        assert cluster is not None
        return [host.entry.port for host in cluster.priority_set.host_sets[0].healthy_hosts]

    def flags(self, name: str = "a") -> list[int]:
        cluster = self.worker.get(name)
        assert cluster is not None
        return [host.health_flags for host in cluster.priority_set.hosts()]

    def watch(self, name: str = "a") -> ClusterHealth:
        return self.main.watch_health(name)

    def gauge(self, name: str, cluster: str = "a") -> int:
        return self.store.block(CLUSTER, f"cluster.{cluster}.").get(CLUSTER.slot(name))

    def count(self, name: str) -> int:
        return self.store.block(CLUSTER_MANAGER, "cluster_manager.").get(CLUSTER_MANAGER.slot(name))

    def close(self) -> None:
        self.worker.close()
        self.main.close()
        self.dispatcher.close()


@pytest.fixture
def world(static_cluster: MakeCluster) -> Iterator[World]:
    unmerged = static_cluster("c", 1, 2, 3, common_lb_config={"update_merge_window": "0s"})
    world = World(
        static_cluster("a", 1, 2, 3), static_cluster("b", 1), unmerged, static_cluster("d", type="STRICT_DNS")
    )
    yield world
    world.close()


def test_changes_of_one_turn_travel_together(world: World) -> None:
    a, b = world.watch("a"), world.watch("b")
    assert a.change(0, FAILED_ACTIVE_HC)
    assert not a.change(0, FAILED_ACTIVE_HC)
    assert a.change(2, FAILED_OUTLIER_CHECK)
    assert b.change(0, DEGRADED_ACTIVE_HC)
    assert not world.told
    world.turn()
    assert world.told == [
        {
            "a": HealthChange({0: FAILED_ACTIVE_HC, 2: FAILED_OUTLIER_CHECK}, True),
            "b": HealthChange({0: DEGRADED_ACTIVE_HC}, True),
        }
    ]
    assert world.healthy() == [2]
    assert world.gauge("membership_healthy") == 1
    assert world.gauge("membership_degraded", "b") == 1
    (status, *_) = world.main.clusters()
    assert [host.health_flags for host in status.hosts] == ["/failed_active_hc", "healthy", "/failed_outlier_check"]


def test_load_balancing_follows_within_the_merge_window(world: World) -> None:
    health = world.watch()
    health.change(0, FAILED_ACTIVE_HC)
    world.turn()
    assert world.healthy() == [2, 3]
    health.change(1, FAILED_ACTIVE_HC)
    world.turn(10)
    # The host knows, load balancing not yet.
    assert world.flags() == [FAILED_ACTIVE_HC, FAILED_ACTIVE_HC, 0]
    assert world.healthy() == [2, 3]
    assert world.gauge("membership_healthy") == 1
    health.change(2, FAILED_ACTIVE_HC)
    health.change(0, 0, FAILED_ACTIVE_HC)
    world.turn(500)
    assert world.healthy() == [2, 3]
    world.turn(501)
    assert world.healthy() == [1]
    assert world.count("cluster_updated") == 1
    assert world.count("update_out_of_merge_window") == 1
    assert world.count("cluster_updated_via_merge") == 1
    world.turn(2000)
    assert len(world.told) == 4
    health.change(2, 0, FAILED_ACTIVE_HC)
    world.turn()
    assert world.healthy() == [1, 3]
    assert world.count("update_out_of_merge_window") == 2


def test_without_a_merge_window_every_turn_counts(world: World) -> None:
    health = world.watch("c")
    for index in range(3):
        health.change(index, FAILED_ACTIVE_HC)
        world.turn()
    assert world.healthy("c") == []
    assert world.count("cluster_updated") == 3
    assert world.count("update_out_of_merge_window") == 0


def test_a_worker_that_comes_later_knows(world: World) -> None:
    health = world.watch()
    health.change(1, FAILED_ACTIVE_HC)
    world.turn()
    world.worker.close()
    world.store.retire_worker(0)
    world.worker = world.make_worker()
    assert world.healthy() == [1, 3]


def test_a_cluster_that_nobody_asked_for_keeps_the_latest(world: World) -> None:
    health = world.watch()
    for flags in (FAILED_ACTIVE_HC, FAILED_OUTLIER_CHECK):
        health.change(1, flags)
        world.turn()
    assert world.worker.statistics()["inflated"] == 0
    assert world.flags() == [0, FAILED_ACTIVE_HC | FAILED_OUTLIER_CHECK, 0]
    assert world.healthy() == [1, 3]


def test_an_excluded_host_is_counted(world: World) -> None:
    health = world.watch()
    health.change(0, FAILED_ACTIVE_HC | EXCLUDED_VIA_IMMEDIATE_HC_FAIL)
    world.turn()
    assert world.gauge("membership_excluded") == 1
    assert world.gauge("membership_healthy") == 2


def test_new_hosts_take_over_what_was_found_out(world: World) -> None:
    cluster = world.main.find("d")
    assert cluster is not None
    cluster.publish([HostEntry("127.0.0.1", 1), HostEntry("127.0.0.1", 2)])
    health = world.watch("d")
    seen: list[tuple[int, int, int]] = []
    health.listeners.append(lambda entry, before, after: seen.append((entry.port, before, after)))
    health.change(0, FAILED_ACTIVE_HC)
    health.change(1, FAILED_ACTIVE_HC)
    world.turn()
    health.change(0, FAILED_OUTLIER_CHECK)
    world.turn()
    entries = [HostEntry("127.0.0.1", 1, health_flags=FAILED_EDS_HEALTH), HostEntry("127.0.0.1", 9)]
    cluster.publish(entries)
    assert entries[0].health_flags == FAILED_ACTIVE_HC | FAILED_OUTLIER_CHECK | FAILED_EDS_HEALTH
    assert entries[1].health_flags == 0
    assert world.count("update_merge_cancelled") == 1
    # The second host is gone: it changes no more.
    assert not health.change(1, 0, FAILED_ACTIVE_HC)
    assert health.change(entries[1].stat_index, FAILED_ACTIVE_HC)
    assert [port for port, _, _ in seen] == [1, 2, 1, 9]


def test_a_removed_cluster_is_forgotten(world: World) -> None:
    health = world.watch()
    health.change(0, FAILED_ACTIVE_HC)
    world.main.remove("a")
    world.turn(2000)
    assert not world.told
    assert not health.change(1, FAILED_ACTIVE_HC)
