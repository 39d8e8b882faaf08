"""Filter-chain match: order and specificity, level by level."""

from typing import Any

import pytest
from envoy.config.listener.v3.listener_components_pb2 import FilterChainMatch
from google.protobuf.json_format import ParseDict

from proxeny.config.errors import ConfigError
from proxeny.listener.filter_chain_match import FilterChainMatcher
from proxeny.network.address import ip_address, pipe_address
from proxeny.network.stream_info import ConnectionInfo


class Chain:
    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


def matcher(default: str | None = None, **matches: dict[str, Any]) -> FilterChainMatcher:
    pairs = [(ParseDict(match, FilterChainMatch()), Chain(name)) for name, match in matches.items()]
    return FilterChainMatcher(pairs, Chain(default) if default else None)


def connection(
    local: str = "10.0.0.1",
    port: int = 80,
    remote: str = "10.9.9.9",
    remote_port: int = 4000,
    server_name: str = "",
    transport: str = "raw_buffer",
    alpn: tuple[str, ...] = (),
    direct: str | None = None,
) -> ConnectionInfo:
    info = ConnectionInfo(ip_address(local, port), ip_address(remote, remote_port), 1)
    info.requested_server_name = server_name
    info.transport_protocol = transport
    info.requested_application_protocols = alpn
    if direct is not None:
        info.direct_remote_address = ip_address(direct, 1)
    return info


def found(chains: FilterChainMatcher, **facts: Any) -> str | None:
    chain = chains.find(connection(**facts))
    return None if chain is None else chain.name


def cidr(address: str, length: int) -> dict[str, Any]:
    return {"address_prefix": address, "prefix_len": length}


def test_one_chain_without_conditions_takes_everything() -> None:
    chains = matcher(only={})
    assert found(chains) == "only"
    info = ConnectionInfo(pipe_address("/a"), pipe_address("/b"), 1)
    assert chains.find(info).name == "only"


def test_nothing_matches_without_a_default() -> None:
    assert found(matcher(a={"destination_port": 81})) is None
    assert found(matcher(default="d", a={"destination_port": 81})) == "d"
    assert found(matcher(default="d")) == "d"


def test_a_matched_port_rules_out_the_chains_without_one() -> None:
    chains = matcher(
        port={"destination_port": 80, "prefix_ranges": [cidr("10.0.0.2", 32)]},
        address={"prefix_ranges": [cidr("10.0.0.1", 32)]},
    )
    assert found(chains, local="10.0.0.1", port=81) == "address"
    assert found(chains, local="10.0.0.2", port=80) == "port"
    assert found(chains, local="10.0.0.1", port=80) is None


def test_the_longest_prefix_wins() -> None:
    chains = matcher(
        net8={"prefix_ranges": [cidr("10.0.0.0", 8)]},
        net24={"prefix_ranges": [cidr("10.0.0.0", 24), cidr("2001:db8::", 32)]},
        host={"prefix_ranges": [cidr("10.0.0.7", 32)]},
        rest={},
    )
    assert found(chains, local="10.0.0.7") == "host"
    assert found(chains, local="10.0.0.8") == "net24"
    assert found(chains, local="10.1.0.8") == "net8"
    assert found(chains, local="11.1.0.8") == "rest"
    assert found(chains, local="2001:db8::1") == "net24"
    assert found(chains, local="2001:db9::1") == "rest"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("www.example.com", "exact"),
        ("api.example.com", "suffix"),
        ("a.b.example.com", "suffix"),
        ("a.deep.example.com", "deep"),
        ("example.com", "rest"),
        ("other.org", "rest"),
        ("", "rest"),
    ],
)
def test_server_names(name: str, expected: str) -> None:
    chains = matcher(
        exact={"server_names": ["WWW.example.com"]},
        suffix={"server_names": ["*.example.com"]},
        deep={"server_names": ["*.deep.example.com"]},
        rest={},
    )
    assert found(chains, server_name=name) == expected


def test_transport_and_application_protocols() -> None:
    chains = matcher(
        tls={"transport_protocol": "tls"},
        h2={"transport_protocol": "tls", "application_protocols": ["h2"]},
        h1={"transport_protocol": "tls", "application_protocols": ["http/1.1"]},
        plain={"transport_protocol": "raw_buffer"},
    )
    assert found(chains) == "plain"
    assert found(chains, transport="tls") == "tls"
    assert found(chains, transport="tls", alpn=("spdy",)) == "tls"
    assert found(chains, transport="tls", alpn=("h2", "http/1.1")) == "h2"
    assert found(chains, transport="tls", alpn=("http/1.1", "h2")) == "h1"


def test_sources() -> None:
    chains = matcher(
        local={"source_type": "SAME_IP_OR_LOOPBACK"},
        port={"source_prefix_ranges": [cidr("10.8.0.0", 16)], "source_ports": [4000, 4001]},
        rest={},
    )
    assert found(chains, remote="127.0.0.1") == "local"
    assert found(chains, remote="10.0.0.1") == "local"
    assert found(chains, remote="10.8.9.9", remote_port=4001) == "port"
    assert found(chains, remote="10.8.9.9", remote_port=4002) is None
    assert found(chains, remote="10.7.9.9") == "rest"
    assert found(matcher(external={"source_type": "EXTERNAL"})) == "external"


def test_a_matched_source_type_rules_out_the_chains_without_one() -> None:
    chains = matcher(
        local={"source_type": "SAME_IP_OR_LOOPBACK", "source_prefix_ranges": [cidr("10.0.0.0", 8)]},
        rest={},
    )
    assert found(chains, remote="127.0.0.1") is None
    assert found(chains, remote="10.9.9.9") == "rest"


def test_the_direct_source_comes_before_the_source() -> None:
    chains = matcher(
        direct={"direct_source_prefix_ranges": [cidr("192.0.2.0", 24)]},
        source={"source_prefix_ranges": [cidr("10.9.0.0", 16)]},
    )
    assert found(chains, direct="192.0.2.1") == "direct"
    assert found(chains, direct="198.51.100.1") == "source"


def test_unix_sockets_match_only_what_asks_for_no_address() -> None:
    chains = matcher(ip={"prefix_ranges": [cidr("0.0.0.0", 0)]}, rest={})
    info = ConnectionInfo(pipe_address("/a"), pipe_address("/b"), 1)
    assert chains.find(info).name == "rest"


@pytest.mark.parametrize(
    ("matches", "words"),
    [
        (
            {"a": {"destination_port": 80}, "b": {"destination_port": 80}},
            "filter chain 'b' has the same matching rules defined as 'a'. duplicate matcher is: "
            '{"destination_port":80}',
        ),
        (
            {"a": {"server_names": ["x.y", "z"]}, "b": {"server_names": ["z"]}},
            "filter chain 'b' has the same matching rules defined as 'a'",
        ),
        ({"a": {"server_names": ["*w.example.com"]}}, "partial wildcards are not supported"),
        ({"a": {"server_names": ["w.*.example.com"]}}, "partial wildcards are not supported"),
        ({"a": {"address_suffix": "x"}}, "address_suffix"),
    ],
)
def test_refusals(matches: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        matcher(**matches)
