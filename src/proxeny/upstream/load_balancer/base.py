"""The load balancer of most policies (Envoy: ``ZoneAwareLoadBalancerBase``): priority, health, locality, then a picker.

Which hosts a request may go to is a *source*: all, the healthy or the degraded hosts of a priority, or of one locality
in it. Each has a picker, made when it is first needed.
"""

from __future__ import annotations

from random import random
from typing import TYPE_CHECKING, Any, Final, Protocol

from proxeny.upstream.load_balancer import locality_config, priority_load
from proxeny.upstream.load_balancer.locality_scheduler import LocalityChoice, locality_choice
from proxeny.upstream.load_balancer.pickers import NoHost, Picker
from proxeny.upstream.load_balancer.zone_routing import ANY_LOCALITY, NO_HOST, ZoneRouting
from proxeny.upstream.stats import LB_HEALTHY_PANIC

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.upstream.host import Host
    from proxeny.upstream.load_balancer.contract import DetermineLoad, LbSetting
    from proxeny.upstream.load_balancer.locality_config import LocalityConfig
    from proxeny.upstream.load_balancer.priority_load import PriorityLoad
    from proxeny.upstream.priority_set import HostSet

    Source = tuple[int, int, int]
    """Priority, ``ALL``, ``HEALTHY`` or ``DEGRADED``, index of the locality or ``ANY_LOCALITY``."""

ALL: Final = 0
HEALTHY: Final = 1
DEGRADED: Final = 2

_NO_HOST: Final = NoHost()
_NO_LOAD: Final = priority_load.PriorityLoad([100], [0], [False])


class PickerMaker(Protocol):
    """A policy's part of one load balancer; it may remember from picker to picker."""

    def begin(self, host_sets: list[HostSet]) -> None:
        """Hosts changed: pickers for them will be asked for, as they are needed."""

    def make(self, hosts: list[Host], source: Source) -> Picker:
        """The cheapest picker that is right for these hosts."""


class ZoneAwareLoadBalancer:
    """Chooses hosts; ``choose_host`` is replaced at every ``refresh`` by the cheapest function that is right."""

    __slots__ = (
        "_choices", "_load", "_locality", "_maker", "_pickers", "_setting", "_zones", "always_finds", "choose_host",
        "kind",
    )  # fmt: skip

    def __init__(
        self, setting: LbSetting, kind: str, maker: PickerMaker, locality: LocalityConfig = locality_config.DEFAULT
    ) -> None:
        self.kind = kind
        self._setting = setting
        self._maker = maker
        self._locality = locality
        self._load = _NO_LOAD
        self._pickers: dict[Source, Picker] = {}
        self._choices: list[LocalityChoice] = []
        """By priority, where localities have weights."""
        self._zones: ZoneRouting | None = None
        self.always_finds = False
        self.choose_host: Callable[[Any], Host | None] = choose_none

    def refresh(self) -> None:
        """The hosts, their health or their weights changed."""
        setting = self._setting
        host_sets = setting.priority_set.host_sets
        threshold = setting.panic_threshold()
        load = self._load = priority_load.calculate(host_sets, threshold)
        self._pickers = {}
        self._maker.begin(host_sets)
        self._choices = [locality_choice(host_set) for host_set in host_sets] if self._locality.weighted else []
        local = setting.local_hosts()
        if local is not None:
            self._zones = ZoneRouting.of(
                self._locality, host_sets[0], local.host_sets[0], threshold, setting.context.runtime, setting.info.stats
            )
        self.choose_host = self._choose_by_load
        self.always_finds = False
        if load.healthy[0] == 100 and not load.panic[0] and not self._by_locality(0):
            first = self._picker((0, HEALTHY, ANY_LOCALITY))
            if first is not _NO_HOST:
                self.choose_host = first.pick
                self.always_finds = True

    def _by_locality(self, priority: int) -> bool:
        if priority == 0 and self._zones is not None:
            return True
        return bool(self._choices) and self._choices[priority].healthy is not None

    def _picker(self, source: Source) -> Picker:
        picker = self._pickers.get(source)
        if picker is None:
            hosts = self._hosts(source)
            picker = self._pickers[source] = self._maker.make(hosts, source) if hosts else _NO_HOST
        return picker

    def _hosts(self, source: Source) -> list[Host]:
        priority, health, locality = source
        host_set = self._setting.priority_set.host_sets[priority]
        if locality != ANY_LOCALITY:
            localities = host_set.localities
            return localities.healthy[locality] if health == HEALTHY else localities.degraded[locality]
        if health == ALL:
            return host_set.hosts
        return host_set.healthy_hosts if health == HEALTHY else host_set.degraded_hosts

    def _choose_by_load(self, context: Any) -> Host | None:
        return self._draw(self._load).pick(context)

    def choose_host_by(self, determine: DetermineLoad, context: Any) -> Host | None:
        """Choose by the loads that ``determine`` makes of the usual ones."""
        return self._draw(determine(self._setting.priority_set, self._load)).pick(context)

    def _draw(self, load: PriorityLoad) -> Picker:
        """The picker of one priority and health class, at random by load."""
        left = int(random() * 100)
        for priority, percent in enumerate(load.healthy):
            if left < percent:
                return self._picker_of(priority, HEALTHY, load)
            left -= percent
        for priority, percent in enumerate(load.degraded):
            if left < percent:
                return self._picker_of(priority, DEGRADED, load)
            left -= percent
        return _NO_HOST

    def _picker_of(self, priority: int, health: int, load: PriorityLoad) -> Picker:
        if load.panic[priority]:
            self._setting.info.stats.inc(LB_HEALTHY_PANIC)
            if self._locality.fail_traffic_on_panic:
                return _NO_HOST
            return self._picker((priority, ALL, ANY_LOCALITY))
        if self._choices:
            choice = self._choices[priority]
            scheduler = choice.degraded if health == DEGRADED else choice.healthy
            if scheduler is not None:
                return self._picker((priority, health, scheduler.pick()))
        if priority == 0 and self._zones is not None:
            locality = self._zones.choose()
            return _NO_HOST if locality == NO_HOST else self._picker((priority, health, locality))
        return self._picker((priority, health, ANY_LOCALITY))

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
        self._pickers = {}
        self._choices = []
        self._zones = None
        self._load = _NO_LOAD
        self.choose_host = choose_none
        self.always_finds = False


def choose_none(context: Any) -> Host | None:
    """Of a load balancer that has no hosts yet, or is closed."""
    return None
