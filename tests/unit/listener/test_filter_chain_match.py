"""Filter-chain match: order and specificity, level by level."""

from typing import Any

import pytest
from envoy.config.listener.v3.listener_components_pb2 import FilterChain
from google.protobuf.json_format import ParseDict

from proxeny.config.errors import ConfigError
from proxeny.listener.filter_chain_match import FilterChainMatcher, FilterChainTable
from proxeny.network.address import ip_address, pipe_address
from proxeny.network.stream_info import ConnectionInfo

OVERLAP = "multiple filter chains with overlapping matching rules are defined"


class Chain:
    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


def matcher(default: str | None = None, **matches: dict[str, Any]) -> FilterChainMatcher:
    table = FilterChainTable()
    for name, match in matches.items():
        message = ParseDict({"name": name, "filter_chain_match": match}, FilterChain())
        table.check(message)
        table.add(message, Chain(name))
    return table.build(Chain(default) if default else None)


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


def test_a_unix_socket_counts_as_the_broadcast_address() -> None:
    info = ConnectionInfo(pipe_address("/a"), pipe_address("/b"), 1)
    assert matcher(ip={"prefix_ranges": [cidr("0.0.0.0", 0)]}).find(info).name == "ip"
    assert matcher(ip={"source_prefix_ranges": [cidr("255.255.255.255", 32)]}).find(info).name == "ip"
    assert matcher(default="d", ip={"prefix_ranges": [cidr("10.0.0.0", 8)]}).find(info).name == "d"
    assert matcher(default="d", ip={"destination_port": 1}).find(info).name == "d"
    assert matcher(default="d", ip={"source_type": "SAME_IP_OR_LOOPBACK"}).find(info).name == "ip"


def test_only_the_canonical_loopback_addresses_are_local() -> None:
    chains = matcher(local={"source_type": "SAME_IP_OR_LOOPBACK"}, external={"source_type": "EXTERNAL"})
    assert found(chains, local="127.0.0.1", remote="127.0.0.1") == "local"
    assert found(chains, local="127.0.0.1", remote="127.0.0.2") == "external"
    assert found(chains, local="127.0.0.2", remote="127.0.0.2") == "local"
    assert found(chains, local="10.0.0.1", remote="::1") == "local"
    assert found(chains, local="::1", remote="::2") == "external"


def test_v4_mapped_addresses_are_v4() -> None:
    chains = matcher(
        v4={"source_prefix_ranges": [cidr("10.0.0.0", 8)]}, v6={"source_prefix_ranges": [cidr("::ffff:0:0", 96)]}
    )
    assert found(chains, remote="::ffff:10.0.0.9") == "v4"


def test_a_prefix_without_a_length_holds_everything_of_its_version() -> None:
    chains = matcher(
        zero={"prefix_ranges": [{"address_prefix": "10.0.0.0"}]}, long={"prefix_ranges": [cidr("10.0.0.1", 33)]}
    )
    assert found(chains, local="10.0.0.1") == "long"
    assert found(chains, local="11.0.0.1") == "zero"
    assert found(chains, local="::1") is None


def test_a_prefix_of_no_bits_goes_before_no_prefix() -> None:
    chains = matcher(none={}, zero={"prefix_ranges": [cidr("0.0.0.0", 0)]})
    assert found(chains, local="10.0.0.1") == "zero"
    assert found(chains, local="::1") == "none"


def test_wildcards_hold_a_whole_domain() -> None:
    chains = matcher(top={"server_names": ["*."]}, odd={"server_names": ["*.*.com"]}, com={"server_names": ["*.com"]})
    assert found(chains, server_name="a.") is None
    assert found(chains, server_name="a.b.com") == "com"
    assert found(chains, server_name=".com") == "com"
    assert found(chains, server_name="com") is None
    assert found(chains, server_name="a.*.com") == "odd"


def test_levels_that_nobody_asks_for_are_not_asked() -> None:
    chains = matcher(a={"destination_port": 80}, b={"destination_port": 81, "server_names": ["x"]})
    steps, chain = chains.trace(connection())
    assert [(step.level.name, step.fits, step.value) for step in steps] == [("destination port", True, 80)]
    assert chain.name == "a"
    steps, chain = chains.trace(connection(port=81, server_name="y"))
    assert [(step.level.name, step.fits) for step in steps] == [("destination port", True), ("server name", False)]
    assert chain is None


@pytest.mark.parametrize(
    ("matches", "words"),
    [
        (
            {"a": {"destination_port": 80}, "b": {"destination_port": 80}},
            "filter chain 'b' has the same matching rules defined as 'a'. duplicate matcher is: "
            '{"destination_port":80}',
        ),
        (
            {
                "a": {"server_names": ["a"], "destination_port": 80, "source_type": "EXTERNAL"},
                "b": {"source_type": "EXTERNAL", "destination_port": 80, "server_names": ["a"]},
            },
            'duplicate matcher is: {"destination_port":80,"server_names":["a"],"source_type":"EXTERNAL"}',
        ),
        ({"a": {}, "b": {}}, "filter chain 'b' has the same matching rules defined as 'a'. duplicate matcher is: {}"),
        (
            {"a": {"server_names": ["x.y", "z"]}, "b": {"server_names": ["z"]}},
            "multiple filter chains with overlapping",
        ),
        ({"a": {"server_names": ["A.b"]}, "b": {"server_names": ["a.B"]}}, OVERLAP),
        ({"a": {"server_names": [""]}, "b": {}}, OVERLAP),
        ({"a": {"server_names": ["x", "x"]}}, OVERLAP),
        (
            {"a": {"prefix_ranges": [cidr("10.0.0.1", 24)]}, "b": {"prefix_ranges": [cidr("10.0.0.2", 24)]}},
            OVERLAP,
        ),
        ({"a": {"server_names": ["*"]}}, 'partial wildcards are not supported in "server_names"'),
        ({"a": {"server_names": ["*w.example.com"]}}, "partial wildcards are not supported"),
        ({"a": {"server_names": ["w.*.example.com"]}}, "partial wildcards are not supported"),
        ({"a": {"address_suffix": "x"}}, "filter chain 'a' contains unimplemented fields"),
        ({"a": {"suffix_len": 0}}, "filter chain 'a' contains unimplemented fields"),
        ({"a": {"source_prefix_ranges": [cidr("10.0.0", 8)]}}, "malformed IP address: 10.0.0"),
    ],
)
def test_refusals(matches: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        matcher(**matches)
    assert words in refused.value.message
