"""Resources as tests give them."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import any_pb2

from proxeny.config.errors import ConfigError
from proxeny.testing.xds.store import TypeStore, entries_of
from proxeny.testing.xds.types import CDS, EDS, type_url


def test_every_form() -> None:
    message: Any = cluster_pb2.Cluster(name="message")
    packed: Any = any_pb2.Any()
    packed.Pack(message)
    trees = {"name": "tree", "connect_timeout": "1s"}, {"@type": type_url(CDS), "name": "typed"}
    found = entries_of(CDS, [message, packed, *trees])
    assert [entry.name for entry in found] == ["message", "message", "tree", "typed"]
    assert {entry.in_response().type_url for entry in found} == {type_url(CDS)}
    assert found[0].in_response() == packed
    wrapped: Any = discovery_pb2.Resource(name="wrapped", resource=packed, aliases=["other"])
    wrapped.ttl.FromMilliseconds(50)
    (entry,) = entries_of(CDS, [wrapped])
    again: Any = discovery_pb2.Resource()
    assert entry.in_response().Unpack(again) and again == wrapped


def test_names_of_a_mapping_count() -> None:
    other_type = {"@type": type_url(EDS), "cluster_name": "x"}
    broken = any_pb2.Any(type_url=type_url(CDS), value=b"\xff")
    found = entries_of(CDS, {"a": other_type, "b": broken})
    assert [(entry.name, entry.resource.name) for entry in found] == [("a", "a"), ("b", "b")]
    assert found[0].in_response().type_url == type_url(EDS)


def test_what_is_no_message() -> None:
    with pytest.raises(ConfigError):
        entries_of(CDS, [{"name": "a", "colour": "red"}])


def test_versions() -> None:
    store = TypeStore(CDS)
    assert store.replace(entries_of(CDS, [{"name": "a"}, {"name": "b"}]), None) == "1"
    assert store.replace(entries_of(CDS, [{"name": "a"}, {"name": "b", "type": "EDS"}]), "x") == "x"
    assert {name: entry.version for name, entry in store.entries.items()} == {"a": "1", "b": "x"}
    fixed = discovery_pb2.Resource(name="a", version="mine")
    assert store.replace(entries_of(CDS, [fixed]), None) == "3"
    assert store.entries["a"].version == "mine"
