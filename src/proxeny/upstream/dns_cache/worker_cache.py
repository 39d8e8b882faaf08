"""A worker's copy of a DNS cache, and the requests that wait for main's answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from proxeny.upstream.dns_cache.names import with_port
from proxeny.upstream.dns_cache.stats import DNS_RQ_PENDING_OVERFLOW, HOST_OVERFLOW
from proxeny.upstream.pending_answer import PendingAnswer

if TYPE_CHECKING:
    from proxeny.kernel.limits import Resource
    from proxeny.kernel.stats import Block
    from proxeny.upstream.dns_cache.config import DnsCacheOptions
    from proxeny.upstream.dns_cache.entry import DnsEntry


class KnownHost:
    """A host of the cache as this worker knows it; the same object while the host is in the cache."""

    __slots__ = ("entry", "last_used_ns")

    def __init__(self, entry: DnsEntry) -> None:
        self.entry = entry
        self.last_used_ns = 0


class WorkerCacheListener(Protocol):
    """Hears of changes of known hosts: clusters."""

    def on_host(self, host: KnownHost) -> None:
        """A host is new, or has other addresses."""

    def on_host_gone(self, host: KnownHost) -> None:
        """It is forgotten."""


PendingLoad = PendingAnswer[bytes, Callable[[KnownHost], None]]
"""A request that waits for a host."""


class WorkerDnsCache:
    """The copy. ``find`` what is known, else ``load`` it."""

    def __init__(
        self, options: DnsCacheOptions, hosts: dict[bytes, KnownHost], ask: Callable[[str, int, bool], object],
        stats: Block, host_count: Resource, pending: Resource, runtime: Any = None,
    ) -> None:  # fmt: skip
        """``ask`` main for a host: its name, its port if it names none, whether again."""
        self.options = options
        self.hosts = hosts
        self.pending = pending
        """Requests that wait for answers, over all workers."""
        self._ask = ask
        self._stats = stats
        self._host_count = host_count
        self._runtime = runtime
        self._snapshot: Any = None
        self._waiting: dict[bytes, list[PendingLoad]] = {}
        self._listeners: list[WorkerCacheListener] = []

    def can_wait(self) -> bool:
        """Whether one more request may wait for an answer (counted where not)."""
        if self._runtime is not None and self._runtime.snapshot is not self._snapshot:
            self._snapshot = self._runtime.snapshot
            self.pending.max = pending_limit(self.options, self._runtime)
        if self.pending.can_create():
            return True
        self._stats.inc(DNS_RQ_PENDING_OVERFLOW)
        return False

    def find(self, host: bytes, default_port: int) -> KnownHost | None:
        """A host whose first resolution is over; None: it has to be loaded."""
        known = self.hosts.get(host)
        if known is None:
            known = self.hosts.get(with_port(host, default_port))
            if known is None:
                return None
        return known if self.options.refresh_failures or not known.entry.failed else None

    def load(self, host: bytes, default_port: int, callback: Callable[[KnownHost], None]) -> PendingLoad | None:
        """Ask main; ``callback`` gets the answer later. None: the cache is full (counted)."""
        if not self._host_count.can_create():
            self._stats.inc(HOST_OVERFLOW)
            return None
        name = with_port(host, default_port)
        pending = PendingLoad(self._waiting, name, callback)
        self._ask(name.decode("latin-1"), default_port, name in self.hosts)
        return pending

    # -- what main says ------------------------------------------------------------------------------------------
    def on_resolved(self, known: KnownHost) -> None:
        """A host is known, or known better."""
        for listener in self._listeners:
            listener.on_host(known)
        for pending in self._waiting.pop(known.entry.name.encode("latin-1"), ()):
            pending.callback(known)

    def on_gone(self, known: KnownHost) -> None:
        """A host is not used any more."""
        for listener in self._listeners:
            listener.on_host_gone(known)

    def add_listener(self, listener: WorkerCacheListener) -> None:
        """``listener`` hears of what happens from now on."""
        self._listeners.append(listener)

    def remove_listener(self, listener: WorkerCacheListener) -> None:
        """No longer."""
        self._listeners.remove(listener)

    @property
    def waiting(self) -> int:
        """How many requests wait here."""
        return sum(map(len, self._waiting.values()))


def pending_limit(options: DnsCacheOptions, runtime: Any) -> int:
    """How many requests may wait: the runtime's ``dns_cache.<name>.circuit_breakers`` is above the configuration."""
    if runtime is None:
        return options.max_pending
    return int(runtime.get_integer(f"dns_cache.{options.name}.circuit_breakers", options.max_pending))
