"""A cluster in one worker (Envoy: ``ThreadLocalCluster``): its hosts, load balancer and connection pools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.event.slices import finish
from proxeny.upstream.discovery import ClusterLoadBalancer, ClusterType, WorkerSeat
from proxeny.upstream.endpoints import FAILED_ACTIVE_HC, FAILED_OUTLIER_CHECK
from proxeny.upstream.host import Health, Host
from proxeny.upstream.host_pools import HostPools
from proxeny.upstream.load_balancer.base import choose_none
from proxeny.upstream.load_balancer.contract import LbSetting
from proxeny.upstream.localities import our_locality
from proxeny.upstream.preconnect import Ahead
from proxeny.upstream.priority_set import PrioritySet
from proxeny.upstream.stats import UPSTREAM_CX_NONE_HEALTHY
from proxeny.upstream.transport_options import has_filter_state

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.event.dispatcher import Dispatcher
    from proxeny.event.slices import Steps
    from proxeny.network.socket_options import SocketOption
    from proxeny.pool.http import HttpConnPool
    from proxeny.pool.tcp import TcpConnPool
    from proxeny.upstream.cluster_config import ClusterConfig
    from proxeny.upstream.cluster_info import ClusterInfo
    from proxeny.upstream.endpoints import AssignmentPolicy, HealthFlags, HostChange, HostEntry
    from proxeny.upstream.host_pools import NoPool
    from proxeny.upstream.load_balancer.context import LbContext
    from proxeny.upstream.load_balancer.contract import DetermineLoad, LoadBalancer
    from proxeny.upstream.override_host import OverrideHost


class ThreadLocalCluster:
    """Chooses hosts and hands out their pools. ``choose_host(context) -> Host | None`` is an attribute that changes
    with the hosts: do not keep it."""

    __slots__ = (
        "_ahead", "_close_on_change", "_close_on_failure", "_dispatcher", "_lb", "_leaving", "_logical",
        "_override_statuses", "_pools", "_protocol", "_special", "_special_with_state", "_stale", "choose_host",
        "info", "own_load_balancer", "priority_set",
    )  # fmt: skip

    info: ClusterInfo
    choose_host: Callable[[Any], Host | None]

    def __init__(
        self,
        config: ClusterConfig,
        dispatcher: Dispatcher,
        worker_index: int = 0,
        on_host_changes: Callable[[list[HostChange]], object] = lambda changes: None,
        local_hosts: Callable[[], PrioritySet | None] = lambda: None,
    ) -> None:
        """``on_host_changes`` is told of hosts that come and go by themselves; ``local_hosts`` gives those of the
        local cluster."""
        self.info = config.info
        self.priority_set = PrioritySet(
            config.overprovisioning_factor, config.weighted_priority_health, our_locality(config.context.local_info)
        )
        self._dispatcher = dispatcher
        seat = WorkerSeat(dispatcher, worker_index, on_host_changes, self.priority_set)
        self.own_load_balancer: ClusterLoadBalancer | None = config.factory.load_balancer(config, seat)
        """The load balancer that the cluster's type brings."""
        self._lb: LoadBalancer = self.own_load_balancer or config.lb_policy.create(
            LbSetting(
                config.info,
                config.lb_common,
                self.priority_set,
                config.context,
                local_hosts,
                self.refresh_load_balancer,
            )
        )
        self._ahead = None if self.own_load_balancer is not None else Ahead.of(config)
        # A type whose hosts are those of other clusters has them find the pools too.
        theirs: HostPools | None = getattr(self.own_load_balancer, "pools", None)
        self._pools = theirs or HostPools(config, dispatcher, self._ahead)
        self._special = self._pools.always_special
        self._special_with_state = self._pools.special and not self._special
        self._protocol = config.info.http.protocol
        self._logical = config.type is ClusterType.LOGICAL_DNS
        self._override_statuses = config.lb_common.override_statuses
        self._close_on_change = config.lb_common.close_on_change
        self._close_on_failure = config.close_on_health_failure
        self._leaving: list[Host] = []
        """Hosts that are gone, but not their last connections."""
        self._stale: set[int] = set()
        """Priorities whose host sets do not follow their hosts' flags yet."""
        self.update_hosts(config.hosts)

    def update_hosts(self, entries: list[HostEntry], policy: AssignmentPolicy | None = None) -> None:
        """Replace the hosts; those that stay keep their connections, those that go drain theirs. ``policy``: instead
        of what the cluster's configuration says.

        A host is known by its stat block. Where the address of a logical host moves, open connections stay.
        """
        finish(self.update_hosts_steps(entries, policy))

    def update_hosts_steps(self, entries: list[HostEntry], policy: AssignmentPolicy | None = None) -> Steps[None]:
        """``update_hosts`` in slices: hosts that stay change one by one, members all at once."""
        if policy is not None:
            self.priority_set.overprovisioning_factor = policy.overprovisioning_factor
            self.priority_set.weighted_health = policy.weighted_priority_health
            self.info.drop_overload = policy.drop_overload
        known = {host.entry.stat_index: host for host in self.priority_set.hosts()}
        count = len(known)
        hosts, gone = [], []
        for entry in entries:
            host = known.pop(entry.stat_index, None)
            if host is None or not (self._logical or host.is_at(entry)):
                if host is not None:
                    gone.append(host)
                host = Host(self.info, entry, self.info.host_stats(entry.stat_index))
            else:
                host.update(entry)
            hosts.append(host)
            if not len(hosts) & 63:
                yield
        fresh = len(hosts) - (count - len(known) - len(gone))
        self._set_hosts(hosts)
        gone += known.values()
        yield
        for number, host in enumerate((*hosts, *gone) if self._close_on_change and (fresh or gone) else gone):
            host.drain_pools()
            if not number & 63:
                yield
        self._leaving = [host for host in (*self._leaving, *gone) if host.is_busy]

    def update_health(self, flags: HealthFlags, rebuild: bool) -> None:
        """Main found out about the health of hosts; those that are not there any more are passed over."""
        for host in self._hosts():
            found = flags.get(host.entry.stat_index)
            if found is not None and found != host.health_flags:
                failed = found & ~host.health_flags & (FAILED_ACTIVE_HC | FAILED_OUTLIER_CHECK)
                self._stale.add(host.priority)
                if host.health_flags & FAILED_ACTIVE_HC and not found & FAILED_ACTIVE_HC:
                    host.healthy_since_ms = self._dispatcher.now_ms
                host.set_health_flags(found)
                if failed:
                    host.on_health_failure(self._close_on_failure)
        if rebuild and self._stale:
            self.priority_set.refresh(self._stale)
            self._stale = set()
            self.refresh_load_balancer()

    def choose_host_by(self, determine: DetermineLoad, context: Any) -> Host | None:
        """A host by the loads of priorities that ``determine`` makes of the usual ones (retries)."""
        return self._counted(self._lb.choose_host_by(determine, context))

    def choose_uncounted(self, determine: DetermineLoad, context: Any) -> Host | None:
        """Likewise, for a cluster that has this one's hosts among its own: no host is that one's to count."""
        return self._lb.choose_host_by(determine, context)

    def choose_override_host(self, override: OverrideHost, context: Any) -> Host | None:
        """The host that the request asks for, if its health allows it; else that of the load balancer, or none."""
        host = self.priority_set.find(override.address)
        if host is not None and host.health_status in self._override_statuses:
            return host
        return self._counted(None) if override.strict else self.choose_host(context)

    def _set_hosts(self, hosts: list[Host]) -> None:
        self._stale = set()
        self.priority_set.update(hosts)
        self.refresh_load_balancer()

    def refresh_load_balancer(self) -> None:
        """What it chooses by changed: hosts, their health, or the local cluster."""
        balancer = self._lb
        balancer.refresh()
        self.choose_host = balancer.choose_host if getattr(balancer, "always_finds", False) else self._choose
        if self._ahead is not None:
            healthy = [host for host in self.priority_set.hosts() if host.health is Health.HEALTHY]
            self.choose_host = self._ahead.choosing(self.choose_host, len(healthy))

    def _choose(self, context: Any) -> Host | None:
        return self._counted(self._lb.choose_host(context))

    def _counted(self, host: Host | None) -> Host | None:
        if host is None:
            self.info.stats.inc(UPSTREAM_CX_NONE_HEALTHY)
        return host

    def http_pool(
        self,
        host: Host,
        priority: int,
        downstream_protocol: str | None = None,
        options: tuple[SocketOption, ...] = (),
        context: LbContext | None = None,
    ) -> HttpConnPool | NoPool:
        """The HTTP pool of a host for a routing priority, and for the ``options`` of the downstream's upstream
        sockets; made at the first use."""
        if options or self._special or (self._special_with_state and has_filter_state(context)):
            return self._pools.http_pool(host, priority, downstream_protocol, options, context)
        pool = host.http_pools.get(priority)
        return self._pools.make_http_pool(host, priority, self._protocol) if pool is None else pool

    def tcp_pool(
        self,
        host: Host,
        priority: int,
        options: tuple[SocketOption, ...] = (),
        context: LbContext | None = None,
    ) -> TcpConnPool:
        """The TCP pool of a host, likewise."""
        return self._pools.tcp_pool(host, priority, options, context)

    def close(self) -> list[Host]:
        """The cluster goes: its connections drain, and nothing refers back to it any more. The hosts that some may
        still lead to."""
        hosts = [*self._leaving, *self._hosts()]
        for host in self.priority_set.hosts():
            host.drain_pools()
        self._set_hosts([])
        self._lb.close()
        if self._ahead is not None:
            self._ahead.choosing(choose_none, 0)
        self.choose_host = choose_none
        return [host for host in hosts if host.is_busy]

    def _hosts(self) -> list[Host]:
        return self.priority_set.hosts() if self.own_load_balancer is None else self.own_load_balancer.hosts()

    def statistics(self) -> dict[str, Any]:
        """For admin pages and tests."""
        return {
            "hosts": [(host.address.as_string(), host.statistics()) for host in self._hosts()],
            "load_balancer": self._lb.statistics(),
        }

    def __repr__(self) -> str:
        return f"<ThreadLocalCluster {self.info.name}: {self.priority_set.host_sets}>"
