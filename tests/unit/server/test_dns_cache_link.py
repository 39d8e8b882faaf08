"""What main and a worker say of DNS caches and sub-clusters, message by message."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from envoy.extensions.common.dynamic_forward_proxy.v3 import dns_cache_pb2

from proxeny.event.dispatcher import Dispatcher
from proxeny.network.factory_context import FactoryContext
from proxeny.server import messages
from proxeny.server.dns_cache_link import DnsCacheLink as MainLink
from proxeny.stats.store import MainStore
from proxeny.upstream.dns_cache.caches import MainDnsCaches, WorkerDnsCaches
from proxeny.upstream.sub_cluster_link import MainSubClusterLink, WorkerSubClusters
from proxeny.worker.dns_cache_link import DnsCacheLink as WorkerLink


class World:
    """Main and one worker; every message is encoded and decoded on its way."""

    def __init__(self) -> None:
        self.dispatcher = Dispatcher()
        store = MainStore()
        self.main_context = FactoryContext("main", store, self.dispatcher)
        self.worker_context = FactoryContext("worker", store, self.dispatcher)
        self.sent: list[Any] = []
        supervisor: Any = SimpleNamespace(broadcast=self.to_worker, configured_workers=lambda: [self])
        self.main = MainLink(self.main_context, supervisor, self.dispatcher)
        self.worker = WorkerLink(self.worker_context, SimpleNamespace(send=self.to_main))  # type: ignore[arg-type]
        for caches in (MainDnsCaches.of(self.main_context), WorkerDnsCaches.of(self.worker_context)):
            caches.add(dns_cache_pb2.DnsCacheConfig(name="foo"))

    def send(self, message: Any) -> None:
        self.to_worker(message)

    def travelled(self, message: Any) -> Any:
        self.sent.append(message)
        return messages.DECODER.decode(messages.ENCODER.encode(message))

    def to_worker(self, message: Any) -> None:
        arrived = self.travelled(message)
        if isinstance(arrived, messages.SubCluster | messages.AskSubClusterUse):
            self.worker.on_sub_cluster(arrived)
        else:
            self.worker.on_message(arrived)

    def to_main(self, message: Any) -> None:
        self.main.on_message(self.travelled(message))


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.main.close()
    world.dispatcher.run_once()
    world.dispatcher.close()


def test_a_host_is_asked_for_used_and_forgotten(world: World) -> None:
    cache = WorkerDnsCaches.of(world.worker_context).add(dns_cache_pb2.DnsCacheConfig(name="foo"))
    loaded: list[Any] = []
    cache.load(b"127.0.0.1", 80, loaded.append)
    world.dispatcher.run_until(lambda: loaded)
    assert [type(message) for message in world.sent] == [messages.ResolveDnsHost, messages.DnsHostResolved]
    world.main.feed(world)  # type: ignore[arg-type]
    assert world.sent[-1] == world.sent[1]
    loaded[0].last_used_ns = 5
    assert world.main.ask_dns_host_use("foo", "127.0.0.1:80") == 1
    assert world.sent[-1] == messages.DnsHostUsed("foo", "127.0.0.1:80", 5)
    world.main.send_dns_host_gone("foo", "127.0.0.1:80")
    assert cache.find(b"127.0.0.1", 80) is None


def test_a_sub_cluster_is_asked_for_used_and_forgotten(world: World) -> None:
    asked: list[tuple[str, str, int]] = []
    used: list[dict[str, int]] = []
    owner: Any = SimpleNamespace(ask=lambda *what: asked.append(what), on_used=used.append)
    main, worker = MainSubClusterLink.of(world.main_context), WorkerSubClusters.of(world.worker_context)
    manager: Any = SimpleNamespace(active_callbacks=[])
    world.main.watch(manager)
    main.add("dfp", owner)
    ready: list[str] = []
    worker.ask("dfp", "DFPCluster:a:80", "a", 80, lambda: ready.append("a"))
    assert asked == [("DFPCluster:a:80", "a", 80)]
    main.expect("dfp", "DFPCluster:a:80")
    for callback in manager.active_callbacks:
        callback("another")
        callback("DFPCluster:a:80")
    assert not ready
    world.dispatcher.run_until(lambda: ready)
    worker.touch("dfp", "DFPCluster:a:80", 7)
    assert main.ask_use("dfp") == 1
    assert (used, worker.take_used("dfp")) == ([{"DFPCluster:a:80": 7}], {})
    main.tell("dfp", "DFPCluster:a:80", False)
    world.dispatcher.run_until(lambda: not worker.is_known("dfp", "DFPCluster:a:80"))
    main.remove("dfp", SimpleNamespace())  # type: ignore[arg-type]
    main.on_used("dfp", {})
    main.remove("dfp", owner)
    main.on_used("dfp", {})
    assert len(used) == 2
