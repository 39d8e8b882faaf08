"""DNS caches between a worker and main."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxeny.server import messages
from proxeny.upstream.dns_cache.caches import WorkerDnsCaches

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext
    from proxeny.server.channel import Channel


class DnsCacheLink:
    """The worker's end: what main says of hosts, and what is asked of it."""

    def __init__(self, context: FactoryContext, channel: Channel) -> None:
        self._channel = channel
        self._caches = WorkerDnsCaches.of(context)
        self._caches.link = self

    def ask_dns_host(self, cache: str, name: str, default_port: int, again: bool) -> None:
        """Have main resolve a host."""
        self._channel.send(messages.ResolveDnsHost(cache, name, default_port, again))

    def on_message(self, message: messages.DnsHostResolved | messages.DnsHostGone | messages.AskDnsHostUse) -> None:
        """From main."""
        if isinstance(message, messages.DnsHostResolved):
            self._caches.on_resolved(message.cache, message.entry)
        elif isinstance(message, messages.DnsHostGone):
            self._caches.on_gone(message.cache, message.name)
        else:
            last_used = self._caches.last_use(message.cache, message.name)
            self._channel.send(messages.DnsHostUsed(message.cache, message.name, last_used))
