"""Reasons for a filter chain: they agree with the decision, and say where a chain is out."""

import random
from typing import Any

import pytest
from envoy.config.listener.v3.listener_components_pb2 import FilterChain
from google.protobuf.json_format import ParseDict
from tests.unit.listener.test_filter_chain_levels import random_connection, random_match

from proxeny.config.errors import ConfigError
from proxeny.listener.filter_chain_match import FilterChainMatcher, FilterChainTable
from proxeny.listener.filter_chain_trace import DEFAULT, MATCHED, NONE, trace_chains, why_none
from proxeny.network.address import ip_address
from proxeny.network.stream_info import ConnectionInfo


class Chain:
    def __init__(self, name: str) -> None:
        self.name = name


def matcher(default: bool, **matches: dict[str, Any]) -> FilterChainMatcher:
    table = FilterChainTable()
    for name, match in matches.items():
        table.add(ParseDict({"name": name, "filter_chain_match": match}, FilterChain()), Chain(name))
    return table.build(Chain("default") if default else None)


def connection(port: int = 80, name: str = "") -> ConnectionInfo:
    info = ConnectionInfo(ip_address("10.0.0.1", port), ip_address("10.0.0.2", 4000), 1)
    info.requested_server_name = name
    return info


def test_the_reasons_of_a_match() -> None:
    chains = matcher(
        False,
        port={"destination_port": 80},
        other={"destination_port": 81},
        any={},
        named={"destination_port": 80, "server_names": ["*.test", "a.b"]},
    )
    trace = trace_chains(chains, connection(name="x.org"))
    assert (trace.chain.name, trace.how) == ("port", MATCHED)
    assert trace.criteria == [("destination port", "80", "80"), ("server name", "x.org", "any")]
    assert dict(trace.others) == {
        "other": "destination port 80 is not 81",
        "any": "destination port 80: any is less specific than 80",
        "named": "server name x.org is not *.test or a.b",
    }


def test_no_match_and_the_default() -> None:
    matches: dict[str, Any] = {"named": {"destination_port": 80, "server_names": ["a"]}}
    chains = matcher(False, **matches)
    trace = trace_chains(chains, connection(name="b"))
    assert (trace.chain, trace.how) == (None, NONE)
    assert trace.criteria[-1] == ("server name", "b", "")
    assert why_none(chains, connection(name="b")) == "no chain takes server name b (behind destination port 80)"
    assert why_none(chains, connection(81)) == "no chain takes destination port 81"
    trace = trace_chains(matcher(True, **matches), connection(81))
    assert (trace.chain.name, trace.how) == ("default", DEFAULT)
    trace = trace_chains(matcher(True), connection(81))
    assert (trace.chain.name, trace.how, trace.criteria) == ("default", DEFAULT, [])


@pytest.mark.parametrize("seed", range(10))
def test_reasons_agree_with_decisions(seed: int) -> None:
    rng = random.Random(seed)
    table, count = FilterChainTable(), 0
    while count < 15:
        message = ParseDict({"name": f"c{count}", "filter_chain_match": random_match(rng)}, FilterChain())
        try:
            table.add(message, Chain(message.name))
        except ConfigError:
            table, count = FilterChainTable(), 0
            continue
        count += 1
    chains = table.build()
    for _ in range(100):
        info = random_connection(rng)
        trace = trace_chains(chains, info)
        assert trace.chain is chains.find(info)
        assert len(trace.others) == 15 - (trace.chain is not None)
        assert all(" is not " in why or " is less specific than " in why for _, why in trace.others)
