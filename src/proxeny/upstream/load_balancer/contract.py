"""What a load balancing policy is to clusters, and what clusters are to it (Envoy: ``TypedLoadBalancerFactory``).

A policy is an extension of the kind ``load_balancing_policy``: its module has a factory, which compiles a message (its
own, or a Cluster with the older fields) to an ``LbPolicy``; every worker that uses the cluster lets that create a
``LoadBalancer``. A policy that has others below it (subsets) compiles them with ``policy.compile_children`` and creates
theirs with settings of its own making.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.factory_context import FactoryContext
    from proxeny.stats.store import Store
    from proxeny.upstream.cluster_info import ClusterInfo
    from proxeny.upstream.host import Host
    from proxeny.upstream.load_balancer.common_config import CommonLbConfig
    from proxeny.upstream.load_balancer.priority_load import PriorityLoad
    from proxeny.upstream.priority_set import PrioritySet

    DetermineLoad = Callable[[PrioritySet, PriorityLoad], PriorityLoad]
    """Envoy: ``RetryPriority::determinePriorityLoad``."""

PANIC_THRESHOLD_KEY: Final = "upstream.healthy_panic_threshold"
KIND: Final = "load_balancing_policy"
"""The kind of these extensions in the registry."""


@dataclass(slots=True, frozen=True)
class LbSetting:
    """What a load balancer is made for; ``context`` brings dispatcher, runtime, random numbers and who we are."""

    info: ClusterInfo
    common: CommonLbConfig
    priority_set: PrioritySet
    context: FactoryContext
    local_hosts: Callable[[], PrioritySet | None] = lambda: None
    """The hosts of the local cluster (``cluster_manager.local_cluster_name``), which is asked of others only."""
    weights_changed: Callable[[], object] = lambda: None
    """What a load balancer calls that changed the weights of hosts by itself; ``refresh`` follows."""

    def panic_threshold(self) -> int:
        """Percent of hosts that must be usable, by the configuration or as runtime has it now."""
        threshold = self.common.panic_threshold
        if self.context.runtime is not None:
            threshold = self.context.runtime.get_integer(PANIC_THRESHOLD_KEY, threshold)
        return min(100, threshold)


class LoadBalancer(Protocol):
    """Chooses hosts of one cluster (or of a part of its hosts) in one worker."""

    @property
    def choose_host(self) -> Callable[[Any], Host | None]:
        """By an ``LbContext`` or None. An attribute that may change at every ``refresh``: do not keep it."""

    def refresh(self) -> None:
        """The setting's hosts, their health or their weights changed (also called once at the beginning)."""

    def choose_host_by(self, determine: DetermineLoad, context: Any) -> Host | None:
        """Choose by the loads of priorities that ``determine`` makes of the usual ones (retries)."""

    def statistics(self) -> dict[str, Any]:
        """For admin pages: ``policy`` and, by priority, ``healthy_load``, ``degraded_load`` and ``panic``."""

    def close(self) -> None:
        """The cluster goes: let go of timers and callbacks."""


class OrcaListener(Protocol):
    """Who wants the load reports of a cluster's endpoints (``ClusterInfo.orca``)."""

    def on_headers(self, headers: HeaderMap, host: Host) -> bool:
        """The headers or trailers of a response; whether they hold a report: then there is no other."""


class LbPolicy:
    """A compiled policy: immutable, without cycles; equal ones may be shared by clusters."""

    __slots__ = ()

    kind: ClassVar[str] = ""
    """Its name on admin pages: the last part of the extension's."""
    shows_members: ClassVar[bool] = False
    """Whether main must call ``show_members`` when hosts change."""

    def create(self, setting: LbSetting) -> LoadBalancer:
        """The load balancer of a worker; ``refresh`` follows."""
        raise NotImplementedError

    def allot(self, store: Store, prefix: str) -> None:
        """Make the policy's own statistics below ``prefix`` (main allots them here, workers find them again)."""

    def show_members(self, setting: LbSetting) -> None:
        """In main: hosts changed; set the gauges that follow from hosts alone."""


class LbPolicyFactory(Protocol):
    """What a module registers. ConfigError in Envoy's words on what is refused."""

    def compile(self, config: Any, cluster: Any, context: FactoryContext) -> LbPolicy:
        """Of the policy's own message, in a Cluster's ``load_balancing_policy``."""

    def compile_legacy(self, cluster: Any, context: FactoryContext) -> LbPolicy:
        """Of the older fields of a Cluster; only asked of those that ``Cluster.lb_policy`` can name."""
