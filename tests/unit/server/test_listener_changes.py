"""Which updates are in place, and how many chains they take away."""

import pytest
from envoy.config.core.v3 import socket_option_pb2
from envoy.config.listener.v3 import listener_pb2
from tests.unit.server.listener_workers import listener

from proxeny.server.listener_changes import filter_chain_only_change, removed_chains


def changed(**fields: object) -> listener_pb2.Listener:
    return listener(texts=("b",), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "in_place"),
    [
        ({}, True),
        ({"default_filter_chain": {"name": "d"}}, True),
        ({"filter_chain_matcher": {"on_no_match": {}}}, True),
        ({"enable_reuse_port": False}, True),  # as if unset: Envoy compares what they come to apart
        ({"traffic_direction": "UNSPECIFIED"}, True),
        ({"stat_prefix": "x"}, False),
        ({"traffic_direction": "INBOUND"}, False),
        ({"enable_reuse_port": True}, False),
        ({"metadata": {"filter_metadata": {"a": {"b": 1}}}}, False),
        ({"listener_filters": [{"name": "l"}]}, False),
        ({"access_log": [{"name": "l"}]}, False),
        ({"additional_addresses": [{"address": {"pipe": {"path": "/x"}}}]}, False),
    ],
)
def test_filter_chain_only_change(fields: dict[str, object], in_place: bool) -> None:
    assert filter_chain_only_change(listener(texts=("a",)), changed(**fields)) is in_place


def test_the_order_of_lists_does_not_count() -> None:
    one, other = listener(), listener()
    for number in (1, 2):
        one.socket_options.append(socket_option_pb2.SocketOption(level=number, name=1))
        other.socket_options.insert(0, socket_option_pb2.SocketOption(level=number, name=1))
    assert filter_chain_only_change(one, other)
    other.socket_options[0].level = 1
    assert not filter_chain_only_change(one, other)


def test_removed_chains() -> None:
    old = listener(texts=("a", "b"))
    assert removed_chains(old, old) == 0
    assert removed_chains(old, listener(texts=("a",))) == 1
    assert removed_chains(listener(texts=("a",)), old) == 0
    with_default = listener(default_filter_chain={"name": "d"})
    assert removed_chains(listener(), with_default) == 0
    assert removed_chains(with_default, listener()) == 1
    assert removed_chains(with_default, listener(default_filter_chain={"name": "e"})) == 1
