"""``envoy.load_balancing_policies.random``: any host, all alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from proxeny.upstream.load_balancer import locality_config
from proxeny.upstream.load_balancer.base import ZoneAwareLoadBalancer
from proxeny.upstream.load_balancer.contract import LbPolicy
from proxeny.upstream.load_balancer.pickers import OneHost, Picker, RandomPicker

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext
    from proxeny.upstream.host import Host
    from proxeny.upstream.load_balancer.base import Source
    from proxeny.upstream.load_balancer.contract import LbSetting
    from proxeny.upstream.load_balancer.locality_config import LocalityConfig
    from proxeny.upstream.priority_set import HostSet


@dataclass(slots=True, frozen=True)
class Random(LbPolicy):
    """The compiled policy."""

    locality: LocalityConfig = locality_config.DEFAULT
    kind: ClassVar[str] = "random"

    def create(self, setting: LbSetting) -> ZoneAwareLoadBalancer:
        """The load balancer of a worker."""
        return ZoneAwareLoadBalancer(setting, self.kind, RandomMaker(), self.locality)


class RandomMaker:
    """Remembers nothing."""

    __slots__ = ()

    def begin(self, host_sets: list[HostSet]) -> None:
        """Nothing to do."""

    def make(self, hosts: list[Host], source: Source) -> Picker:
        """A picker for these hosts."""
        return RandomPicker(hosts) if len(hosts) > 1 else OneHost(hosts[0])


DEFAULT: Final = Random()


class RandomFactory:
    """The registered factory."""

    def compile(self, config: Any, cluster: Any, context: FactoryContext) -> Random:
        """``config``: a ``Random``."""
        return Random(locality_config.of(config)) if config.HasField("locality_lb_config") else DEFAULT

    def compile_legacy(self, cluster: Any, context: FactoryContext) -> Random:
        """``RANDOM`` has no fields but those of ``common_lb_config``."""
        return Random(locality_config.compile_legacy(cluster)) if cluster.HasField("common_lb_config") else DEFAULT


FACTORY: Final = RandomFactory()
