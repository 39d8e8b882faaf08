"""Validators: updates that they refuse reach nobody."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.config.core.v3 import config_source_pb2
from envoy.extensions.config.validators.minimum_clusters.v3 import minimum_clusters_pb2
from google.protobuf import struct_pb2
from tests.unit.xds.streams import CLA, CLUSTER, NODE, Owner, World, assignment, assignments, response, wrapped

from proxeny import extensions
from proxeny.config.errors import ConfigError
from proxeny.xds.config_validators import ConfigValidators, compile_validators
from proxeny.xds.delta_mux import DeltaMux
from proxeny.xds.resource import DecodedResource
from proxeny.xds.sotw_mux import SotwMux
from proxeny.xds.subscription import FailureReason

TOO_FEW = "CDS update attempts to reduce clusters below configured minimum."


class Strict:
    """Refuses whatever has a resource ``no``, or removes it."""

    type_url = CLA

    def validate(self, resources: Any) -> None:
        if "no" in [one.name for one in resources]:
            raise ConfigError("strict")

    def validate_delta(self, added: Any, removed_names: Any) -> None:
        self.validate(added)
        if "no" in removed_names:
            raise ConfigError("strict")


def _api(*configs: Any) -> Any:
    api = config_source_pb2.ApiConfigSource()
    for config in configs:
        api.config_validators.add(name="x").typed_config.Pack(config)
    return api


def _clusters(*names: str) -> list[DecodedResource]:
    from envoy.config.cluster.v3 import cluster_pb2

    return [DecodedResource(name, cluster_pb2.Cluster(name=name), "1") for name in names]


def test_a_minimum_of_clusters() -> None:
    extensions.install()
    there = {"a", "b"}
    config = minimum_clusters_pb2.MinimumClustersValidator(min_clusters_num=2)
    validators = compile_validators(_api(config), lambda: there)
    validators.validate(CLUSTER, _clusters("a", "b"))
    validators.validate(CLA, [])
    with pytest.raises(ConfigError) as caught:
        validators.validate(CLUSTER, _clusters("a"))
    assert str(caught.value) == TOO_FEW
    validators.validate_delta(CLUSTER, _clusters("c"), ["a"])
    validators.validate_delta(CLUSTER, [], ["unknown"])
    with pytest.raises(ConfigError):
        validators.validate_delta(CLUSTER, _clusters("b"), ["a"])


def test_one_that_is_not_known_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Didn't find a registered implementation for 'x' with type URL: "):
        compile_validators(_api(struct_pb2.Struct()), frozenset)


@pytest.mark.parametrize("mux", [SotwMux, DeltaMux])
def test_what_is_refused_reaches_nobody(mux: Any) -> None:
    from proxeny.xds import delta_mux, sotw_mux

    module = sotw_mux if mux is SotwMux else delta_mux
    world = World(module.MESSAGE)
    made = mux(world.dispatcher, NODE, world.open_stream, validators=ConfigValidators([Strict()]))
    made.start()
    owner = Owner()
    made.add_watch(CLA, [], owner, assignments())
    for name in ("no", "yes"):
        if mux is SotwMux:
            message = response("1", "n", [assignment(name)])
        else:
            message = module.MESSAGE(type_url=CLA, resources=[wrapped(name, assignment(name), "1")])
        world.stream.callbacks.on_message(message.SerializeToString())
    assert [heard[1] for heard in owner.news()] == [["yes"]]
    assert owner.failures == [(FailureReason.UPDATE_REJECTED, "strict")]
