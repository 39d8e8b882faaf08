"""Cluster specifier plugins: optional ones, names, one route per cluster."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from envoy.config.route.v3.route_components_pb2 import ClusterSpecifierPlugin
from google.protobuf.json_format import ParseDict

from proxeny.config.errors import ConfigError
from proxeny.kernel.headers import HeaderMap
from proxeny.router.cluster_specifier import SpecifiedClusters, compile_specifier, compile_specifiers

STRUCT = {"@type": "type.googleapis.com/google.protobuf.Struct", "value": {}}


def plugin(name: str = "x", is_optional: bool = False) -> Any:
    extension = {"name": name, "typed_config": STRUCT}
    return ParseDict({"extension": extension, "is_optional": is_optional}, ClusterSpecifierPlugin())


def test_each_cluster_has_one_route() -> None:
    names = iter(["a", "b", "a"])
    made: list[str] = []

    def make(name: str) -> Any:
        made.append(name)
        return SimpleNamespace(cluster=name)

    clusters = SpecifiedClusters(SimpleNamespace(cluster=lambda headers, info: next(names)), make)
    picked = [clusters.pick(HeaderMap(), 0) for _ in range(3)]
    assert picked[0] is picked[2]
    assert made == ["a", "b"]
    assert clusters.shares() == [("a", 0), ("b", 0)]


def test_an_optional_unknown_plugin_has_no_route() -> None:
    context: Any = None
    specifier = compile_specifier(plugin(is_optional=True), context)
    assert SpecifiedClusters(specifier, lambda name: pytest.fail(name)).pick(HeaderMap(), 0) is None
    with pytest.raises(ConfigError):
        compile_specifier(plugin(), context)


def test_plugins_that_are_known_elsewhere_are_refused_even_if_optional() -> None:
    context: Any = None
    with pytest.raises(ConfigError, match="not supported yet"):
        compile_specifier(plugin("envoy.router.cluster_specifier_plugin.lua", True), context)


def test_the_first_of_a_name_counts() -> None:
    context: Any = None
    assert len(compile_specifiers([plugin(is_optional=True), plugin(is_optional=True)], context)) == 1
