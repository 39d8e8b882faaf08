"""Which load balancing a cluster asked for: ``lb_policy`` or ``load_balancing_policy``, found in the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError
from proxeny.config.loader import unpack_any
from proxeny.registry import REGISTRY
from proxeny.upstream.load_balancer.contract import KIND, LbPolicy, LbPolicyFactory

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext

CLUSTER_PROVIDED: Final = "cluster_provided"
"""The cluster's type brings its load balancer (ORIGINAL_DST)."""

_NAMES: Final = "envoy.load_balancing_policies."
_LEGACY: Final = ("round_robin", "least_request", "ring_hash", "random", "", "maglev", CLUSTER_PROVIDED, "")
"""By Cluster.LbPolicy number."""
_LOAD_BALANCING_POLICY_CONFIG: Final = 7


def compile(cluster: Any, present: dict[str, Any], context: FactoryContext, provided: bool = False) -> LbPolicy:
    """The policy of a cluster whose set fields are ``present``; ConfigError in Envoy's words.

    ``provided``: the cluster's type brings a load balancer of its own.
    """
    if "load_balancing_policy" in present:
        if "lb_subset_config" in present:
            raise ConfigError("cluster: load_balancing_policy cannot be combined with lb_subset_config")
        policy = compile_children(present["load_balancing_policy"], cluster, context)
    elif cluster.lb_policy == _LOAD_BALANCING_POLICY_CONFIG:
        raise ConfigError("cluster: field load_balancing_policy need to be set")
    else:
        policy = _legacy(cluster, present, context)
    if (policy.kind == CLUSTER_PROVIDED) != provided:
        specified, did = ("not specified", "provided one") if provided else ("specified", "did not provide one")
        raise ConfigError(
            f"cluster manager: cluster provided LB {specified} but cluster '{cluster.name}' {did}. "
            "Check cluster documentation."
        )
    return policy


def compile_children(policies: Any, cluster: Any, context: FactoryContext) -> LbPolicy:
    """The first policy of a ``LoadBalancingPolicy`` that we know, as Envoy does; ConfigError without any."""
    found = first_known(policies, cluster, context)
    if found is not None:
        return found
    names = [candidate.typed_extension_config.name for candidate in policies.policies]
    raise ConfigError(
        "cluster: didn't find a registered load balancer factory implementation for cluster: "
        f"'{cluster.name}' with names from [{', '.join(names)}]"
    )


def first_known(policies: Any, cluster: Any, context: FactoryContext) -> LbPolicy | None:
    """The first policy of a ``LoadBalancingPolicy`` that we know."""
    for candidate in policies.policies:
        typed = candidate.typed_extension_config
        type_name = typed.typed_config.type_url.rpartition("/")[2]
        if type_name and REGISTRY.knows(KIND, typed.name, type_name):
            factory: LbPolicyFactory = REGISTRY.factory(KIND, typed.name, type_name)
            return factory.compile(unpack_any(typed.typed_config), cluster, context)
    return None


def legacy_factory(cluster: Any) -> LbPolicyFactory:
    """The factory of the policy that ``Cluster.lb_policy`` names."""
    factory: LbPolicyFactory = REGISTRY.factory(KIND, _NAMES + _LEGACY[cluster.lb_policy])
    return factory


def _legacy(cluster: Any, present: dict[str, Any], context: FactoryContext) -> LbPolicy:
    factory = legacy_factory(cluster)
    if "lb_subset_config" in present:
        _check_subsets(cluster, present)
        if present["lb_subset_config"].subset_selectors:
            factory = REGISTRY.factory(KIND, _NAMES + "subset")
    return factory.compile_legacy(cluster, context)


def _check_subsets(cluster: Any, present: dict[str, Any]) -> None:
    if _LEGACY[cluster.lb_policy] == CLUSTER_PROVIDED:
        raise ConfigError("cluster: LB policy CLUSTER_PROVIDED cannot be combined with lb_subset_config")
    subset, common = present["lb_subset_config"], present.get("common_lb_config")
    if subset.locality_weight_aware and (common is None or not common.HasField("locality_weighted_lb_config")):
        raise ConfigError(
            f"Locality weight aware subset LB requires that a locality_weighted_lb_config be set in {cluster.name}"
        )
