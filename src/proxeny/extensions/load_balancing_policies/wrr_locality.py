"""``envoy.load_balancing_policies.wrr_locality``: localities by their weights, then a policy for the hosts in them."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError
from proxeny.extensions.load_balancing_policies.client_side_weighted_round_robin import ClientSideWeightedRoundRobin
from proxeny.upstream.load_balancer.locality_config import LocalityConfig
from proxeny.upstream.load_balancer.policy import first_known

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext


class WrrLocality(ClientSideWeightedRoundRobin):
    """The only policy for hosts that there is (in Envoy too), with weighted localities."""

    __slots__ = ()

    kind = "wrr_locality"


class WrrLocalityFactory:
    """The registered factory."""

    def compile(self, config: Any, cluster: Any, context: FactoryContext) -> WrrLocality:
        """``config``: a ``WrrLocality``."""
        child = first_known(config.endpoint_picking_policy, cluster, context)
        if child is None:
            raise ConfigError("No supported endpoint picking policy.")
        if not isinstance(child, ClientSideWeightedRoundRobin):
            raise ConfigError(
                "Currently WrrLocalityLoadBalancer only supports ClientSideWeightedRoundRobinLoadBalancer as its "
                "endpoint picking policy."
            )
        values = {field.name: getattr(child, field.name) for field in fields(child)}
        return WrrLocality(**{**values, "locality": LocalityConfig(weighted=True)})


FACTORY: Final = WrrLocalityFactory()
