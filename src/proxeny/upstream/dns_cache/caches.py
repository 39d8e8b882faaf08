"""All DNS caches of a process, by name (Envoy: ``DnsCacheManagerImpl``): main's, and a worker's copies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from proxeny.config.errors import ConfigError
from proxeny.kernel.limits import LimitTable, Resource
from proxeny.stats.store import MainStore
from proxeny.upstream.dns_cache import config as dns_cache_config
from proxeny.upstream.dns_cache.main_cache import MainDnsCache
from proxeny.upstream.dns_cache.stats import (
    DNS_CACHE,
    DNS_CACHE_BREAKERS,
    DNS_CACHE_LIMITS,
    HOSTS_ROW,
    PENDING_ROW,
    RQ_PENDING_OPEN,
    RQ_PENDING_REMAINING,
)
from proxeny.upstream.dns_cache.worker_cache import KnownHost, WorkerDnsCache, pending_limit
from proxeny.upstream.dns_resolver import DnsResolvers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxeny.kernel.stats import Block
    from proxeny.network.factory_context import FactoryContext
    from proxeny.upstream.dns_cache.config import DnsCacheOptions
    from proxeny.upstream.dns_cache.entry import DnsEntry

SINGLETON: Final = "dns_cache_manager"


class _Blocks:
    """Where one cache counts."""

    __slots__ = ("breakers", "limits_base", "stats")

    def __init__(self, name: str, context: FactoryContext) -> None:
        store = context.stats
        # A cache without a name is what a configuration with sub-clusters comes with.
        prefix = f"dns_cache.{name}." if name else "dns_cache."
        self.stats = store.block(DNS_CACHE, prefix)
        self.breakers = store.block(DNS_CACHE_BREAKERS, f"{prefix}circuit_breakers.")
        self.limits_base: int = store.block(DNS_CACHE_LIMITS, prefix).base


class _Configs:
    """What was configured under which name."""

    def __init__(self, context: FactoryContext) -> None:
        self._context = context
        self._configs: dict[str, tuple[bytes, DnsCacheOptions]] = {}
        self._own_limits: LimitTable | None = None

    def compile(self, config: Any) -> tuple[DnsCacheOptions, bool]:
        """The options, and whether they are new; ConfigError for a second configuration of one name."""
        data = config.SerializeToString(deterministic=True)
        known = self._configs.get(config.name)
        if known is None:
            options = dns_cache_config.compile(config)
            self._configs[config.name] = data, options
            return options, True
        if known[0] != data:
            raise ConfigError(f"config specified DNS cache '{config.name}' with different settings")
        return known[1], False

    @property
    def limits(self) -> LimitTable:
        """The table of counts; alone (unit tests, tools) one of this process."""
        if self._context.limits is not None:
            return self._context.limits
        if self._own_limits is None:
            self._own_limits = LimitTable.create(1)
        return self._own_limits


class WorkerLink(Protocol):
    """How main reaches the workers; each of these goes to all of them."""

    def send_dns_entry(self, cache: str, entry: DnsEntry) -> None:
        """A host is known, or known better."""

    def send_dns_host_gone(self, cache: str, name: str) -> None:
        """A host is forgotten."""

    def ask_dns_host_use(self, cache: str, name: str) -> int:
        """When was a host last used? How many workers were asked."""


class _NoWorkers:
    """Before there are any."""

    def send_dns_entry(self, cache: str, entry: DnsEntry) -> None:
        """Nobody has to know."""

    def send_dns_host_gone(self, cache: str, name: str) -> None:
        """Nor forget."""

    def ask_dns_host_use(self, cache: str, name: str) -> int:
        """Nobody."""
        return 0


class MainDnsCaches:
    """The caches themselves. They live as long as the server, as Envoy's do."""

    def __init__(self, context: FactoryContext) -> None:
        self._context = context
        self._configs = _Configs(context)
        self._caches: dict[str, MainDnsCache] = {}
        self._resolvers = DnsResolvers(context)
        self._pending: list[tuple[DnsCacheOptions, Resource, Block]] = []
        """Requests that wait, by cache, and where their number shows."""
        self._store = cast(MainStore, context.stats)
        self._store.before_reading.append(self._show_pending)
        self.link: WorkerLink = _NoWorkers()

    @staticmethod
    def of(context: FactoryContext) -> MainDnsCaches:
        """Main's caches; made when first asked for."""
        caches: MainDnsCaches = context.singletons.get(SINGLETON) or MainDnsCaches(context)
        context.singletons[SINGLETON] = caches
        return caches

    def add(self, config: Any) -> DnsCacheOptions:
        """Have the cache that a DnsCacheConfig describes; ConfigError."""
        options, is_new = self._configs.compile(config)
        if is_new:
            # An owner besides the configurations that name the cache.
            with self._store.recording():
                _Blocks(options.name, self._context)
        blocks = _Blocks(options.name, self._context)
        if is_new:
            pending = Resource(self._configs.limits, blocks.limits_base + PENDING_ROW, options.max_pending)
            self._pending.append((options, pending, blocks.breakers))
            if self._context.dispatcher is not None:
                self._start(options, blocks)
        return options

    def _show_pending(self) -> None:
        """Set the gauges of circuit breakers."""
        for options, pending, gauges in self._pending:
            most, count = pending_limit(options, self._context.runtime), pending.count
            gauges.set(RQ_PENDING_OPEN, int(count >= most))
            gauges.set(RQ_PENDING_REMAINING, max(0, most - count))

    def _start(self, options: DnsCacheOptions, blocks: _Blocks) -> None:
        dispatcher = self._context.dispatcher
        assert dispatcher is not None
        resolver = self._resolvers.get(options.resolver)
        count = Resource(self._configs.limits, blocks.limits_base + HOSTS_ROW, options.max_hosts)
        cache = self._caches[options.name] = MainDnsCache(options, dispatcher, resolver, self, blocks.stats, count)
        cache.start()

    def find(self, name: str) -> MainDnsCache:
        """The cache of a name that was added."""
        return self._caches[name]

    # -- towards the workers -------------------------------------------------------------------------------------
    def resolved(self, cache: str, entry: DnsEntry) -> None:
        """Tell them."""
        self.link.send_dns_entry(cache, entry)

    def gone(self, cache: str, name: str) -> None:
        """Tell them."""
        self.link.send_dns_host_gone(cache, name)

    def ask_last_use(self, cache: str, name: str) -> int:
        """Ask them."""
        return self.link.ask_dns_host_use(cache, name)

    def entries(self) -> Iterator[tuple[str, DnsEntry]]:
        """What a new worker must be told."""
        for name, cache in self._caches.items():
            for entry in cache.entries():
                yield name, entry

    # -- from the workers ----------------------------------------------------------------------------------------
    def on_load(self, cache: str, name: str, default_port: int, again: bool) -> None:
        """A worker wants a host."""
        known = self._caches.get(cache)
        if known is not None:
            known.load(name, default_port, again)

    def on_last_use(self, cache: str, name: str, last_used_ns: int) -> None:
        """A worker answers when it last used a host."""
        known = self._caches.get(cache)
        if known is not None:
            known.on_last_use(name, last_used_ns)

    def close(self) -> None:
        """The server ends."""
        for cache in self._caches.values():
            cache.close()
        self._resolvers.close()


class MainLink(Protocol):
    """How a worker reaches main."""

    def ask_dns_host(self, cache: str, name: str, default_port: int, again: bool) -> None:
        """Resolve a host."""


class WorkerDnsCaches:
    """A worker's copies. Hosts are kept also for caches that nothing here was compiled for yet."""

    def __init__(self, context: FactoryContext) -> None:
        self._context = context
        self._configs = _Configs(context)
        self._hosts: dict[str, dict[bytes, KnownHost]] = {}
        self._caches: dict[str, WorkerDnsCache] = {}
        self.link: MainLink | None = None

    @staticmethod
    def of(context: FactoryContext) -> WorkerDnsCaches:
        """The worker's copies; made when first asked for."""
        caches: WorkerDnsCaches = context.singletons.get(SINGLETON) or WorkerDnsCaches(context)
        context.singletons[SINGLETON] = caches
        return caches

    def add(self, config: Any) -> WorkerDnsCache:
        """The copy of the cache that a DnsCacheConfig describes; ConfigError."""
        options, is_new = self._configs.compile(config)
        if is_new:
            self._caches[options.name] = self._make(options)
        return self._caches[options.name]

    def _make(self, options: DnsCacheOptions) -> WorkerDnsCache:
        name, blocks, table = options.name, _Blocks(options.name, self._context), self._configs.limits
        count = Resource(table, blocks.limits_base + HOSTS_ROW, options.max_hosts)
        pending = Resource(table, blocks.limits_base + PENDING_ROW, options.max_pending)
        hosts = self._hosts.setdefault(name, {})

        def ask(host: str, default_port: int, again: bool) -> None:
            if self.link is not None:
                self.link.ask_dns_host(name, host, default_port, again)

        return WorkerDnsCache(options, hosts, ask, blocks.stats, count, pending, self._context.runtime)

    # -- what main says ------------------------------------------------------------------------------------------
    def on_resolved(self, cache: str, entry: DnsEntry) -> None:
        """A host is known, or known better."""
        hosts = self._hosts.setdefault(cache, {})
        name = entry.name.encode("latin-1")
        known = hosts.get(name)
        if known is None:
            known = hosts[name] = KnownHost(entry)
        else:
            known.entry = entry
        copy = self._caches.get(cache)
        if copy is not None:
            copy.on_resolved(known)

    def on_gone(self, cache: str, name: str) -> None:
        """A host is forgotten."""
        known = self._hosts.get(cache, {}).pop(name.encode("latin-1"), None)
        copy = self._caches.get(cache)
        if copy is not None and known is not None:
            copy.on_gone(known)

    def last_use(self, cache: str, name: str) -> int:
        """When a host was last used here, in nanoseconds; 0: never."""
        known = self._hosts.get(cache, {}).get(name.encode("latin-1"))
        return 0 if known is None else known.last_used_ns
