"""``envoy.load_balancing_policies.round_robin``: one host after the other, by weight."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import random
from typing import TYPE_CHECKING, Any, ClassVar, Final

from proxeny.upstream.load_balancer import locality_config, slow_start
from proxeny.upstream.load_balancer.base import ZoneAwareLoadBalancer
from proxeny.upstream.load_balancer.contract import LbPolicy
from proxeny.upstream.load_balancer.pickers import (
    MAX_TURNS,
    OneHost,
    Picker,
    RoundRobinPicker,
    ScheduledPicker,
    WeightedRoundRobinPicker,
    weights_differ,
)
from proxeny.upstream.load_balancer.slow_start import SlowStart

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext
    from proxeny.upstream.host import Host
    from proxeny.upstream.load_balancer.base import Source
    from proxeny.upstream.load_balancer.contract import LbSetting
    from proxeny.upstream.load_balancer.locality_config import LocalityConfig
    from proxeny.upstream.load_balancer.slow_start import SlowStartConfig
    from proxeny.upstream.priority_set import HostSet


@dataclass(slots=True, frozen=True)
class RoundRobin(LbPolicy):
    """The compiled policy."""

    slow_start: SlowStartConfig | None = None
    locality: LocalityConfig = locality_config.DEFAULT
    kind: ClassVar[str] = "round_robin"

    def create(self, setting: LbSetting) -> ZoneAwareLoadBalancer:
        """The load balancer of a worker."""
        slow = None if self.slow_start is None else SlowStart(self.slow_start, setting.context)
        return ZoneAwareLoadBalancer(setting, self.kind, RoundRobinMaker(slow), self.locality)


class RoundRobinMaker:
    """Remembers whose turn it was: after a change of hosts it goes on from there."""

    __slots__ = ("_last", "_seed", "_slow_start")

    def __init__(self, slow: SlowStart | None = None) -> None:
        self._slow_start = slow
        self._seed = int(random() * MAX_TURNS)
        self._last: dict[Source, RoundRobinPicker] = {}

    def begin(self, host_sets: list[HostSet]) -> None:
        """Hosts that are new begin their slow start."""
        if self._slow_start is not None:
            for host_set in host_sets:
                self._slow_start.begin(host_set.hosts)

    def make(self, hosts: list[Host], source: Source) -> Picker:
        """A picker for these hosts."""
        if len(hosts) == 1:
            return OneHost(hosts[0])
        if self._slow_start is not None and self._slow_start.is_on():
            return ScheduledPicker(hosts, self._slow_start.slowed(weight_of))
        if weights_differ(hosts):
            return WeightedRoundRobinPicker(hosts)
        last = self._last.get(source)
        picker = self._last[source] = RoundRobinPicker(hosts, self._seed if last is None else last.turn)
        return picker


def weight_of(host: Host) -> float:
    """The configured weight."""
    return float(host.weight)


DEFAULT: Final = RoundRobin()


class RoundRobinFactory:
    """The registered factory."""

    def compile(self, config: Any, cluster: Any, context: FactoryContext) -> RoundRobin:
        """``config``: a ``RoundRobin``."""
        return RoundRobin(slow_start.of(config), locality_config.of(config))

    def compile_legacy(self, cluster: Any, context: FactoryContext) -> RoundRobin:
        """``round_robin_lb_config`` and ``common_lb_config``."""
        policy = DEFAULT
        if cluster.HasField("round_robin_lb_config"):
            policy = RoundRobin(slow_start.of(cluster.round_robin_lb_config))
        if cluster.HasField("common_lb_config"):
            policy = replace(policy, locality=locality_config.compile_legacy(cluster))
        return policy


FACTORY: Final = RoundRobinFactory()
