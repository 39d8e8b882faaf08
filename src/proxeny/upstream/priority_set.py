"""The hosts of a cluster by priority (Envoy: ``PrioritySet`` and ``HostSet``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxeny.upstream.endpoints import DEFAULT_OVERPROVISIONING_FACTOR
from proxeny.upstream.host import Health
from proxeny.upstream.localities import Localities

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.upstream.host import Host
    from proxeny.upstream.localities import Locality


class HostSet:
    """The hosts of one priority, split by health; rebuilt whole, never changed in place."""

    __slots__ = (
        "_local", "_localities", "degraded_hosts", "excluded_hosts", "healthy_hosts", "hosts",
        "overprovisioning_factor", "priority", "weighted_health",
    )  # fmt: skip

    def __init__(
        self,
        priority: int,
        hosts: list[Host],
        overprovisioning_factor: int = DEFAULT_OVERPROVISIONING_FACTOR,
        weighted_health: bool = False,
        local: Locality | None = None,
    ) -> None:
        self.priority = priority
        self.hosts = hosts
        self.overprovisioning_factor = overprovisioning_factor
        self.weighted_health = weighted_health
        """``weighted_priority_health``: hosts count by their weights for the availability of the priority."""
        self._local = local
        self._localities: Localities | None = None
        self.healthy_hosts = hosts
        self.degraded_hosts: list[Host] = []
        self.excluded_hosts: list[Host] = []
        """Those that do not even count as missing."""
        if any([host.health_flags for host in hosts]):
            self.healthy_hosts = [host for host in hosts if host.health is Health.HEALTHY]
            self.degraded_hosts = [host for host in hosts if host.health is Health.DEGRADED]
            self.excluded_hosts = [host for host in hosts if host.excluded]

    @property
    def localities(self) -> Localities:
        """The hosts by locality."""
        if self._localities is None:
            self._localities = Localities(self.hosts, self._local)
        return self._localities

    def __repr__(self) -> str:
        return f"<HostSet {self.priority}: {len(self.healthy_hosts)} of {len(self.hosts)} healthy>"


class PrioritySet:
    """Host sets by priority; gaps are empty sets, and there is always priority 0."""

    __slots__ = ("_by_address", "host_sets", "local", "overprovisioning_factor", "removal_callbacks", "weighted_health")

    def __init__(
        self,
        overprovisioning_factor: int = DEFAULT_OVERPROVISIONING_FACTOR,
        weighted_health: bool = False,
        local: Locality | None = None,
    ) -> None:
        self.overprovisioning_factor = overprovisioning_factor
        self.weighted_health = weighted_health
        self.local = local
        """Our own locality."""
        self._by_address: dict[str, Host] | None = None
        """Made when it is first asked for."""
        self.host_sets: list[HostSet] = [self._host_set(0, [])]
        self.removal_callbacks: dict[Callable[[list[Host]], None], None] = {}
        """Called with the hosts that are gone, when some are (Envoy: ``MemberUpdateCb``)."""

    def update(self, hosts: list[Host]) -> None:
        """Replace all hosts."""
        self._by_address = None
        removed = self._missing_from(hosts) if self.removal_callbacks else []
        by_priority: list[list[Host]] = [[]]
        for host in hosts:
            while len(by_priority) <= host.priority:
                by_priority.append([])
            by_priority[host.priority].append(host)
        self.host_sets = [self._host_set(i, group) for i, group in enumerate(by_priority)]
        if removed:
            for callback in list(self.removal_callbacks):
                callback(removed)

    def refresh(self, priorities: set[int]) -> None:
        """The health of hosts of these priorities changed, and nothing else."""
        self.host_sets = [
            self._host_set(i, old.hosts) if i in priorities else old for i, old in enumerate(self.host_sets)
        ]

    def find(self, address: str) -> Host | None:
        """The host of an address, whatever its priority and health; of several the first."""
        table = self._by_address
        if table is None:
            table = self._by_address = {host.address.as_string(): host for host in reversed(self.hosts())}
        return table.get(address)

    def priority_of(self, host: Host) -> int:
        """Where a host stands among these host sets."""
        priority: int = host.priority
        return priority

    def _host_set(self, priority: int, hosts: list[Host]) -> HostSet:
        return HostSet(priority, hosts, self.overprovisioning_factor, self.weighted_health, self.local)

    def _missing_from(self, hosts: list[Host]) -> list[Host]:
        kept = set(hosts)
        return [host for host in self.hosts() if host not in kept]

    def hosts(self) -> list[Host]:
        """All hosts, lowest priority number first."""
        if len(self.host_sets) == 1:
            return self.host_sets[0].hosts
        return [host for host_set in self.host_sets for host in host_set.hosts]
