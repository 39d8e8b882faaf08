"""Caches over a resolver that answers when a test says so, and simulated time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from envoy.extensions.common.dynamic_forward_proxy.v3 import dns_cache_pb2
from google.protobuf import json_format

from proxeny.event.dispatcher import Dispatcher
from proxeny.event.time_source import SimulatedTimeSource
from proxeny.kernel.limits import LimitTable, Resource
from proxeny.stats.store import MainStore
from proxeny.upstream.dns_cache import config as dns_cache_config
from proxeny.upstream.dns_cache.entry import DnsEntry
from proxeny.upstream.dns_cache.main_cache import CachedHost, MainDnsCache
from proxeny.upstream.dns_cache.stats import DNS_CACHE
from proxeny.upstream.dns_resolver import DnsAnswer


class Query:
    def __init__(self, name: str, callback: Callable[[DnsAnswer], object]) -> None:
        self.name = name
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Resolver:
    def __init__(self) -> None:
        self.queries: list[Query] = []

    def resolve(self, name: str, family: int, callback: Callable[[DnsAnswer], object]) -> Query:
        self.queries.append(Query(name, callback))
        return self.queries[-1]

    def answer(self, *addresses: str, ok: bool = True, ttl: int = 300, details: str = "cares_success:all well") -> None:
        self.queries[-1].callback(DnsAnswer(ok, list(addresses), ttl, details))

    def close(self) -> None:
        pass


def cache_config(**fields: Any) -> Any:
    return json_format.ParseDict({"name": "foo", **fields}, dns_cache_pb2.DnsCacheConfig())


class Setup:
    """A cache in main; it is its own way to the workers, and its own listener."""

    def __init__(self, **fields: Any) -> None:
        self.time = SimulatedTimeSource()
        self.dispatcher = Dispatcher(self.time)
        self.resolver = Resolver()
        self.sent: list[DnsEntry] = []
        self.forgotten: list[str] = []
        self.asked: list[str] = []
        self.workers = 0
        self.members: dict[str, list[str]] = {}
        self.changes = 0
        options = dns_cache_config.compile(cache_config(**fields))
        stats = MainStore().block(DNS_CACHE, "dns_cache.foo.")
        self.count = Resource(LimitTable.create(1), 0, options.max_hosts)
        self.stats = stats
        self.cache = MainDnsCache(options, self.dispatcher, self.resolver, self, stats, self.count)
        self.cache.add_listener(self)

    def stat(self, name: str) -> int:
        return self.stats.get(DNS_CACHE.slot(name))

    def advance(self, seconds: float) -> None:
        """Time passes, in steps that timers see."""
        for _ in range(10):
            self.time.advance_ms(int(seconds * 100))
            self.dispatcher.run_once()

    def resolved(self, cache: str, entry: DnsEntry) -> None:
        self.sent.append(entry)

    def gone(self, cache: str, name: str) -> None:
        self.forgotten.append(name)

    def ask_last_use(self, cache: str, name: str) -> int:
        self.asked.append(name)
        return self.workers

    def on_host_added(self, host: CachedHost) -> None:
        self.members[host.name] = host.addresses

    def on_host_changed(self, host: CachedHost) -> None:
        self.changes += 1
        self.members[host.name] = host.addresses

    def on_host_removed(self, host: CachedHost) -> None:
        del self.members[host.name]


@pytest.fixture
def make() -> Any:
    made: list[Setup] = []

    def start(**fields: Any) -> Setup:
        made.append(Setup(**fields))
        return made[-1]

    yield start
    for one in made:
        one.cache.close()
        one.dispatcher.close()
