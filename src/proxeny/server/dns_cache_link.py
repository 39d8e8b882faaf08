"""DNS caches between main and the workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxeny.server import messages
from proxeny.upstream.dns_cache.caches import MainDnsCaches

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext
    from proxeny.server.supervisor import Supervisor, Worker
    from proxeny.upstream.dns_cache.entry import DnsEntry


class DnsCacheLink:
    """Main's end: what its caches tell the workers, and what these ask."""

    def __init__(self, context: FactoryContext, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._caches = MainDnsCaches.of(context)
        self._caches.link = self

    def feed(self, worker: Worker) -> None:
        """A new worker knows what the others do."""
        for cache, entry in self._caches.entries():
            worker.send(messages.DnsHostResolved(cache, entry))

    def send_dns_entry(self, cache: str, entry: DnsEntry) -> None:
        """To all workers."""
        self._supervisor.broadcast(messages.DnsHostResolved(cache, entry))

    def send_dns_host_gone(self, cache: str, name: str) -> None:
        """To all workers."""
        self._supervisor.broadcast(messages.DnsHostGone(cache, name))

    def ask_dns_host_use(self, cache: str, name: str) -> int:
        """All workers; how many they are."""
        self._supervisor.broadcast(messages.AskDnsHostUse(cache, name))
        return len(self._supervisor.configured_workers())

    def on_message(self, message: messages.ResolveDnsHost | messages.DnsHostUsed) -> None:
        """From a worker."""
        if isinstance(message, messages.ResolveDnsHost):
            self._caches.on_load(message.cache, message.name, message.default_port, message.again)
        else:
            self._caches.on_last_use(message.cache, message.name, message.last_used_ns)

    def close(self) -> None:
        """Stop resolving."""
        self._caches.close()
