"""The load balancer of most policies (Envoy: ``ZoneAwareLoadBalancerBase``): priority and health, then a picker."""

from __future__ import annotations

from random import random
from typing import TYPE_CHECKING, Any

from proxeny.upstream.load_balancer import priority_load
from proxeny.upstream.load_balancer.pickers import NoHost, Picker
from proxeny.upstream.stats import LB_HEALTHY_PANIC, UPSTREAM_CX_NONE_HEALTHY

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.upstream.host import Host
    from proxeny.upstream.load_balancer.contract import DetermineLoad, LbSetting
    from proxeny.upstream.priority_set import HostSet

    MakePicker = Callable[[list[Host]], Picker]


class ZoneAwareLoadBalancer:
    """Chooses hosts; ``choose_host`` is replaced at every ``refresh`` by the cheapest function that is right."""

    __slots__ = (
        "_common",
        "_degraded",
        "_load",
        "_make",
        "_picker_of",
        "_priority_set",
        "_stats",
        "choose_host",
        "kind",
    )

    def __init__(self, setting: LbSetting, kind: str, make_picker: MakePicker) -> None:
        self.kind = kind
        self._make = make_picker
        self._common = setting.common
        self._priority_set = setting.priority_set
        self._stats = setting.info.stats
        self._load = priority_load.PriorityLoad([100], [0], [False])
        self._picker_of: list[Picker] = []
        self._degraded: list[Picker] = []
        self.choose_host: Callable[[Any], Host | None] = self._choose_none

    def refresh(self) -> None:
        """The hosts, their health or their weights changed."""
        host_sets = self._priority_set.host_sets
        load = self._load = priority_load.calculate(host_sets, self._common.panic_threshold)
        make = self._make
        self._picker_of = [self._healthy_picker(hs, load.panic[i]) for i, hs in enumerate(host_sets)]
        self._degraded = [make(hs.degraded_hosts) for hs in host_sets]
        first = self._picker_of[0]
        if load.healthy[0] == 100 and not load.panic[0] and not isinstance(first, NoHost):
            self.choose_host = first.pick
        else:
            self.choose_host = self._choose_by_priority

    def _healthy_picker(self, host_set: HostSet, panic: bool) -> Picker:
        if not panic:
            return self._make(host_set.healthy_hosts)
        return NoHost() if self._common.fail_traffic_on_panic else self._make(host_set.hosts)

    def _choose_none(self, context: Any) -> Host | None:
        self._stats.inc(UPSTREAM_CX_NONE_HEALTHY)
        return None

    def _choose_by_priority(self, context: Any) -> Host | None:
        return self._choose(self._load, context)

    def choose_host_by(self, determine: DetermineLoad, context: Any) -> Host | None:
        """Choose by the loads that ``determine`` makes of the usual ones."""
        return self._choose(determine(self._priority_set, self._load), context)

    def _choose(self, load: priority_load.PriorityLoad, context: Any) -> Host | None:
        host = self._draw(load).pick(context)
        if host is None:
            self._stats.inc(UPSTREAM_CX_NONE_HEALTHY)
        return host

    def _draw(self, load: priority_load.PriorityLoad) -> Picker:
        """One priority and health class, at random by load."""
        left = int(random() * 100)
        for priority, percent in enumerate(load.healthy):
            if left < percent:
                if load.panic[priority]:
                    self._stats.inc(LB_HEALTHY_PANIC)
                return self._picker_of[priority]
            left -= percent
        for priority, percent in enumerate(load.degraded):
            if left < percent:
                if load.panic[priority]:
                    self._stats.inc(LB_HEALTHY_PANIC)
                    return self._picker_of[priority]
                return self._degraded[priority]
            left -= percent
        return NoHost()

    def statistics(self) -> dict[str, Any]:
        """Loads by priority, for admin pages."""
        load = self._load
        return {
            "policy": self.kind,
            "healthy_load": load.healthy,
            "degraded_load": load.degraded,
            "panic": load.panic,
        }

    def close(self) -> None:
        """Nothing refers back to hosts any more."""
        self._picker_of = []
        self._degraded = []
        self.choose_host = choose_none


def choose_none(context: Any) -> Host | None:
    """Of a load balancer that is closed."""
    return None
