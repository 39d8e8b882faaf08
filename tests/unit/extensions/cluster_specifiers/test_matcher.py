"""The plugin that is a match tree."""

from __future__ import annotations

from typing import Any

from envoy.extensions.router.cluster_specifiers.matcher.v3 import matcher_pb2
from envoy.type.matcher.v3 import http_inputs_pb2

from proxeny import extensions
from proxeny.extensions.cluster_specifiers.matcher import FACTORY
from proxeny.kernel.headers import HeaderMap
from proxeny.network.factory_context import FactoryContext
from proxeny.registry import REGISTRY
from proxeny.stats.store import MainStore


def specifier(no_match: str = "") -> Any:
    if not REGISTRY.knows("cluster_action", "cluster", ""):
        extensions.install()
    message = matcher_pb2.MatcherClusterSpecifier()
    tree = message.cluster_matcher.matcher_tree
    tree.input.name = "header"
    tree.input.typed_config.Pack(http_inputs_pb2.HttpRequestHeaderMatchInput(header_name="x-to"))
    for value in ("a", "b"):
        action = tree.exact_match_map.map[value].action
        action.name = "cluster"
        action.typed_config.Pack(matcher_pb2.ClusterAction(cluster=f"cluster-{value}"))
    if no_match:
        other = message.cluster_matcher.on_no_match.action
        other.name = "cluster"
        other.typed_config.Pack(matcher_pb2.ClusterAction(cluster=no_match))
    return FACTORY.create(message, FactoryContext("main", MainStore()))


def test_a_match_names_the_cluster() -> None:
    made = specifier()
    assert made.cluster(HeaderMap(((b"x-to", b"b"),)), None) == "cluster-b"
    assert made.cluster(HeaderMap(((b"x-to", b"c"),)), None) == ""


def test_no_match_may_name_one_too() -> None:
    assert specifier("rest").cluster(HeaderMap(), None) == "rest"
