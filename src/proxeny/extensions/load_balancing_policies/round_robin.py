"""``envoy.load_balancing_policies.round_robin``: one host after the other, by weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from proxeny.config.errors import UnsupportedFieldError
from proxeny.upstream.load_balancer.base import ZoneAwareLoadBalancer
from proxeny.upstream.load_balancer.contract import LbPolicy
from proxeny.upstream.load_balancer.pickers import (
    NoHost,
    OneHost,
    Picker,
    RoundRobinPicker,
    WeightedRoundRobinPicker,
    weights_differ,
)

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext
    from proxeny.upstream.host import Host
    from proxeny.upstream.load_balancer.contract import LbSetting


@dataclass(slots=True, frozen=True)
class RoundRobin(LbPolicy):
    """The compiled policy."""

    kind: ClassVar[str] = "round_robin"

    def create(self, setting: LbSetting) -> ZoneAwareLoadBalancer:
        """The load balancer of a worker."""
        return ZoneAwareLoadBalancer(setting, self.kind, self.make_picker)

    def make_picker(self, hosts: list[Host]) -> Picker:
        """The cheapest that is right for these hosts."""
        if len(hosts) < 2:
            return OneHost(hosts[0]) if hosts else NoHost()
        return WeightedRoundRobinPicker(hosts) if weights_differ(hosts) else RoundRobinPicker(hosts)


DEFAULT: Final = RoundRobin()


class RoundRobinFactory:
    """The registered factory."""

    def compile(self, config: Any, cluster: Any, context: FactoryContext) -> RoundRobin:
        """``config``: a ``RoundRobin``, or the older ``Cluster.RoundRobinLbConfig``."""
        if config.HasField("slow_start_config"):
            raise UnsupportedFieldError("slow_start_config is not supported yet")
        return DEFAULT

    def compile_legacy(self, cluster: Any, context: FactoryContext) -> RoundRobin:
        """``round_robin_lb_config``."""
        if not cluster.HasField("round_robin_lb_config"):
            return DEFAULT
        return self.compile(cluster.round_robin_lb_config, cluster, context)


FACTORY: Final = RoundRobinFactory()
