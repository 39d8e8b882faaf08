"""DNS caches, and sub-clusters of dynamic forward proxies, between a worker and main."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxeny.server import messages
from proxeny.upstream.dns_cache.caches import WorkerDnsCaches
from proxeny.upstream.sub_cluster_link import WorkerSubClusters

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext
    from proxeny.server.channel import Channel


class DnsCacheLink:
    """The worker's end: what main says of hosts, and what is asked of it."""

    def __init__(self, context: FactoryContext, channel: Channel) -> None:
        self._channel = channel
        self._caches = WorkerDnsCaches.of(context)
        self._caches.link = self
        self._sub_clusters = WorkerSubClusters.of(context)
        self._sub_clusters.link = self

    def ask_dns_host(self, cache: str, name: str, default_port: int, again: bool) -> None:
        """Have main resolve a host."""
        self._channel.send(messages.ResolveDnsHost(cache, name, default_port, again))

    def ask_sub_cluster(self, parent: str, name: str, host: str, port: int) -> None:
        """Have main add a sub-cluster."""
        self._channel.send(messages.AskSubCluster(parent, name, host, port))

    def on_sub_cluster(self, message: messages.SubCluster | messages.AskSubClusterUse) -> None:
        """From main."""
        if isinstance(message, messages.SubCluster):
            self._sub_clusters.on_sub_cluster(message.parent, message.name, message.there)
        else:
            used = self._sub_clusters.take_used(message.parent)
            self._channel.send(messages.SubClustersUsed(message.parent, used))

    def on_message(self, message: messages.DnsHostResolved | messages.DnsHostGone | messages.AskDnsHostUse) -> None:
        """From main."""
        if isinstance(message, messages.DnsHostResolved):
            self._caches.on_resolved(message.cache, message.entry)
        elif isinstance(message, messages.DnsHostGone):
            self._caches.on_gone(message.cache, message.name)
        else:
            last_used = self._caches.last_use(message.cache, message.name)
            self._channel.send(messages.DnsHostUsed(message.cache, message.name, last_used))
