"""``filter_disabled``: the compiled predicate."""

from typing import Any

import pytest
from envoy.config.listener.v3.listener_components_pb2 import ListenerFilterChainMatchPredicate
from google.protobuf.json_format import ParseDict

from proxeny.config.errors import ConfigError
from proxeny.listener.filter_predicate import compile_predicate
from proxeny.network.address import Address, ip_address, pipe_address
from proxeny.network.stream_info import ConnectionInfo

LOW: Any = {"destination_port_range": {"start": 80, "end": 90}}
HIGH: Any = {"destination_port_range": {"start": 85, "end": 95}}


def disabled(rule: Any, local: Address) -> bool:
    predicate = compile_predicate(ParseDict(rule, ListenerFilterChainMatchPredicate()))
    return predicate.matches(ConnectionInfo(local, ip_address("10.0.0.9", 4000), 1))


def at(port: int) -> Address:
    return ip_address("10.0.0.1", port)


@pytest.mark.parametrize(("port", "expected"), [(79, False), (80, True), (89, True), (90, False)])
def test_the_range_holds_its_start_and_not_its_end(port: int, expected: bool) -> None:
    assert disabled(LOW, at(port)) is expected
    assert disabled(LOW, ip_address("::1", port)) is expected


def test_a_unix_socket_is_in_every_range() -> None:
    assert disabled(LOW, pipe_address("/a"))
    assert not disabled({"not_match": LOW}, pipe_address("/a"))


def test_a_negative_start_is_above_every_port_and_a_negative_end_too() -> None:
    assert not disabled({"destination_port_range": {"start": -1, "end": 90}}, at(80))
    assert disabled({"destination_port_range": {"start": 0, "end": -1}}, at(65535))


@pytest.mark.parametrize(
    ("port", "both", "one", "neither"),
    [(80, False, True, False), (87, True, True, False), (92, False, True, False), (99, False, False, True)],
)
def test_logic(port: int, both: bool, one: bool, neither: bool) -> None:
    assert disabled({"and_match": {"rules": [LOW, HIGH]}}, at(port)) is both
    assert disabled({"or_match": {"rules": [LOW, HIGH]}}, at(port)) is one
    assert disabled({"not_match": {"or_match": {"rules": [LOW, HIGH]}}}, at(port)) is neither
    assert disabled({"any_match": True}, at(port))


def test_an_empty_predicate_is_refused() -> None:
    with pytest.raises(ConfigError, match="rule is required"):
        compile_predicate(ListenerFilterChainMatchPredicate())
