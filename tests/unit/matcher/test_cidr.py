"""IP ranges and longest-prefix look-up."""

import ipaddress
import random

import pytest
from envoy.config.core.v3.address_pb2 import CidrRange

from proxeny.config.errors import ConfigError
from proxeny.matcher.cidr import LongestPrefix, Range, parse_ip, parse_range


def a_range(address: str, length: int | None = None) -> Range:
    message = CidrRange(address_prefix=address)
    if length is not None:
        message.prefix_len.value = length
    return parse_range(message)


@pytest.mark.parametrize(
    ("address", "length", "text"),
    [
        ("10.1.2.3", 8, "10.0.0.0/8"),
        ("10.1.2.3", None, "0.0.0.0/0"),
        ("10.1.2.3", 33, "10.1.2.3/32"),
        ("10.1.2.3", 128, "10.1.2.3/32"),
        ("2001:db8::1", 32, "2001:db8::/32"),
        ("fe80::1%lo", 128, "fe80::1/128"),
        ("::ffff:10.0.0.1", 104, "::ffff:10.0.0.0/104"),
    ],
)
def test_ranges_read_as_envoy_reads_them(address: str, length: int | None, text: str) -> None:
    assert str(a_range(address, length)) == text


@pytest.mark.parametrize("address", ["", "10.0.0", "10.0.0.256", "[::1]", "localhost", "10.0.0.0/8", "1.2.3.4\x00"])
def test_other_texts_are_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="malformed IP address"):
        a_range(address, 8)


def test_longest_prefix_agrees_with_a_scan() -> None:
    rng = random.Random(7)
    networks = {}
    for number in range(300):
        v6 = rng.random() < 0.4
        packed = bytes(rng.choice([0, 1, 10]) for _ in range(16 if v6 else 4))
        length = rng.randint(0, len(packed) * 8)
        networks[ipaddress.ip_network((packed, length), strict=False)] = number
    table = LongestPrefix(
        [(a_range(str(network.network_address), network.prefixlen), value) for network, value in networks.items()]
    )
    for _ in range(500):
        address = ipaddress.ip_address(bytes(rng.choice([0, 1, 10]) for _ in range(rng.choice([4, 16]))))
        holding = sorted(
            (network for network in networks if network.version == address.version and address in network),
            key=lambda network: -network.prefixlen,
        )
        expected = [networks[network] for network in holding]
        assert list(table.all(address.packed)) == expected
        assert table.get(address.packed) == (expected[0] if expected else None)


def test_literals() -> None:
    assert parse_ip("1.2.3.4") == b"\x01\x02\x03\x04"
    assert parse_ip("::1%3") == b"\x00" * 15 + b"\x01"
    assert parse_ip("nothing") is None
