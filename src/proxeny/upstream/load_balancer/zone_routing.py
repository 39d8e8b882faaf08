"""Zone-aware routing: requests stay in our own locality as far as its hosts have capacity for our share of the load.

Which share is ours follows from the local cluster, which holds this proxy and its fellows. It concerns priority 0 only.
(Envoy: ``ZoneAwareLoadBalancerBase``.)
"""

from __future__ import annotations

from random import random
from typing import TYPE_CHECKING, Any, Final

from proxeny.upstream.load_balancer import priority_load
from proxeny.upstream.stats import (
    LB_LOCAL_CLUSTER_NOT_OK,
    LB_RECALCULATE_ZONE_STRUCTURES,
    LB_ZONE_CLUSTER_TOO_SMALL,
    LB_ZONE_NO_CAPACITY_LEFT,
    LB_ZONE_ROUTING_ALL_DIRECTLY,
    LB_ZONE_ROUTING_CROSS_ZONE,
    LB_ZONE_ROUTING_SAMPLED,
)

if TYPE_CHECKING:
    from proxeny.kernel.stats import Block
    from proxeny.upstream.host import Host
    from proxeny.upstream.load_balancer.locality_config import LocalityConfig
    from proxeny.upstream.priority_set import HostSet

ENABLED_KEY: Final = "upstream.zone_routing.enabled"
MIN_CLUSTER_SIZE_KEY: Final = "upstream.zone_routing.min_cluster_size"
FORCE_LOCAL_KEY: Final = "upstream.zone_routing.force_local_zone.min_size"
_WHOLE: Final = 10000
"""Shares are in hundredths of a per cent."""

ANY_LOCALITY: Final = -1
"""Choose among all hosts of the priority."""
NO_HOST: Final = -2


class ZoneRouting:
    """What was found out when hosts last changed; ``choose`` decides for a request."""

    __slots__ = ("_config", "_direct", "_local_panics", "_local_share", "_residual", "_runtime", "_stats")

    def __init__(self, config: LocalityConfig, runtime: Any, stats: Block) -> None:
        self._config = config
        self._runtime = runtime
        self._stats = stats
        self._direct = False
        self._local_panics = False
        self._local_share = 0
        self._residual: list[int] = []

    @classmethod
    def of(
        cls, config: LocalityConfig, upstream: HostSet, local: HostSet, threshold: int, runtime: Any, stats: Block
    ) -> ZoneRouting | None:
        """By the hosts of priority 0 and the local cluster's; None: localities do not matter."""
        stats.inc(LB_RECALCULATE_ZONE_STRUCTURES)
        routing = cls(config, runtime, stats)
        force = config.force_local_min_size
        if runtime is not None:
            force = runtime.get_integer(FORCE_LOCAL_KEY, 0) or force
        if not routing._applies(upstream, local, force):
            return None
        routing._local_panics = priority_load.in_panic(local, threshold)
        routing._share(upstream, local, force)
        return routing

    def _applies(self, upstream: HostSet, local: HostSet, force: int) -> bool:
        if len(upstream.localities) < 2:
            return False
        if not force and len(local.localities) < 2:
            return False
        if not local.localities.has_local:
            self._stats.inc(LB_LOCAL_CLUSTER_NOT_OK)
            return False
        min_size = self._config.min_cluster_size
        if self._runtime is not None:
            min_size = self._runtime.get_integer(MIN_CLUSTER_SIZE_KEY, min_size)
        if len(upstream.healthy_hosts) < min_size:
            self._stats.inc(LB_ZONE_CLUSTER_TOO_SMALL)
            return False
        return True

    def _share(self, upstream: HostSet, local: HostSet, force: int) -> None:
        ours = self._shares(local)
        theirs = self._shares(upstream)
        names = upstream.localities.names
        has_local = upstream.localities.has_local
        here = names[0]
        mine = ours.get(here, 0)
        capacity = theirs[here]
        if has_local and (
            (capacity > 0 and capacity >= mine) or (force and len(upstream.localities.healthy[0]) >= force)
        ):
            self._direct = True
            return
        self._local_share = capacity * _WHOLE // mine if has_local and mine > 0 else 0
        total = 0
        for index, name in enumerate(names):
            if index > 0 or not has_local:
                # Only localities that have more than their own fellows send them.
                total += max(0, theirs[name] - ours.get(name, 0)) if theirs[name] else 0
            self._residual.append(total)

    def _shares(self, host_set: HostSet) -> dict[tuple[str, str, str], int]:
        """Hundredths of a per cent by locality."""
        localities = host_set.localities
        sizes = [self._size(group) for group in localities.healthy]
        total = sum(sizes)
        return {
            name: _WHOLE * size // total if total else 0 for name, size in zip(localities.names, sizes, strict=True)
        }

    def _size(self, hosts: list[Host]) -> int:
        return sum([host.weight for host in hosts]) if self._config.by_weight else len(hosts)

    def choose(self) -> int:
        """The index of the locality for a request, ``ANY_LOCALITY`` or ``NO_HOST``."""
        if not self._enabled():
            return ANY_LOCALITY
        stats = self._stats
        if self._local_panics:
            stats.inc(LB_LOCAL_CLUSTER_NOT_OK)
            return NO_HOST if self._config.fail_traffic_on_panic else ANY_LOCALITY
        if self._direct:
            stats.inc(LB_ZONE_ROUTING_ALL_DIRECTLY)
            return 0
        if int(random() * _WHOLE) < self._local_share:
            stats.inc(LB_ZONE_ROUTING_SAMPLED)
            return 0
        stats.inc(LB_ZONE_ROUTING_CROSS_ZONE)
        residual = self._residual
        if residual[-1] == 0:
            stats.inc(LB_ZONE_NO_CAPACITY_LEFT)
            return int(random() * len(residual))
        threshold = int(random() * residual[-1])
        return next(index for index, total in enumerate(residual) if threshold < total)

    def _enabled(self) -> bool:
        percent = self._config.routing_enabled
        if self._runtime is not None and ENABLED_KEY in self._runtime.snapshot.entries:
            return bool(self._runtime.feature_enabled(ENABLED_KEY, percent, 100, int(random() * 1_000_000)))
        return percent >= 100 or random() * 100 < percent

    def statistics(self) -> dict[str, Any]:
        """For tests and admin pages."""
        return {"direct": self._direct, "local_share": self._local_share, "residual": self._residual}
