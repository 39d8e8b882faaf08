"""The input matchers that are extensions."""

from typing import Any

import pytest
from envoy.extensions.matching.input_matchers.consistent_hashing.v3.consistent_hashing_pb2 import ConsistentHashing
from envoy.extensions.matching.input_matchers.ip.v3.ip_pb2 import Ip
from envoy.extensions.matching.input_matchers.metadata.v3.metadata_pb2 import Metadata
from envoy.extensions.matching.input_matchers.runtime_fraction.v3.runtime_fraction_pb2 import RuntimeFraction
from google.protobuf.json_format import ParseDict

from proxeny.config.errors import ConfigError
from proxeny.extensions.matching.input_matchers import hashing, ip, metadata
from proxeny.matcher.xxhash import xxhash64

VALUES = [b"10.0.0.%d" % number for number in range(200)]


class Counts:
    """Stands for a block of statistics."""

    def __init__(self) -> None:
        self.failed = 0

    def inc(self, slot: int) -> None:
        self.failed += 1


def test_ip_ranges() -> None:
    ranges = [{"address_prefix": "10.0.0.0", "prefix_len": 8}, {"address_prefix": "::1", "prefix_len": 128}]
    counts = Counts()
    matcher = ip.IpMatcher(ParseDict({"stat_prefix": "s", "cidr_ranges": ranges}, Ip()), counts)  # type: ignore[arg-type]
    assert [matcher.match(text) for text in (b"10.1.2.3", b"::1", b"11.0.0.1", b"")] == [True, True, False, False]
    assert counts.failed == 0
    assert not matcher.match(b"host")
    assert counts.failed == 1
    assert str(matcher) == "is in 10.0.0.0/8 or ::1/128"


def test_consistent_hashing() -> None:
    matcher = hashing.ConsistentHashing(ConsistentHashing(threshold=30, modulo=100, seed=5))
    assert [matcher.match(value) for value in VALUES] == [xxhash64(value, 5) % 100 >= 30 for value in VALUES]
    assert not matcher.match(object())
    with pytest.raises(ConfigError, match=r"threshold cannot be greater than modulo: 5 > 3"):
        hashing.ConsistentHashing(ConsistentHashing(threshold=5, modulo=3))


class Runtime:
    def feature_enabled(self, key: str, numerator: int, denominator: int, random_value: int) -> bool:
        return key == "on" and (numerator, denominator) == (1, 10_000)


def test_runtime_fraction() -> None:
    config: dict[str, Any] = {"default_value": {"numerator": 5000, "denominator": "TEN_THOUSAND"}}
    matcher = hashing.RuntimeFraction(ParseDict({"runtime_fraction": config, "seed": 3}, RuntimeFraction()), None)
    assert [matcher.match(value) for value in VALUES] == [xxhash64(value, 3) % 10_000 < 5000 for value in VALUES]
    keyed = {"default_value": {"numerator": 1, "denominator": "TEN_THOUSAND"}, "runtime_key": "on"}
    matcher = hashing.RuntimeFraction(ParseDict({"runtime_fraction": keyed}, RuntimeFraction()), Runtime())
    assert all(matcher.match(value) for value in VALUES)
    assert not matcher.match(object())


def test_metadata_values_only() -> None:
    config = {"value": {"string_match": {"prefix": "a"}}}
    plain = metadata.MetadataMatcher(ParseDict(config, Metadata()))
    inverted = metadata.MetadataMatcher(ParseDict({**config, "invert": True}, Metadata()))
    facts: list[Any] = [metadata.MetadataValue("ab"), metadata.MetadataValue("b"), b"ab"]
    assert [plain.match(fact) for fact in facts] == [True, False, False]
    assert [inverted.match(fact) for fact in facts] == [False, True, False]
