"""The hosts of a dynamic forward proxy cluster in one worker, and the choice among them.

A host is what the DNS cache knows under a name with a port; it is made when it is first chosen. Its address may move:
open connections stay, new ones go to the new address. A request for a name that is not known yet waits for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.extensions.clusters.dynamic_forward_proxy.absent_host import ABSENT_STAT_INDEX, AbsentHost
from proxeny.extensions.clusters.dynamic_forward_proxy.wanted import default_port, wanted_host, wanted_port
from proxeny.upstream.dns_cache.names import with_port
from proxeny.upstream.endpoints import HostEntry
from proxeny.upstream.host import Health, Host
from proxeny.upstream.stats import UPSTREAM_CX_NONE_HEALTHY

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.upstream.cluster_info import ClusterInfo
    from proxeny.upstream.dns_cache.entry import DnsEntry
    from proxeny.upstream.dns_cache.worker_cache import KnownHost, WorkerDnsCache
    from proxeny.upstream.load_balancer.context import LbContext
    from proxeny.upstream.load_balancer.contract import DetermineLoad

EMPTY_HOST: Final = "empty_host_header"
OVERFLOW: Final = "dns_cache_overflow"


class DynamicHost(Host):
    """A host of the DNS cache."""

    __slots__ = ("known", "slot")

    def __init__(self, cluster: ClusterInfo, known: KnownHost) -> None:
        entry = host_entry(known.entry)
        super().__init__(cluster, entry, cluster.host_stats(entry.stat_index))
        self.known = known
        self.slot = known.entry.slot


def host_entry(entry: DnsEntry) -> HostEntry:
    """The member of a cluster that a name with addresses is."""
    made = HostEntry(entry.addresses[0], entry.port, entry.name, stat_index=host_stat_index(entry))
    made.additional_addresses = tuple([(address, entry.port) for address in entry.addresses[1:]])
    return made


def host_stat_index(entry: DnsEntry) -> int:
    """Which of a cluster's per-host blocks is the host's."""
    return entry.slot + ABSENT_STAT_INDEX + 1


class DynamicLoadBalancer:
    """``choose_host`` by the host that the request, or the connection, is for."""

    __slots__ = ("_hosts", "_info", "_now", "cache", "default_port")

    always_finds = True
    """Where it does not, it counts that itself."""

    def __init__(self, info: ClusterInfo, cache: WorkerDnsCache, now: Callable[[], int]) -> None:
        """``now``: the dispatcher's clock."""
        self._info = info
        self._now = now
        self._hosts: dict[bytes, DynamicHost] = {}
        self.cache = cache
        self.default_port = default_port(info)
        cache.add_listener(self)

    # -- choosing ------------------------------------------------------------------------------------------------
    def choose_host(self, context: LbContext | None) -> Host | None:
        """The host of the name that ``context`` brings; an absent one where it has to be resolved first."""
        name = b"" if context is None else wanted_host(context)
        if not name:
            return self._none(context, EMPTY_HOST)
        assert context is not None
        port = wanted_port(context, self.default_port)
        host = self._hosts.get(name) or self._hosts.get(with_port(name, port))
        if host is None:
            return self._look_up(context, name, port)
        if host.health is Health.UNHEALTHY:
            return self._none(context, "")
        host.known.last_used_ns = self._now()
        return host

    def choose_host_by(self, determine: DetermineLoad, context: Any) -> Host | None:
        """There are no priorities."""
        return self.choose_host(context)

    def _look_up(self, context: LbContext, name: bytes, port: int) -> Host | None:
        known = self.cache.find(name, port)
        if known is not None:
            if not known.entry.addresses:
                return self._none(context, known.entry.details)
            return self.host_of(known)
        absent = AbsentHost(self._info, context, self.host_of)
        absent.pending = self.cache.load(name, port, absent.on_resolved)
        if absent.pending is None:
            return self._none(context, OVERFLOW)
        if context.downstream_headers is None:
            # Only requests wait. The answer serves the next connection.
            absent.give_up()
            return None
        return absent

    def host_of(self, known: KnownHost) -> Host:
        """The host of a name with addresses, about to be used."""
        name = known.entry.name.encode("latin-1")
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = DynamicHost(self._info, known)
        known.last_used_ns = self._now()
        return host

    def _none(self, context: LbContext | None, details: str) -> Host | None:
        """No host; a request is told why."""
        self._info.stats.inc(UPSTREAM_CX_NONE_HEALTHY)
        if context is None or not details or context.downstream_headers is None:
            return None
        absent = AbsentHost(self._info, context, self.host_of)
        absent.details = details
        return absent

    # -- the cache's hosts change --------------------------------------------------------------------------------
    def on_host(self, known: KnownHost) -> None:
        """A name is new, or has other addresses."""
        entry = known.entry
        name = entry.name.encode("latin-1")
        host = self._hosts.get(name)
        if host is None:
            if entry.addresses:
                # Another host may have counted there.
                self._info.clear_host_stats(host_stat_index(entry))
            return
        if host.slot == entry.slot and entry.addresses:
            health = host.health_flags
            host.update(host_entry(entry))
            host.set_health_flags(health)
        else:
            self._drop(name)

    def on_host_gone(self, known: KnownHost) -> None:
        """A name is forgotten."""
        self._drop(known.entry.name.encode("latin-1"))

    def _drop(self, name: bytes) -> None:
        host = self._hosts.pop(name, None)
        if host is not None:
            host.drain_pools()

    # -- others --------------------------------------------------------------------------------------------------
    def refresh(self) -> None:
        """Main publishes no hosts to choose from."""

    def hosts(self) -> list[Host]:
        """All hosts that were used here."""
        return list(self._hosts.values())

    def statistics(self) -> dict[str, Any]:
        """For admin pages and tests."""
        return {"policy": "cluster_provided", "hosts": len(self._hosts)}

    def close(self) -> None:
        """The cluster goes."""
        self.cache.remove_listener(self)
        for name in list(self._hosts):
            self._drop(name)
