"""Caches by name, and how main and a worker talk of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.unit.upstream.dns_cache.conftest import cache_config

from proxeny.config.errors import ConfigError
from proxeny.event.dispatcher import Dispatcher
from proxeny.kernel.limits import LimitTable
from proxeny.network.factory_context import FactoryContext
from proxeny.stats.store import MainStore
from proxeny.upstream.dns_cache.caches import MainDnsCaches, WorkerDnsCaches
from proxeny.upstream.dns_cache.entry import DnsEntry
from proxeny.upstream.dns_cache.stats import DNS_CACHE, DNS_CACHE_BREAKERS
from proxeny.upstream.dns_cache.worker_cache import KnownHost


class World:
    """Main and one worker, whose messages arrive at once."""

    def __init__(self) -> None:
        self.dispatcher = Dispatcher()
        self.store = MainStore()
        table = LimitTable.create(1)
        self.main = MainDnsCaches.of(FactoryContext("main", self.store, self.dispatcher, limits=table))
        self.worker = WorkerDnsCaches.of(FactoryContext("worker", self.store, self.dispatcher, limits=table))
        self.main.link = self.worker.link = self
        self.asked: list[tuple[str, str, int, bool]] = []

    def send_dns_entry(self, cache: str, entry: DnsEntry) -> None:
        self.worker.on_resolved(cache, entry)

    def send_dns_host_gone(self, cache: str, name: str) -> None:
        self.worker.on_gone(cache, name)

    def ask_dns_host_use(self, cache: str, name: str) -> int:
        self.main.on_last_use(cache, name, self.worker.last_use(cache, name))
        return 1

    def ask_dns_host(self, cache: str, name: str, default_port: int, again: bool) -> None:
        self.asked.append((cache, name, default_port, again))
        self.main.on_load(cache, name, default_port, again)

    def stat(self, name: str) -> int:
        return self.store.block(DNS_CACHE, "dns_cache.foo.").get(DNS_CACHE.slot(name))

    def gauge(self, name: str) -> int:
        for refresh in self.store.before_reading:
            refresh()
        block = self.store.block(DNS_CACHE_BREAKERS, "dns_cache.foo.circuit_breakers.")
        return block.get(DNS_CACHE_BREAKERS.slot(name))


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.main.close()
    world.dispatcher.run_once()
    world.dispatcher.close()


def test_one_configuration_per_name(world: World) -> None:
    for caches in (world.main, world.worker):
        first = caches.add(cache_config(max_hosts=5))
        assert caches.add(cache_config(max_hosts=5)) is first
        with pytest.raises(ConfigError, match="config specified DNS cache 'foo' with different settings"):
            caches.add(cache_config(max_hosts=6))


def test_a_worker_asks_waits_and_knows(world: World) -> None:
    world.main.add(cache_config())
    cache = world.worker.add(cache_config())
    assert cache.find(b"127.0.0.1", 80) is None
    loaded: list[KnownHost] = []
    assert cache.load(b"127.0.0.1", 80, loaded.append) is not None
    cancelled = cache.load(b"127.0.0.1", 80, loaded.append)
    assert cancelled is not None
    cancelled.cancel()
    cancelled.cancel()
    assert cache.waiting == 1
    world.dispatcher.run_until(lambda: loaded)
    assert world.asked == [("foo", "127.0.0.1:80", 80, False)] * 2
    assert (loaded[0].entry.addresses, loaded[0].entry.port, cache.waiting) == (["127.0.0.1"], 80, 0)
    assert cache.find(b"127.0.0.1", 80) is loaded[0]
    assert cache.find(b"127.0.0.1:80", 1) is loaded[0]
    assert cache.find(b"127.0.0.1", 81) is None
    assert list(world.main.entries()) == [("foo", loaded[0].entry)]


def test_a_new_worker_is_told_before_anything_is_compiled(world: World) -> None:
    world.worker.on_resolved("foo", DnsEntry("a.test:80", 80, ["127.0.0.1"], ""))
    known = world.worker.add(cache_config()).find(b"a.test", 80)
    assert known is not None
    known.last_used_ns = 7
    assert world.worker.last_use("foo", "a.test:80") == 7
    world.worker.on_gone("foo", "a.test:80")
    world.worker.on_gone("bar", "a.test:80")
    assert world.worker.last_use("foo", "a.test:80") == world.worker.last_use("bar", "x") == 0


def test_a_full_cache(world: World) -> None:
    world.main.add(cache_config(max_hosts=1))
    cache = world.worker.add(cache_config(max_hosts=1))
    assert cache.load(b"127.0.0.1", 80, lambda known: None) is not None
    assert cache.load(b"127.0.0.2", 80, lambda known: None) is None
    assert world.stat("host_overflow") == 1


def test_only_so_many_may_wait(world: World) -> None:
    limit = {"max_pending_requests": 1}
    world.main.add(cache_config(dns_cache_circuit_breaker=limit))
    cache = world.worker.add(cache_config(dns_cache_circuit_breaker=limit))
    assert (world.gauge("rq_pending_open"), world.gauge("rq_pending_remaining")) == (0, 1)
    assert cache.can_wait()
    cache.pending.inc()
    assert not cache.can_wait()
    assert world.stat("dns_rq_pending_overflow") == 1
    assert (world.gauge("rq_pending_open"), world.gauge("rq_pending_remaining")) == (1, 0)
    cache.pending.dec()
    assert cache.can_wait()


def test_failures_are_asked_for_again_where_main_does_not_refresh_them(world: World) -> None:
    failed = DnsEntry("a.test:80", 80, [], "why", failed=True)
    world.worker.on_resolved("foo", failed)
    cache = world.worker.add(cache_config(disable_dns_refresh_on_failure=True))
    assert cache.find(b"a.test", 80) is None
    cache.load(b"a.test", 80, lambda known: None)
    assert world.asked == [("foo", "a.test:80", 80, True)]


def test_nothing_is_resolved_to_validate() -> None:
    caches = MainDnsCaches.of(FactoryContext("main", MainStore()))
    assert caches.add(cache_config(preresolve_hostnames=[{"address": "a.test", "port_value": 1}])).name == "foo"
    caches.on_load("foo", "a.test:80", 80, False)
    caches.on_last_use("foo", "a.test:80", 0)
