"""DNS caches, and sub-clusters of dynamic forward proxies, between main and the workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxeny.server import messages
from proxeny.upstream.dns_cache.caches import MainDnsCaches
from proxeny.upstream.sub_cluster_link import MainSubClusterLink

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher
    from proxeny.network.factory_context import FactoryContext
    from proxeny.server.supervisor import Supervisor, Worker
    from proxeny.upstream.dns_cache.entry import DnsEntry
    from proxeny.upstream.main_cluster_manager import MainClusterManager


FromWorker = messages.ResolveDnsHost | messages.DnsHostUsed | messages.AskSubCluster | messages.SubClustersUsed


class DnsCacheLink:
    """Main's end: what is told the workers, and what these ask."""

    def __init__(self, context: FactoryContext, supervisor: Supervisor, dispatcher: Dispatcher) -> None:
        self._supervisor = supervisor
        self._dispatcher = dispatcher
        self._caches = MainDnsCaches.of(context)
        self._caches.link = self
        self._sub_clusters = MainSubClusterLink.of(context)
        self._sub_clusters.link = self

    def watch(self, clusters: MainClusterManager) -> None:
        """Tell of sub-clusters that become active."""
        self._sub_clusters.watch(clusters)

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

    def send_sub_cluster(self, parent: str, name: str, there: bool) -> None:
        """To all workers, behind the cluster itself, which leaves at the end of this turn."""
        message = messages.SubCluster(parent, name, there)
        self._dispatcher.call_soon(self._supervisor.broadcast, message)

    def ask_sub_cluster_use(self, parent: str) -> int:
        """All workers; how many they are."""
        self._supervisor.broadcast(messages.AskSubClusterUse(parent))
        return len(self._supervisor.configured_workers())

    def on_message(self, message: FromWorker) -> None:
        """From a worker."""
        if isinstance(message, messages.AskSubCluster):
            self._sub_clusters.on_ask(message.parent, message.name, message.host, message.port)
        elif isinstance(message, messages.SubClustersUsed):
            self._sub_clusters.on_used(message.parent, message.last_used)
        elif isinstance(message, messages.ResolveDnsHost):
            self._caches.on_load(message.cache, message.name, message.default_port, message.again)
        else:
            self._caches.on_last_use(message.cache, message.name, message.last_used_ns)

    def close(self) -> None:
        """Stop resolving."""
        self._caches.close()
