"""Filter-chain match against a reference that looks at every chain: random tables, random connections."""

import ipaddress
import random
from typing import Any

import pytest
from envoy.config.listener.v3.listener_components_pb2 import FilterChain
from google.protobuf.json_format import ParseDict

from proxeny.config.errors import ConfigError
from proxeny.listener.filter_chain_levels import LEVELS
from proxeny.listener.filter_chain_match import FilterChainTable
from proxeny.network.address import ip_address, pipe_address
from proxeny.network.stream_info import ConnectionInfo

PORTS = [80, 443, 8080]
ADDRESSES = ["10.0.0.1", "10.0.1.1", "10.1.1.1", "127.0.0.1", "2001:db8::1", "2001:db8:1::1", "::1"]
PREFIXES = ["10.0.0.0/8", "10.0.0.0/16", "10.0.0.1/32", "2001:db8::/32", "2001:db8:1::/48", "127.0.0.0/8"]
NAMES = ["a.example.com", "b.a.example.com", "example.com", "other.org"]
ASKED_NAMES = [*NAMES, "*.example.com", "*.a.example.com", "*.com"]
PROTOCOLS = ["h2", "http/1.1", "istio"]
TYPES = ["ANY", "SAME_IP_OR_LOOPBACK", "EXTERNAL"]


def some(rng: random.Random, values: list[Any], chance: float = 0.4) -> list[Any]:
    return rng.sample(values, rng.randint(1, 2)) if rng.random() < chance else []


def random_match(rng: random.Random) -> dict[str, Any]:
    def ranges() -> list[dict[str, Any]]:
        parts = [prefix.split("/") for prefix in some(rng, PREFIXES)]
        return [{"address_prefix": address, "prefix_len": int(length)} for address, length in parts]

    match: dict[str, Any] = {
        "prefix_ranges": ranges(),
        "server_names": some(rng, ASKED_NAMES),
        "application_protocols": some(rng, PROTOCOLS, 0.3),
        "direct_source_prefix_ranges": ranges() if rng.random() < 0.3 else [],
        "source_type": rng.choice(TYPES),
        "source_prefix_ranges": ranges(),
        "source_ports": some(rng, [1000, 2000, 3000], 0.3),
        "transport_protocol": rng.choice(["", "", "tls", "raw_buffer"]),
    }
    if rng.random() < 0.4:
        match["destination_port"] = rng.choice(PORTS)
    return match


def random_connection(rng: random.Random) -> ConnectionInfo:
    info = ConnectionInfo(
        ip_address(rng.choice(ADDRESSES), rng.choice(PORTS)),
        ip_address(rng.choice(ADDRESSES), rng.choice([1000, 2000, 9000])),
        1,
    )
    info.direct_remote_address = ip_address(rng.choice(ADDRESSES), 1)
    info.requested_server_name = rng.choice(["", *NAMES])
    info.transport_protocol = rng.choice(["tls", "raw_buffer"])
    info.requested_application_protocols = tuple(some(rng, PROTOCOLS))
    if rng.random() < 0.1:
        info.remote_address = pipe_address("/client")
    return info


def address_rank(ranges: list[dict[str, Any]], ip: str) -> dict[Any, int]:
    """How specific each asked-for range is for the address; those that do not hold it are missing."""
    if not ranges:
        return {None: -1}
    found = {}
    for item in ranges:
        network = ipaddress.ip_network(f"{item['address_prefix']}/{item['prefix_len']}", strict=False)
        address = ipaddress.ip_address(ip or "255.255.255.255")
        if address.version == network.version and address in network:
            found[network] = network.prefixlen
    return found


def name_rank(names: list[str], name: str) -> dict[Any, int]:
    found = {} if names else {"": -1}
    for asked in names:
        if asked == name:
            found[asked] = 1000
        elif asked.startswith("*.") and name.endswith(asked[1:]):
            found[asked] = len(asked)
    return found


def listed_rank(asked: list[Any], actual: Any) -> dict[Any, int]:
    return {actual: 1} if actual in asked else {} if asked else {None: -1}


def ranks(match: dict[str, Any], level: int, info: ConnectionInfo) -> dict[Any, int]:
    """The values of a chain that fit the connection at one level, by how specific they are."""
    remote, local = info.remote_address, info.local_address
    if level == 0:
        return listed_rank([match["destination_port"]] if "destination_port" in match else [], local.port)
    if level in (1, 5, 7):
        field = {1: "prefix_ranges", 5: "direct_source_prefix_ranges", 7: "source_prefix_ranges"}[level]
        address = {1: local, 5: info.direct_remote_address, 7: remote}[level]
        return address_rank(match[field], address.ip)
    if level == 2:
        return name_rank(match["server_names"], info.requested_server_name)
    if level == 3:
        return listed_rank(
            [match["transport_protocol"]] if match["transport_protocol"] else [], info.transport_protocol
        )
    if level == 4:
        offered = info.requested_application_protocols
        asked = match["application_protocols"]
        return {p: 100 - offered.index(p) for p in asked if p in offered} if asked else {None: -1}
    if level == 6:
        local_connection = remote.is_pipe or remote.ip in ("127.0.0.1", "::1", local.ip)
        actual = "SAME_IP_OR_LOOPBACK" if local_connection else "EXTERNAL"
        return listed_rank([match["source_type"]] if match["source_type"] != "ANY" else [], actual)
    return listed_rank(match["source_ports"], remote.port)


def reference(matches: dict[str, dict[str, Any]], info: ConnectionInfo) -> str | None:
    """Every level keeps the chains that have the most specific value of it that fits."""
    left = list(matches)
    for level in range(len(LEVELS)):
        by_chain = {name: ranks(matches[name], level, info) for name in left}
        best = max(((rank, str(value)) for values in by_chain.values() for value, rank in values.items()), default=None)
        left = [name for name, values in by_chain.items() if any((r, str(v)) == best for v, r in values.items())]
    assert len(left) <= 1
    return left[0] if left else None


@pytest.mark.parametrize("seed", range(40))
def test_the_compiled_table_agrees_with_the_reference(seed: int) -> None:
    rng = random.Random(seed)
    table, matches = FilterChainTable(), {}
    for number in range(rng.choice([3, 10, 40])):
        name, match = f"c{number}", random_match(rng)
        message = ParseDict({"name": name, "filter_chain_match": match}, FilterChain())
        fresh = FilterChainTable()
        try:
            for known, taken in [*matches.items(), (name, match)]:
                again = ParseDict({"name": known, "filter_chain_match": taken}, FilterChain())
                fresh.check(again)
                fresh.add(again, known)
        except ConfigError:
            continue
        table.check(message)
        table.add(message, name)
        matches[name] = match
    compiled = table.build()
    for _ in range(200):
        info = random_connection(rng)
        expected = reference(matches, info)
        assert compiled.find(info) == expected
        steps, traced = compiled.trace(info)
        assert traced == expected
        assert expected is not None or not steps or not steps[-1].fits


def test_what_levels_say_to_people() -> None:
    info = ConnectionInfo(ip_address("10.0.0.1", 80), pipe_address("/x"), 1)
    info.requested_server_name = "a.b"
    actual = {level.name: level.actual(info) for level in LEVELS}
    assert actual == {
        "destination port": "80",
        "destination address": "10.0.0.1",
        "server name": "a.b",
        "transport protocol": "raw_buffer",
        "application protocol": "none",
        "direct source address": "a unix socket",
        "source type": "SAME_IP_OR_LOOPBACK",
        "source address": "a unix socket",
        "source port": "none (a unix socket)",
    }
    port, name = LEVELS[0], LEVELS[2]
    assert [port.show(0), port.show(80), name.show(""), name.show(".b"), name.show("b")] == [
        "any",
        "80",
        "any",
        "*.b",
        "b",
    ]
    assert LEVELS[6].show(2) == "EXTERNAL"
    assert port.fits([81, 80], info)
    assert not name.fits([".c"], info)
