"""``envoy.load_balancing_policies.random``: any host, all alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from proxeny.upstream.load_balancer.base import ZoneAwareLoadBalancer
from proxeny.upstream.load_balancer.contract import LbPolicy
from proxeny.upstream.load_balancer.pickers import NoHost, OneHost, Picker, RandomPicker

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext
    from proxeny.upstream.host import Host
    from proxeny.upstream.load_balancer.contract import LbSetting


@dataclass(slots=True, frozen=True)
class Random(LbPolicy):
    """Has no settings."""

    kind: ClassVar[str] = "random"

    def create(self, setting: LbSetting) -> ZoneAwareLoadBalancer:
        """The load balancer of a worker."""
        return ZoneAwareLoadBalancer(setting, self.kind, make_picker)


def make_picker(hosts: list[Host]) -> Picker:
    """The cheapest that is right for these hosts."""
    if len(hosts) > 1:
        return RandomPicker(hosts)
    return OneHost(hosts[0]) if hosts else NoHost()


DEFAULT: Final = Random()


class RandomFactory:
    """The registered factory."""

    def compile(self, config: Any, cluster: Any, context: FactoryContext) -> Random:
        """``config``: a ``Random``."""
        return DEFAULT

    def compile_legacy(self, cluster: Any, context: FactoryContext) -> Random:
        """``RANDOM`` has no fields."""
        return DEFAULT


FACTORY: Final = RandomFactory()
