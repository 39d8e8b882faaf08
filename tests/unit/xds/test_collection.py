"""Locators of collections, the sources that have them, and what their names say of the node."""

import pytest
from envoy.config.core.v3 import base_pb2, config_source_pb2

from proxeny.config.errors import ConfigError
from proxeny.xds.collection import aggregates, decode_locator, node_context

TYPE = "envoy.config.cluster.v3.Cluster"
API = config_source_pb2.ApiConfigSource


@pytest.mark.parametrize(
    ("locator", "words"),
    [
        ("foo", "foo does not have a xdstp:, http: or file: scheme"),
        ("file:///a", "collections of the scheme 'file' are not supported"),
        ("xdstp://a/other.Type/*", f"xdstp:// type does not match {TYPE} in xdstp://a/other.Type/*"),
        (f"xdstp://a/{TYPE}/*#foo=bar", "Unknown fragment component foo=bar"),
    ],
)
def test_locators_that_are_refused(locator: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        decode_locator(locator, TYPE)
    assert str(caught.value) == words


def _api(kind: "API.ApiType") -> config_source_pb2.ConfigSource:
    return config_source_pb2.ConfigSource(api_config_source=API(api_type=kind))


def test_sources_of_collections() -> None:
    source = config_source_pb2.ConfigSource()
    with pytest.raises(ConfigError, match=r"^Missing or not supported config source specifier"):
        aggregates(source)
    with pytest.raises(ConfigError, match=r"^Unknown xdstp:// transport API type in api_type: GRPC"):
        aggregates(_api(API.GRPC))
    source.ads.SetInParent()
    assert aggregates(source)
    assert aggregates(_api(API.AGGREGATED_DELTA_GRPC))
    assert not aggregates(_api(API.DELTA_GRPC))


def test_the_context_says_what_is_asked_of_the_node() -> None:
    node = base_pb2.Node(id="i", cluster="c", locality=base_pb2.Locality(zone="z"))
    node.metadata.update({"n": 1, "f": 1.5, "s": "t", "l": ["x", 2], "m": {"k": True}})
    node.user_agent_build_version.version.major_number = 3
    keys = ["id", "locality.zone", "metadata", "user_agent_build_version.version", "nope", ""]
    assert node_context(node, keys) == {
        "xds.node.id": "i",
        "xds.node.locality.zone": "z",
        "xds.node.metadata.n": "1",
        "xds.node.metadata.f": "1.5",
        "xds.node.metadata.s": '"t"',
        "xds.node.metadata.l": '["x",2]',
        "xds.node.metadata.m": '{"k":true}',
        "xds.node.user_agent_build_version.version": "3.0.0",
    }
