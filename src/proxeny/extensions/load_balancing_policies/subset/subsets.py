"""Parts of a cluster's hosts, each with a load balancer of its own (Envoy: ``SubsetLoadBalancer::LbSubset``)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from proxeny.extensions.load_balancing_policies.subset.host_part import PrioritySetPart

if TYPE_CHECKING:
    from proxeny.extensions.load_balancing_policies.subset.config import SubsetConfig
    from proxeny.upstream.host import Host
    from proxeny.upstream.load_balancer.contract import DetermineLoad, LbSetting

    Facts = tuple[list[Any], list[Any]]
    """What load balancers see: of the hosts, and of what is around them."""


class Subset(Protocol):
    """Some hosts; never none."""

    def update(self, hosts: list[Host]) -> None:
        """These from now on."""

    def choose(self, context: Any, determine: DetermineLoad | None) -> Host | None:
        """One of them; ``determine`` changes the loads of priorities (retries)."""

    def close(self) -> None:
        """Nobody will ask it again."""


class BalancedSubset:
    """Hosts among which the child policy chooses."""

    __slots__ = ("_aware", "_balancer", "_facts", "_hosts", "_setting")

    def __init__(self, config: SubsetConfig, setting: LbSetting) -> None:
        self._aware = config.locality_weight_aware
        self._setting = setting
        self._hosts = PrioritySetPart(setting.priority_set, config)
        self._balancer = config.child.create(replace(setting, priority_set=self._hosts))
        self._facts: Facts | None = None

    def update(self, hosts: list[Host]) -> None:
        """The child hears of it only where something is new to it."""
        own = [
            (host, host.health_flags, host.weight, host.priority, host.locality, host.entry.metadata) for host in hosts
        ]
        facts = own, self._surroundings()
        if facts != self._facts:
            self._facts = facts
            self._hosts.update(hosts)
            self._balancer.refresh()

    def _surroundings(self) -> list[Any]:
        """The local cluster's host sets, and the localities of the whole where their weights count."""
        local = self._setting.local_hosts()
        found: list[Any] = [] if local is None else list(local.host_sets)
        if self._aware:
            for host_set in self._setting.priority_set.host_sets:
                whole = host_set.localities
                found.append((whole.names, whole.weights, [len(group) for group in whole.hosts]))
        return found

    def choose(self, context: Any, determine: DetermineLoad | None) -> Host | None:
        """See Subset."""
        if determine is None:
            return self._balancer.choose_host(context)
        return self._balancer.choose_host_by(determine, context)

    def close(self) -> None:
        """See Subset."""
        self._balancer.close()
        self._hosts.update([])
        self._facts = None


class SingleHostSubset:
    """The first host of the first priority, whatever its health."""

    __slots__ = ("_host",)

    def __init__(self) -> None:
        self._host: Host | None = None

    def update(self, hosts: list[Host]) -> None:
        """See Subset."""
        self._host = min(hosts, key=lambda host: host.priority, default=None)

    def choose(self, context: Any, determine: DetermineLoad | None) -> Host | None:
        """See Subset."""
        return self._host

    def close(self) -> None:
        """See Subset."""
        self._host = None
