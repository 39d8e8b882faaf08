"""A part of a cluster's hosts as a priority set of its own (Envoy: ``SubsetLoadBalancer::PrioritySubsetImpl``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxeny.upstream.host import Health
from proxeny.upstream.localities import Localities
from proxeny.upstream.priority_set import HostSet, PrioritySet

if TYPE_CHECKING:
    from proxeny.extensions.load_balancing_policies.subset.config import SubsetConfig
    from proxeny.upstream.host import Host
    from proxeny.upstream.localities import Locality


class LocalitiesPart(Localities):
    """The part's hosts in the localities of the whole, some of which may have none of them."""

    __slots__ = ()

    def __init__(self, hosts: list[Host], whole: Localities, config: SubsetConfig) -> None:
        groups: dict[Locality, list[Host]] = {name: [] for name in whole.names}
        for host in hosts:
            groups[host.locality].append(host)
        self.names = whole.names
        self.has_local = whole.has_local
        self.hosts = list(groups.values())
        self.healthy = [[host for host in group if host.health is Health.HEALTHY] for group in self.hosts]
        self.degraded = [[host for host in group if host.health is Health.DEGRADED] for group in self.hosts]
        self.usable = [len(group) - sum([host.excluded for host in group]) for group in self.hosts]
        self.has_weights = config.locality_weight_aware
        if not config.locality_weight_aware:
            self.weights = [0] * len(whole)
        elif config.scale_locality_weight:
            shares = zip(whole.weights, self.hosts, whole.hosts, strict=True)
            self.weights = [int(weight * len(own) / len(all_) + 0.5) for weight, own, all_ in shares]
        else:
            self.weights = whole.weights


class HostSetPart(HostSet):
    """The part's hosts of one priority."""

    __slots__ = ("_config", "_whole")

    def __init__(self, hosts: list[Host], whole: HostSet, local: Locality | None, config: SubsetConfig) -> None:
        super().__init__(whole.priority, hosts, whole.overprovisioning_factor, whole.weighted_health, local)
        self._config = config
        self._whole = whole

    @property
    def localities(self) -> Localities:
        """See HostSet."""
        if self._localities is None:
            self._localities = LocalitiesPart(self.hosts, self._whole.localities, self._config)
        return self._localities


class PrioritySetPart(PrioritySet):
    """The part; empty at first."""

    __slots__ = ("_config", "_whole")

    def __init__(self, whole: PrioritySet, config: SubsetConfig) -> None:
        self._config = config
        self._whole = whole
        super().__init__(whole.overprovisioning_factor, whole.weighted_health, whole.local)

    def _host_set(self, priority: int, hosts: list[Host]) -> HostSet:
        return HostSetPart(hosts, self._whole.host_sets[priority], self.local, self._config)
