"""DNS resolvers: names to addresses, asynchronously (Envoy: ``Network::DnsResolver``).

How others use it (in main, or in a worker)::

    resolvers = DnsResolvers(context)
    query = resolvers.get(dns_resolver_config.select(message)).resolve("a.test", dns_options.AUTO, callback)
    query.cancel()                                          # the callback is not called any more

Resolvers of equal options are one and the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from proxeny.stats.schema import Schema
from proxeny.upstream.dns_resolver_config import CaresOptions, ResolverOptions, default

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from proxeny.kernel.stats import Block
    from proxeny.network.factory_context import FactoryContext

CARES: Final = Schema(
    "dns_cares",
    counters=("get_addr_failure", "not_found", "reinits", "resolve_total", "timeouts"),
    gauges=("pending_resolutions",),
)
"""Prefix ``dns.cares.``: of all c-ares resolvers of the process."""
CARES_PREFIX: Final = "dns.cares."


class DnsAnswer(NamedTuple):
    """What a name resolved to. ``ok`` is also true for a name that does not exist: then there are no addresses."""

    ok: bool
    addresses: list[str]
    """IP literals, as the name server ordered them."""
    ttl_s: int
    """The smallest TTL; 0 when unknown."""
    details: str = ""
    """How it ended, for logs and response details."""


DnsCallback = Callable[[DnsAnswer], object]


class DnsQuery(Protocol):
    """A name being resolved."""

    def cancel(self) -> None:
        """Nobody is called back any more; also after the answer."""


class DnsResolver(Protocol):
    """Resolves names."""

    def resolve(self, name: str, family: int, callback: DnsCallback) -> DnsQuery:
        """Look up ``name`` in a ``Cluster.DnsLookupFamily``; the callback never runs inside this call."""

    def close(self) -> None:
        """Cancel what runs; nobody is called back."""


def stats_of(context: FactoryContext) -> Block:
    """The counts of c-ares; to be called in main as well wherever a worker resolves."""
    return context.stats.block(CARES, CARES_PREFIX)


def create(loop: AbstractEventLoop, options: ResolverOptions, stats: Block, runtime: Any = None) -> DnsResolver:
    """A resolver of its own; ``runtime`` has its features, as Envoy has them by default without it."""
    # Imported when first needed: nearly no worker resolves names.
    if isinstance(options, CaresOptions):
        from proxeny.upstream.cares_resolver import CaresResolver

        return CaresResolver(loop, options, stats, runtime)
    from proxeny.upstream.getaddrinfo_resolver import GetAddrInfoResolver

    return GetAddrInfoResolver(loop, options, runtime)


class DnsResolvers:
    """The resolvers of one process, each made when first asked for; ConfigError when the server's cannot be."""

    __slots__ = ("_context", "_default", "_resolvers", "_stats")

    def __init__(self, context: FactoryContext) -> None:
        self._context = context
        self._stats = stats_of(context)
        self._default = default(context.bootstrap)
        self._resolvers: dict[ResolverOptions, DnsResolver] = {}

    def get(self, options: ResolverOptions | None = None) -> DnsResolver:
        """The resolver of these options; None: the server's default."""
        if options is None:
            options = self._default
        resolver = self._resolvers.get(options)
        if resolver is None:
            context = self._context
            assert context.dispatcher is not None
            resolver = create(context.dispatcher, options, self._stats, context.runtime)
            self._resolvers[options] = resolver
        return resolver

    def close(self) -> None:
        """The process ends."""
        for resolver in self._resolvers.values():
            resolver.close()
        self._resolvers.clear()
