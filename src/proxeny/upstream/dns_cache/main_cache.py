"""One DNS cache in main: its hosts, when they are resolved, and when they are forgotten (Envoy: ``DnsCacheImpl``).

A host keeps the addresses that it has when a later resolution fails or finds none. It goes when a refresh is due and
nobody used it for ``host_ttl``. When that was is known to the workers: main asks them, and decides when all have
answered or a while has passed.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Protocol

from proxeny.upstream.dns_cache.entry import DnsEntry
from proxeny.upstream.dns_cache.names import parse_authority
from proxeny.upstream.dns_cache.stats import (
    DNS_QUERY_ATTEMPT,
    DNS_QUERY_FAILURE,
    DNS_QUERY_SUCCESS,
    DNS_QUERY_TIMEOUT,
    HOST_ADDED,
    HOST_ADDRESS_CHANGED,
    HOST_REMOVED,
    NUM_HOSTS,
)
from proxeny.upstream.dns_cluster import Backoff
from proxeny.upstream.dns_resolver import DnsAnswer

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher
    from proxeny.kernel.limits import Resource
    from proxeny.kernel.stats import Block
    from proxeny.upstream.dns_cache.config import DnsCacheOptions
    from proxeny.upstream.dns_resolver import DnsQuery, DnsResolver

log = logging.getLogger("proxeny.forward_proxy")

SPARE_SLOTS: Final = 256
"""Slots are used again once so many are spare: by then the draining connections to the old host are gone."""
ANSWER_MS: Final = 1000
"""A worker that does not say within this time when it last used a host is not waited for."""


class DnsCacheListener(Protocol):
    """Hears of the hosts of a cache that have addresses, in main: the clusters that serve them."""

    def on_host_added(self, host: CachedHost) -> None:
        """A host has its first addresses."""

    def on_host_changed(self, host: CachedHost) -> None:
        """It has others."""

    def on_host_removed(self, host: CachedHost) -> None:
        """It is forgotten."""


class CacheEvents(Protocol):
    """How a cache reaches the workers."""

    def resolved(self, cache: str, entry: DnsEntry) -> None:
        """Tell all workers of a host."""

    def gone(self, cache: str, name: str) -> None:
        """Tell all workers that a host is forgotten."""

    def ask_last_use(self, cache: str, name: str) -> int:
        """Ask all workers when they last used a host: how many were asked."""


class CachedHost:
    """One host of the cache."""

    __slots__ = (
        "_cache",
        "_left_to_answer",
        "_query",
        "_refresh_timer",
        "_timeout_timer",
        "addresses",
        "backoff",
        "details",
        "failed",
        "last_used_ns",
        "name",
        "port",
        "resolved",
        "slot",
        "to_resolve",
    )

    def __init__(self, cache: MainDnsCache, name: str, default_port: int, slot: int) -> None:
        self._cache = cache
        self.name = name
        authority = parse_authority(name)
        self.to_resolve = authority.host
        self.port = default_port if authority.port is None else authority.port
        self.slot = slot
        self.addresses: list[str] = []
        self.details = ""
        self.failed = False
        self.resolved = False
        """Whether the first resolution is over."""
        options = cache.options
        self.backoff = Backoff(options.failure_base_ms, options.failure_max_ms) if options.failure_base_ms else None
        self._query: DnsQuery | None = None
        self._left_to_answer = 0
        dispatcher = cache.dispatcher
        self.last_used_ns = dispatcher.monotonic_ns()
        self._refresh_timer = dispatcher.create_timer(self._on_refresh)
        self._timeout_timer = dispatcher.create_timer(self._on_timeout)

    @property
    def entry(self) -> DnsEntry:
        """What workers are told of it."""
        return DnsEntry(self.name, self.port, self.addresses, self.details, self.failed, self.slot)

    # -- resolving -----------------------------------------------------------------------------------------------
    def resolve(self) -> None:
        """Ask now."""
        cache = self._cache
        log.debug(
            "starting main thread resolve for host='%s' dns='%s' port='%d'", self.name, self.to_resolve, self.port
        )
        cache.stats.inc(DNS_QUERY_ATTEMPT)
        if cache.options.query_timeout_ms:
            self._timeout_timer.enable(cache.options.query_timeout_ms)
        self._query = cache.resolver.resolve(self.to_resolve, cache.options.family, self._finish)

    def _on_timeout(self) -> None:
        self._cache.stats.inc(DNS_QUERY_TIMEOUT)
        if self._query is not None:
            self._query.cancel()
        self._finish(DnsAnswer(False, [], 0, "resolve_timeout"))

    def _finish(self, answer: DnsAnswer) -> None:
        cache = self._cache
        self._query = None
        self._timeout_timer.disable()
        cache.stats.inc(DNS_QUERY_SUCCESS if answer.ok else DNS_QUERY_FAILURE)
        first, self.resolved = not self.resolved, True
        changed = bool(answer.addresses) and answer.addresses != self.addresses
        details = answer.details.replace(" ", "_")
        if not answer.addresses:
            details = f"dns_resolution_failure{{{details}}}"
        if changed:
            had = bool(self.addresses)
            self.addresses, self.details, self.failed = answer.addresses, details, not answer.ok
            cache.on_addresses(self, had)
        elif not self.addresses:
            self.details, self.failed = details, not answer.ok
        if first or changed:
            cache.events.resolved(cache.options.name, self.entry)
        self._await_refresh(answer)

    def _await_refresh(self, answer: DnsAnswer) -> None:
        options = self._cache.options
        if not answer.ok:
            if not options.refresh_failures:
                return
            wait_ms = options.refresh_ms if self.backoff is None else self.backoff.next_ms()
        else:
            if self.backoff is not None:
                self.backoff.reset()
            # Envoy counts in whole seconds here; it would not wait at all for less than one.
            wait_ms = _whole_seconds(options.refresh_ms)
            if answer.addresses:
                wait_ms = max(_whole_seconds(options.min_refresh_ms), answer.ttl_s * 1000)
        log.debug("DNS refresh rate reset for host '%s', refresh rate %d ms", self.name, wait_ms)
        self._refresh_timer.enable(wait_ms)

    # -- expiry --------------------------------------------------------------------------------------------------
    def _on_refresh(self) -> None:
        """Resolve again, unless nobody needs it any more."""
        if self._left_to_answer:
            self._left_to_answer = 0
            self._decide()
        elif not self._is_expired():
            self.resolve()
        else:
            self._left_to_answer = self._cache.events.ask_last_use(self._cache.options.name, self.name)
            if self._left_to_answer:
                self._refresh_timer.enable(ANSWER_MS)
            else:
                self._decide()

    def on_last_use(self, last_used_ns: int) -> None:
        """A worker says when it last used the host."""
        self.last_used_ns = max(self.last_used_ns, last_used_ns)
        if self._left_to_answer:
            self._left_to_answer -= 1
            if not self._left_to_answer:
                self._refresh_timer.disable()
                self._decide()

    def _decide(self) -> None:
        if self._is_expired():
            self._cache.remove(self)
        else:
            self.resolve()

    def _is_expired(self) -> bool:
        cache = self._cache
        return cache.dispatcher.monotonic_ns() - self.last_used_ns > cache.options.host_ttl_ms * 1_000_000

    def close(self) -> None:
        """Nothing more happens with it."""
        if self._query is not None:
            self._query.cancel()
        self._refresh_timer.close()
        self._timeout_timer.close()

    def __repr__(self) -> str:
        return f"<CachedHost {self.name}: {self.addresses or self.details}>"


class MainDnsCache:
    """All hosts of one cache."""

    def __init__(
        self,
        options: DnsCacheOptions,
        dispatcher: Dispatcher,
        resolver: DnsResolver,
        events: CacheEvents,
        stats: Block,
        host_count: Resource,
    ) -> None:
        """``host_count``: what the workers compare with ``max_hosts``."""
        self.options = options
        self.dispatcher = dispatcher
        self.events = events
        self.stats = stats
        self.resolver = resolver
        self._host_count = host_count
        self._hosts: dict[str, CachedHost] = {}
        self._listeners: list[DnsCacheListener] = []
        self._next_slot = 0
        self._spare: list[int] = []

    def start(self) -> None:
        """Resolve what is known beforehand."""
        for host, port in self.options.preresolve:
            self.load(host if parse_authority(host).port is not None else f"{host}:{port}", port)

    def load(self, name: str, default_port: int, again: bool = False) -> None:
        """Resolve a host unless that was done or is under way; ``again``: even if it was done."""
        host = self._hosts.get(name)
        if host is not None:
            if not again or not host.resolved:
                return
            self._drop(host)
        host = self._hosts[name] = CachedHost(self, name, default_port, self._slot())
        self.stats.inc(HOST_ADDED)
        self.stats.set(NUM_HOSTS, len(self._hosts))
        self._host_count.inc()
        host.resolve()

    def _slot(self) -> int:
        if len(self._spare) > SPARE_SLOTS:
            return self._spare.pop(0)
        self._next_slot += 1
        return self._next_slot - 1

    # -- what hosts tell -----------------------------------------------------------------------------------------
    def on_addresses(self, host: CachedHost, had_some: bool) -> None:
        """A host has (other) addresses."""
        self.stats.inc(HOST_ADDRESS_CHANGED)
        for listener in self._listeners:
            if had_some:
                listener.on_host_changed(host)
            else:
                listener.on_host_added(host)

    def remove(self, host: CachedHost) -> None:
        """Nobody used it for ``host_ttl``."""
        log.debug("host='%s' TTL expired, removing", host.name)
        self._drop(host)
        self.events.gone(self.options.name, host.name)

    def _drop(self, host: CachedHost) -> None:
        del self._hosts[host.name]
        host.close()
        if host.addresses:
            for listener in self._listeners:
                listener.on_host_removed(host)
        self._spare.append(host.slot)
        self.stats.inc(HOST_REMOVED)
        self.stats.set(NUM_HOSTS, len(self._hosts))
        self._host_count.dec()

    # -- others --------------------------------------------------------------------------------------------------
    def on_last_use(self, name: str, last_used_ns: int) -> None:
        """A worker's answer."""
        host = self._hosts.get(name)
        if host is not None:
            host.on_last_use(last_used_ns)

    def add_listener(self, listener: DnsCacheListener) -> None:
        """``listener`` hears of what happens from now on; what there is, ``hosts`` tells."""
        self._listeners.append(listener)

    def remove_listener(self, listener: DnsCacheListener) -> None:
        """No longer."""
        self._listeners.remove(listener)

    def hosts(self) -> list[CachedHost]:
        """Hosts that have addresses."""
        return [host for host in self._hosts.values() if host.addresses]

    def entries(self) -> list[DnsEntry]:
        """What a new worker is told."""
        return [host.entry for host in self._hosts.values() if host.resolved]

    def __len__(self) -> int:
        return len(self._hosts)

    def close(self) -> None:
        """The server ends."""
        for host in self._hosts.values():
            host.close()


def _whole_seconds(milliseconds: int) -> int:
    return milliseconds // 1000 * 1000 or milliseconds
