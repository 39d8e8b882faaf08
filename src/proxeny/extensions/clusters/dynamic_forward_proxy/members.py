"""The hosts of a dynamic forward proxy cluster as main shows them: the names of its DNS cache that have addresses.

The workers hear of hosts from the cache itself; from here they only get to know where the hosts' counts are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxeny.extensions.clusters.dynamic_forward_proxy.load_balancer import host_entry
from proxeny.upstream.stats import DEFAULT_TOTAL_MATCH_COUNT

if TYPE_CHECKING:
    from proxeny.upstream.cluster_info import ClusterInfo
    from proxeny.upstream.discovery import DiscoveryOwner
    from proxeny.upstream.dns_cache.main_cache import CachedHost, MainDnsCache
    from proxeny.upstream.endpoints import HostEntry


class DynamicMembers:
    """A ``Discovery`` that follows a cache."""

    def __init__(self, info: ClusterInfo, cache: MainDnsCache, owner: DiscoveryOwner) -> None:
        self._info = info
        self._cache = cache
        self._owner = owner
        self._entries: dict[str, HostEntry] = {}

    def start(self) -> None:
        """Take over what the cache has; nobody waits for more."""
        self._cache.add_listener(self)
        for host in self._cache.hosts():
            self.on_host_added(host)
        self._owner.initialized()

    def on_host_added(self, host: CachedHost) -> None:
        """A host has its first addresses."""
        entry = self._entries[host.name] = host_entry(host.entry)
        # As for every host that is made, a transport socket was looked for.
        self._info.stats.inc(DEFAULT_TOTAL_MATCH_COUNT)
        self._owner.publish_change([entry], [])

    def on_host_changed(self, host: CachedHost) -> None:
        """It has others: the same host elsewhere."""
        entry, now = self._entries[host.name], host_entry(host.entry)
        entry.address, entry.additional_addresses = now.address, now.additional_addresses

    def on_host_removed(self, host: CachedHost) -> None:
        """It is forgotten."""
        self._owner.publish_change([], [self._entries.pop(host.name)])

    def close(self) -> None:
        """The cluster goes."""
        self._cache.remove_listener(self)
