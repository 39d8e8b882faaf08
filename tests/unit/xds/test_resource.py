"""Resources: what is around them, what is broken, what is amended before it is checked."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.any_pb2 import Any as AnyMessage

from proxeny.config.errors import ConfigError
from proxeny.config.loader import LoadOptions
from proxeny.config.validate import inspect
from proxeny.xds import resource
from proxeny.xds.resource import Amend, DecodedResource, ResourceDecoder
from proxeny.xds.validation import DynamicValidation


def decode(amend: Amend | None, wrapped_as: str = "") -> DecodedResource | None:
    packed = AnyMessage()
    packed.Pack(listener_pb2.Listener(name="a"))
    if wrapped_as:
        wrapper = discovery_pb2.Resource(name=wrapped_as, resource=packed)
        packed = AnyMessage()
        packed.Pack(wrapper)
    return ResourceDecoder(listener_pb2.Listener, "name", DynamicValidation(LoadOptions()), amend).decode(packed, "1")


def test_a_change_is_part_of_the_resource() -> None:
    def amend(listener: Any) -> bool:
        listener.stat_prefix = "x"
        return True

    found = decode(amend)
    assert found is not None
    assert (found.name, found.message.stat_prefix, found.error) == ("a", "x", None)
    found = decode(amend, "b")
    assert found is not None
    assert found.name == "b"


def test_a_new_name_is_the_name_of_the_resource() -> None:
    def amend(listener: Any) -> bool:
        listener.name = "new"
        return True

    for wrapped_as in ("", "b"):
        found = decode(amend, wrapped_as)
        assert found is not None
        assert found.name == "new"


def test_a_resource_can_be_amended_away() -> None:
    assert decode(lambda listener: False) is None


def test_what_cannot_be_amended_is_refused_alone() -> None:
    def amend(listener: Any) -> bool:
        raise ConfigError("no")

    found = decode(amend)
    assert found is not None
    assert str(found.error) == "no"


def test_the_checks_see_the_change() -> None:
    def amend(listener: Any) -> bool:
        listener.fcds_config.name = "x"
        return True

    found = decode(amend)
    assert found is not None
    assert "not supported" in str(found.error)


def test_what_is_broken_can_be_one_resource_s_own_matter() -> None:
    decoder = ResourceDecoder(endpoint_pb2.ClusterLoadAssignment, "cluster_name", DynamicValidation(LoadOptions()))
    bytes_of_none = AnyMessage(type_url=decoder.type_url, value=b"\xff")
    named = discovery_pb2.Resource(name="a", version="1", resource=bytes_of_none)
    with pytest.raises(ConfigError):
        decoder.decode_delta(named)
    decoder.keeps_broken = True
    found = decoder.decode_delta(named)
    assert found is not None
    assert (found.name, found.message.cluster_name, found.version) == ("a", "a", "1")
    assert str(found.error).startswith("Unable to unpack as envoy.config.endpoint.v3.ClusterLoadAssignment: ")
    with pytest.raises(ConfigError):
        decoder.decode(bytes_of_none, "1")


def test_a_resource_around_another_brings_aliases_and_a_life() -> None:
    decoder = ResourceDecoder(endpoint_pb2.ClusterLoadAssignment, "cluster_name", DynamicValidation(LoadOptions()))
    wrapper = discovery_pb2.Resource(name="a", version="1", aliases=["b"])
    wrapper.ttl.FromMilliseconds(1500)
    found = decoder.decode_delta(wrapper)
    assert found is not None
    assert (found.name, found.aliases, found.ttl_ms, found.has_resource) == ("a", ("b",), 1500, False)
    wrapper.resource.Pack(endpoint_pb2.ClusterLoadAssignment(cluster_name="c"))
    found = decoder.decode_delta(wrapper)
    assert found is not None
    assert (found.name, found.message.cluster_name, found.has_resource) == ("a", "c", True)


def _decoder(monkeypatch: pytest.MonkeyPatch) -> tuple[ResourceDecoder, list[str]]:
    """A decoder, and the names of listeners that it checked."""
    checked: list[str] = []

    def inspected(message: Any, inspector: Any) -> None:
        checked.append(message.name)
        inspect(message, inspector)

    monkeypatch.setattr(resource, "inspect", inspected)
    return ResourceDecoder(listener_pb2.Listener, "name", DynamicValidation(LoadOptions())), checked


def _packed(message: Any) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message)
    return packed


def test_what_was_found_good_is_not_checked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder, checked = _decoder(monkeypatch)
    first = decoder.decode(_packed(listener_pb2.Listener(name="a", stat_prefix="x")), "1")
    again = decoder.decode(_packed(listener_pb2.Listener(name="a", stat_prefix="x")), "2")
    assert first is not None and again is not None
    assert checked == ["a"]
    assert (again.name, again.version, again.error) == ("a", "2", None)
    assert again.serialized is first.serialized
    assert again.message == first.message
    wrapped = discovery_pb2.Resource(name="other", resource=_packed(listener_pb2.Listener(name="a", stat_prefix="x")))
    named = decoder.decode(_packed(wrapped), "3")
    assert named is not None and (named.name, named.message.name) == ("other", "a")
    decoder.decode(_packed(listener_pb2.Listener(name="a")), "4")
    assert checked == ["a", "a"]


def test_what_is_refused_or_deprecated_is_checked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder, checked = _decoder(monkeypatch)
    deprecated = listener_pb2.Listener(name="old")
    deprecated.reuse_port = True
    for _ in range(2):
        decoder.decode(_packed(deprecated), "1")
    assert checked == ["old", "old"]
    checked.clear()
    broken = listener_pb2.Listener(name="broken")
    broken.filter_chains.add().filters.add()
    for _ in range(2):
        with pytest.raises(ConfigError):
            decoder.decode(_packed(broken), "1")
    assert checked == ["broken", "broken"]


def test_a_decoder_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "MOST_KNOWN", 2)
    decoder, checked = _decoder(monkeypatch)
    for name in "abcdea":
        decoder.decode(_packed(listener_pb2.Listener(name=name)), "1")
    assert checked == [*"abcdea"]
    # What is asked for stays.
    decoder.decode(_packed(listener_pb2.Listener(name="e")), "1")
    assert checked == [*"abcdea"]
