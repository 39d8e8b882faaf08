"""Which locality takes a request, where localities have weights (Envoy: ``LocalityWrr``).

A locality's weight counts in full until fewer than 100 / overprovisioning factor of its hosts can be used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from proxeny.upstream.load_balancer.pickers import WeightedEntries

if TYPE_CHECKING:
    from proxeny.upstream.host import Host
    from proxeny.upstream.priority_set import HostSet


class LocalityChoice(NamedTuple):
    """The schedulers of one priority; None: choose among all its hosts, whatever their locality."""

    healthy: WeightedEntries | None
    degraded: WeightedEntries | None


def locality_choice(host_set: HostSet) -> LocalityChoice:
    """Of the hosts of one priority."""
    localities = host_set.localities
    return LocalityChoice(
        _scheduler(host_set, localities.healthy) if host_set.healthy_hosts else None,
        _scheduler(host_set, localities.degraded) if host_set.degraded_hosts else None,
    )


def _scheduler(host_set: HostSet, eligible: list[list[Host]]) -> WeightedEntries | None:
    weights = effective_weights(host_set, eligible)
    entries = [index for index, weight in enumerate(weights) if weight > 0]
    return WeightedEntries(entries, [weights[index] for index in entries]) if entries else None


def effective_weights(host_set: HostSet, eligible: list[list[Host]]) -> list[float]:
    """The weight of each locality as its eligible hosts allow (Envoy: ``effectiveLocalityWeight``)."""
    localities = host_set.localities
    factor = host_set.overprovisioning_factor / 100.0
    return [
        weight * min(1.0, factor * len(hosts) / usable) if usable else 0.0
        for weight, hosts, usable in zip(localities.weights, eligible, localities.usable, strict=True)
    ]
