"""Policies are found in the registry: built-in and third parties', by both ways to name them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from google.protobuf.json_format import ParseDict

from proxeny.config.errors import ConfigError
from proxeny.config.message_types import message_class
from proxeny.extensions.load_balancing_policies import cluster_provided, least_request, random, round_robin
from proxeny.network.factory_context import FactoryContext
from proxeny.registry import REGISTRY, Extension
from proxeny.upstream.load_balancer import policy
from proxeny.upstream.load_balancer.contract import KIND, LbPolicy

TYPE = "type.googleapis.com/envoy.extensions.load_balancing_policies"


def compiled(context: FactoryContext, provided: bool = False, **fields: Any) -> LbPolicy:
    cluster = ParseDict({"name": "c", **fields}, Cluster())
    return policy.compile(cluster, {field.name: value for field, value in cluster.ListFields()}, context, provided)


def listed(*types: str) -> dict[str, Any]:
    for one in types:
        message_class(one.rpartition("/")[2])
    policies = [
        {"typed_extension_config": {"name": f"n{i}", "typed_config": {"@type": t}}} for i, t in enumerate(types)
    ]
    return {"load_balancing_policy": {"policies": policies}}


@pytest.mark.parametrize(
    ("legacy", "message", "expected"),
    [
        ("ROUND_ROBIN", "round_robin.v3.RoundRobin", round_robin.DEFAULT),
        ("LEAST_REQUEST", "least_request.v3.LeastRequest", least_request.DEFAULT),
        ("RANDOM", "random.v3.Random", random.DEFAULT),
        ("CLUSTER_PROVIDED", "cluster_provided.v3.ClusterProvided", cluster_provided.DEFAULT),
    ],
)
def test_both_spellings(context: FactoryContext, legacy: str, message: str, expected: LbPolicy) -> None:
    provided = expected is cluster_provided.DEFAULT
    assert compiled(context, provided, lb_policy=legacy) is expected
    assert compiled(context, provided, **listed(f"{TYPE}.{message}")) == expected


def test_the_first_known_policy_counts(context: FactoryContext) -> None:
    unknown = "type.googleapis.com/envoy.config.core.v3.Locality"
    fields = listed(unknown, f"{TYPE}.random.v3.Random", f"{TYPE}.round_robin.v3.RoundRobin")
    assert compiled(context, **fields) is random.DEFAULT
    with pytest.raises(ConfigError, match=r"for cluster: 'c' with names from \[n0\]"):
        compiled(context, **listed(unknown))


@dataclass(frozen=True, slots=True)
class Mine(LbPolicy):
    region: str
    kind: ClassVar[str] = "mine"


class MineFactory:
    def compile(self, config: Any, cluster: Any, context: FactoryContext) -> Mine:
        return Mine(config.region)


FACTORY = MineFactory()


def test_third_parties_register(context: FactoryContext) -> None:
    REGISTRY.add(Extension(KIND, "mine", f"{__name__}:FACTORY", ("envoy.config.core.v3.Locality",)))
    try:
        made = compiled(context, **listed("type.googleapis.com/envoy.config.core.v3.Locality"))
        assert (made.kind, made.region) == ("mine", "")  # type: ignore[attr-defined]
    finally:
        REGISTRY._by_type.pop((KIND, "envoy.config.core.v3.Locality"))
        REGISTRY._by_name.pop((KIND, "mine"))
