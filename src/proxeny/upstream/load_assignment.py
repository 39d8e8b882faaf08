"""What a ClusterLoadAssignment says besides its hosts, checked with what is known of the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError
from proxeny.upstream.endpoints import DEFAULT_OVERPROVISIONING_FACTOR, AssignmentPolicy

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext

DEFAULT_POLICY: Final = AssignmentPolicy()
_DROP_LIMIT_KEY: Final = "load_balancing_policy.drop_overload_limit"
_DENOMINATORS: Final = {0: 100, 1: 10_000, 2: 1_000_000}
"""type.v3.FractionalPercent.DenominatorType."""


def parse_policy(assignment: Any, cluster_name: str, context: FactoryContext) -> AssignmentPolicy:
    """The policy of a cluster's ``assignment``; ConfigError in Envoy's words. Equal to the default one it is that."""
    policy = assignment.policy
    overloads = policy.drop_overloads
    if len(overloads) > 1:
        raise ConfigError(f"Cluster drop_overloads config has {len(overloads)} categories. Envoy only support one.")
    _check_zone_aware(assignment, cluster_name, context)
    found = AssignmentPolicy(
        policy.overprovisioning_factor.value
        if policy.HasField("overprovisioning_factor")
        else DEFAULT_OVERPROVISIONING_FACTOR,
        policy.weighted_priority_health,
        _drop_ratio(overloads[0].drop_percentage, context) if overloads else 0.0,
        overloads[0].category if overloads else "",
    )
    return DEFAULT_POLICY if found == DEFAULT_POLICY else found


def _check_zone_aware(assignment: Any, cluster_name: str, context: FactoryContext) -> None:
    """Zone-aware routing knows the local cluster by its priority 0 alone."""
    bootstrap = context.bootstrap
    if bootstrap is None or bootstrap.cluster_manager.local_cluster_name != cluster_name:
        return
    if any(group.priority > 0 for group in assignment.endpoints):
        raise ConfigError(f"Unexpected non-zero priority for local cluster '{cluster_name}'.")


def _drop_ratio(percentage: Any, context: FactoryContext) -> float:
    runtime = context.runtime
    limit = 100 if runtime is None else runtime.get_integer(_DROP_LIMIT_KEY, 100)
    if not 0 <= limit <= 100:
        raise ConfigError(f"{_DROP_LIMIT_KEY} runtime key config {limit} is invalid. The valid range is 0~100")
    denominator = _DENOMINATORS.get(percentage.denominator)
    if denominator is None:
        raise ConfigError(
            f"Cluster drop_overloads config denominator setting is invalid : {percentage.denominator}. Valid range 0~2."
        )
    ratio = percentage.numerator / denominator
    if ratio > 1:
        raise ConfigError(
            f"Cluster drop_overloads config is invalid. drop_ratio={ratio:g}(Numerator {percentage.numerator} / "
            f"Denominator {denominator}). The valid range is 0~1."
        )
    return float(min(ratio, limit / 100))
