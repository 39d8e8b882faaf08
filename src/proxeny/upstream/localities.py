"""The hosts of one priority by locality (Envoy: ``HostsPerLocality`` and ``LocalityWeights``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxeny.upstream.host import Health

if TYPE_CHECKING:
    from proxeny.network.factory_context import LocalInfo
    from proxeny.upstream.host import Host

    Locality = tuple[str, str, str]
    """Region, zone, sub-zone."""


def our_locality(local_info: LocalInfo) -> Locality | None:
    """The locality of this proxy's node; None: it has none."""
    node = local_info.node
    if node is None or not node.HasField("locality"):
        return None
    return node.locality.region, node.locality.zone, node.locality.sub_zone


class Localities:
    """One list of hosts per locality, with the same index in every member; our own locality is the first.

    Made only for who asks: most clusters never do.
    """

    __slots__ = ("degraded", "has_local", "has_weights", "healthy", "hosts", "names", "usable", "weights")

    def __init__(self, hosts: list[Host], local: Locality | None) -> None:
        groups: dict[Locality, list[Host]] = {}
        weights: dict[Locality, int] = {}
        for host in hosts:
            groups.setdefault(host.locality, []).append(host)
            weight = host.entry.locality_weight
            if weight:
                weights[host.locality] = weight
        names = sorted(groups)
        self.has_local = local is not None and local in groups
        if local is not None and self.has_local:
            names.remove(local)
            names.insert(0, local)
        self.names = names
        self.hosts = [groups[name] for name in names]
        self.weights = [weights.get(name, 0) for name in names]
        self.has_weights = True
        """False: a subset that has nothing to do with weights; consistent hashing tells that from weights of zero."""
        self.healthy = [[host for host in group if host.health is Health.HEALTHY] for group in self.hosts]
        self.degraded = [[host for host in group if host.health is Health.DEGRADED] for group in self.hosts]
        self.usable = [len(group) - sum([host.excluded for host in group]) for group in self.hosts]
        """How many hosts count for availability: all but the excluded ones."""

    def __len__(self) -> int:
        return len(self.names)
