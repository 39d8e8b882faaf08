"""``envoy.load_balancing_policies.cluster_provided``: the cluster's type brings its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from proxeny.extensions.load_balancing_policies.random import RandomMaker
from proxeny.upstream.load_balancer.base import ZoneAwareLoadBalancer
from proxeny.upstream.load_balancer.contract import LbPolicy
from proxeny.upstream.load_balancer.policy import CLUSTER_PROVIDED as KIND

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext
    from proxeny.upstream.load_balancer.contract import LbSetting


@dataclass(slots=True, frozen=True)
class ClusterProvided(LbPolicy):
    """Has no settings."""

    kind: ClassVar[str] = KIND

    def create(self, setting: LbSetting) -> ZoneAwareLoadBalancer:
        """Never asked: the cluster is asked instead."""
        return ZoneAwareLoadBalancer(setting, self.kind, RandomMaker())


DEFAULT: Final = ClusterProvided()


class ClusterProvidedFactory:
    """The registered factory."""

    def compile(self, config: Any, cluster: Any, context: FactoryContext) -> ClusterProvided:
        """``config``: a ``ClusterProvided``."""
        return DEFAULT

    def compile_legacy(self, cluster: Any, context: FactoryContext) -> ClusterProvided:
        """``CLUSTER_PROVIDED`` has no fields."""
        return DEFAULT


FACTORY: Final = ClusterProvidedFactory()
