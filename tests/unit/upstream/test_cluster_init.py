"""The order of the start: primary clusters, the server's word, secondary ones, CDS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from proxeny.upstream.cluster_init import ClusterInit, InitState


class World:
    """Clusters are names; those that begin with ``s`` are secondary. ``log`` tells what happened."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.at_once: set[str] = set()
        """Clusters that are initialized as soon as they are started."""
        self._waiting: dict[str, Callable[[Any], None]] = {}
        self._clusters: dict[str, Any] = {}
        self.init = ClusterInit(self._start, lambda cluster: self.log.append(f"ready {cluster.name}"), self._pause)

    def cluster(self, name: str) -> Any:
        return SimpleNamespace(name=name, config=SimpleNamespace(is_secondary=name.startswith("s")))

    def add(self, name: str) -> Any:
        cluster = self._clusters[name] = self.cluster(name)
        self.init.add(cluster)
        return cluster

    def _start(self, cluster: Any, on_initialized: Callable[[Any], None]) -> None:
        self.log.append(f"start {cluster.name}")
        if cluster.name in self.at_once:
            on_initialized(cluster)
        else:
            self._waiting[cluster.name] = on_initialized

    @contextmanager
    def _pause(self) -> Iterator[None]:
        self.log.append("pause")
        yield
        self.log.append("resume")

    def finish(self, name: str) -> None:
        self._waiting.pop(name)(self._clusters[name])

    def take(self) -> list[str]:
        log, self.log = self.log, []
        return log

    def loaded(self, with_cds: bool = False) -> None:
        self.cds_initialized: Callable[[], None]

        def start_cds(on_ready: Callable[[], None]) -> None:
            self.log.append("cds")
            self.cds_initialized = on_ready

        self.init.loaded(lambda: self.log.append("done"), None, start_cds if with_cds else None)


def test_nothing_to_wait_for() -> None:
    world = World()
    world.loaded()
    assert world.take() == ["done"]
    assert world.init.is_done


def test_secondary_clusters_wait_for_primary_ones() -> None:
    world = World()
    world.add("s1")
    world.add("p")
    world.add("s2")
    assert world.take() == ["start p"]
    world.loaded()
    assert world.take() == []
    world.finish("p")
    assert world.take() == ["ready p", "pause", "start s1", "start s2", "resume"]
    world.finish("s2")
    assert world.take() == ["ready s2"]
    world.finish("s1")
    assert world.take() == ["ready s1", "done"]


def test_the_server_says_when_secondary_clusters_may_start() -> None:
    world = World()
    world.add("s")
    go_on: list[Callable[[], None]] = []
    world.init.loaded(lambda: world.log.append("done"), go_on.append, None)
    assert world.take() == []
    assert world.init.state is InitState.WAITING_FOR_SERVER
    world.at_once = {"s"}
    go_on[0]()
    assert world.take() == ["pause", "start s", "ready s", "done", "resume"]


def test_clusters_from_cds_take_both_steps() -> None:
    world = World()
    world.add("s0")
    world.loaded(with_cds=True)
    world.finish("s0")
    assert world.take() == ["pause", "start s0", "resume", "ready s0", "cds"]
    world.add("s1")
    world.add("p1")
    assert world.take() == ["start p1"]
    world.finish("p1")
    # The update is not applied as a whole yet.
    assert world.take() == ["ready p1"]
    world.cds_initialized()
    assert world.take() == ["pause", "start s1", "resume"]
    # A second update comes meanwhile.
    world.add("s2")
    assert world.take() == ["start s2"]
    world.finish("s1")
    world.finish("s2")
    assert world.take() == ["ready s1", "ready s2", "done"]


def test_a_removed_cluster_is_not_waited_for() -> None:
    world = World()
    primary, secondary = world.add("p"), world.add("s")
    world.loaded()
    world.init.remove(primary)
    assert world.take() == ["start p", "pause", "start s", "resume"]
    world.init.remove(secondary)
    assert world.take() == ["done"]
    world.init.remove(secondary)
    assert world.take() == []


def test_a_replaced_cluster_is_not_waited_for() -> None:
    world = World()
    world.loaded(with_cds=True)
    before = world.add("p")
    world.add("p")
    world.init.remove(before)
    world.cds_initialized()
    assert world.take() == ["cds", "start p", "start p"]
    world.finish("p")
    assert world.take() == ["ready p", "done"]
