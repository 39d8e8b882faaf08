"""Where a cluster's hosts come from, and who chooses among them: the contract of cluster types.

A type is one ``ClusterFactory`` (Envoy: ``ClusterFactory``). Those of Envoy's enum are in ``cluster_types``;
others are extensions of the kind "cluster": a row in ``proxeny.extensions`` and a ``FACTORY`` in their module.

- ``compile`` runs in main (validates, allots statistics) and in every worker: its result is ``ClusterConfig.options``.
- ``discovery`` makes the object that finds hosts, in main only. What it publishes reaches all workers.
- ``load_balancer`` is asked in a worker; a type may bring its own (then the policy must be CLUSTER_PROVIDED).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from proxeny.upstream.load_balancer.contract import LoadBalancer

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.event.dispatcher import Dispatcher
    from proxeny.network.factory_context import FactoryContext
    from proxeny.upstream.cluster_config import ClusterConfig
    from proxeny.upstream.dns_resolver import DnsResolver
    from proxeny.upstream.dns_resolver_config import ResolverOptions
    from proxeny.upstream.endpoints import AssignmentPolicy, HostChange, HostEntry
    from proxeny.upstream.host import Host
    from proxeny.upstream.priority_set import PrioritySet


class ClusterType(Enum):
    """How a cluster finds its hosts."""

    STATIC = "STATIC"
    STRICT_DNS = "STRICT_DNS"
    LOGICAL_DNS = "LOGICAL_DNS"
    EDS = "EDS"
    ORIGINAL_DST = "ORIGINAL_DST"
    EXTENSION = "EXTENSION"
    """As an extension does it (``cluster_type``)."""


class Compiled(NamedTuple):
    """What a type made of a Cluster message."""

    options: Any = None
    """Whatever ``discovery`` and ``load_balancer`` want to know."""
    hosts: list[HostEntry] = []
    """Hosts that are known from the configuration alone, in main and in workers."""
    host_blocks: int = 0
    """How many of the first per-host stat blocks are allotted with the cluster; others come with their hosts."""
    is_secondary: bool = False
    """Whether other clusters have to be initialized first (Envoy: ``InitializePhase``)."""


class Discovery(Protocol):
    """Finds the hosts of one cluster, in main."""

    def start(self) -> None:
        """Begin; may publish at once. Called once."""

    def close(self) -> None:
        """Publish no more."""


class Publish(Protocol):
    """``MainCluster.publish``."""

    def __call__(self, hosts: list[HostEntry], policy: AssignmentPolicy | None = None) -> bool: ...


@dataclass(slots=True)
class DiscoveryOwner:
    """What a ``Discovery`` is given."""

    context: FactoryContext
    """Main's; it has a dispatcher."""
    resolver: Callable[[ResolverOptions | None], DnsResolver]
    """The resolver with these settings, None the server's; clusters share them, so nobody closes it."""
    clusters: Any
    """Main's cluster manager."""
    publish: Publish
    """Replaces all hosts of the cluster; whether that changed anything. The list and its entries are the owner's from
    then on; it sets ``stat_index`` and keeps the health that others found (``health_flags`` is what discovery itself
    knows). An entry that is published again is the same host; so is another of its address and port, unless its
    ``stat_index`` is ``NEW_HOST``. ``policy``: what an assignment says besides."""
    initialized: Callable[[], None]
    """The first hosts are published, or will not come: the start, or the change of the cluster, waits no longer. Calls
    after the first do nothing."""
    publish_change: Callable[[list[HostEntry], list[HostEntry]], None] = lambda added, removed: None
    """In place of ``publish``, where the workers hear of hosts from elsewhere: hosts that are new, with their
    ``stat_index``, and some that are gone."""


class WorkerSeat(NamedTuple):
    """What a type's own load balancer is given."""

    dispatcher: Dispatcher
    worker_index: int
    report: Callable[[list[HostChange]], object]
    """Tells main of hosts that the worker itself made or removed."""
    priority_set: PrioritySet
    """The hosts that main published."""


class ClusterLoadBalancer(LoadBalancer, Protocol):
    """The load balancer that a type brings, in a worker."""

    def hosts(self) -> list[Host]:
        """All hosts, for admin pages and tests."""


class ClusterFactory(Protocol):
    """A type of clusters."""

    type: ClusterType

    @property
    def provides_lb(self) -> bool:
        """Whether it brings its own load balancer."""

    def compile(self, cluster: Any, present: dict[str, Any], context: FactoryContext) -> Compiled:
        """Check the type's own part of a Cluster message, whose set fields are ``present``; ConfigError."""

    def discovery(self, config: ClusterConfig, owner: DiscoveryOwner) -> Discovery | None:
        """In main; None: there is nothing to discover."""

    def load_balancer(self, config: ClusterConfig, seat: WorkerSeat) -> ClusterLoadBalancer | None:
        """In a worker; None: the one that the policy names."""


@dataclass(slots=True)
class PlainClusterFactory:
    """Base of types: no discovery, the load balancer of the policy."""

    type: ClusterType = ClusterType.EXTENSION
    provides_lb: bool = field(default=False, kw_only=True)

    def compile(self, cluster: Any, present: dict[str, Any], context: FactoryContext) -> Compiled:
        return Compiled()

    def discovery(self, config: ClusterConfig, owner: DiscoveryOwner) -> Discovery | None:
        return None

    def load_balancer(self, config: ClusterConfig, seat: WorkerSeat) -> ClusterLoadBalancer | None:
        return None
