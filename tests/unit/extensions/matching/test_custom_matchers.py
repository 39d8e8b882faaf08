"""The match trees that are extensions: by range of addresses, by domain."""

import ipaddress
import random
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from xds.type.matcher.v3.domain_pb2 import ServerNameMatcher
from xds.type.matcher.v3.ip_pb2 import IPMatcher

from proxeny.config.errors import ConfigError
from proxeny.extensions.matching.custom_matchers import domain, ip_range
from proxeny.matcher.inputs import NOT_AVAILABLE
from proxeny.matcher.tree import MatchTree, OnMatch


class Itself:
    """The fact is what is matched."""

    name = "fact"

    def get(self, data: Any) -> Any:
        return data


class Words:
    """Stands for the compiler: the action's name is the action, and ``none`` leads nowhere."""

    def on_match(self, message: Any) -> OnMatch:
        word = message.action.name
        return OnMatch(word if word != "none" else None, None, False)


REST = OnMatch("rest", None, False)


def tree(factory: Any, message: Any) -> MatchTree:
    made: MatchTree = factory.create_tree(message, Itself(), REST, Words())
    return made


def ranges(*items: tuple[str, str, bool]) -> MatchTree:
    matchers = []
    for texts, word, exclusive in items:
        parts = [text.split("/") for text in texts.split()]
        cidrs = [{"address_prefix": address, "prefix_len": int(length)} for address, length in parts]
        matchers.append({"ranges": cidrs, "on_match": {"action": {"name": word}}, "exclusive": exclusive})
    return tree(ip_range.FACTORY, ParseDict({"range_matchers": matchers}, IPMatcher()))


def domains(*items: tuple[str, str]) -> MatchTree:
    matchers = [{"domains": names.split(" "), "on_match": {"action": {"name": word}}} for names, word in items]
    return tree(domain.FACTORY, ParseDict({"domain_matchers": matchers}, ServerNameMatcher()))


def test_ranges_go_from_long_to_short() -> None:
    made = ranges(
        ("10.0.0.0/8 ::/0", "eight", False),
        ("10.0.0.0/16", "sixteen", True),
        ("10.0.0.1/32", "none", False),
        ("10.1.0.0/16", "none", False),
        ("10.1.0.0/16", "second", False),
        ("10.2.0.0/16", "none", False),
        ("10.2.0.0/16", "exclusive", True),
    )
    assert made.match(b"10.0.0.2") == "sixteen"
    assert made.match(b"10.0.0.1") == "eight"  # the exclusive range did not come first
    assert made.match(b"10.1.0.1") == "second"
    assert made.match(b"10.2.0.1") == "eight"
    assert made.match(b"::1") == "eight"
    assert made.match(b"11.0.0.1") == "rest"
    assert made.match(b"no address") == "rest"
    assert made.match(None) == "rest"
    assert made.match(NOT_AVAILABLE) is NOT_AVAILABLE


@pytest.mark.parametrize("seed", range(10))
def test_ranges_agree_with_a_scan(seed: int) -> None:
    rng = random.Random(seed)
    items = []
    for number in range(30):
        network = ipaddress.ip_network(
            (bytes([10, rng.randint(0, 1), rng.randint(0, 1), 0]), rng.randint(0, 32)), strict=False
        )
        items.append((str(network), rng.choice(["none", f"w{number}"]), rng.random() < 0.3))
    made = ranges(*items)
    for _ in range(100):
        address = ipaddress.ip_address(bytes([10, rng.randint(0, 1), rng.randint(0, 1), rng.randint(0, 3)]))
        holding = [
            (-ipaddress.ip_network(text).prefixlen, order, word, exclusive)
            for order, (text, word, exclusive) in enumerate(items)
            if address in ipaddress.ip_network(text)
        ]
        tried = [item for place, item in enumerate(sorted(holding)) if place == 0 or not item[3]]
        expected = next((word for _, _, word, _ in tried if word != "none"), "rest")
        assert made.match(str(address).encode()) == expected


def test_domains_go_from_exact_to_any() -> None:
    made = domains(("a.b.test *.test", "one"), ("*.b.test", "two"), ("*.c.test d.test", "none"), ("*", "any"))
    assert made.match(b"a.b.test") == "one"
    assert made.match(b"x.b.test") == "two"
    assert made.match(b"x.y.b.test") == "two"
    assert made.match(b"x.test") == "one"
    assert made.match(b"x.c.test") == "one"
    assert made.match(b"d.test") == "one"
    assert made.match(b"test") == "any"
    assert made.match(b"A.B.TEST") == "any"
    assert made.match(b"") == "rest"
    assert made.match(b"*.b.test") == "two"
    assert domains(("a", "one")).match(b"b") == "rest"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("a a", "Duplicate domain in ServerNameMatcher: a"),
        ("", "Empty domain in ServerNameMatcher"),
        ("*.", "Invalid wildcard domain format: *.. Only '*' and '*.domain' patterns are supported"),
        ("a*", "Invalid wildcard domain format: a*. Only '*' and '*.domain' patterns are supported"),
        ("*a", "Invalid wildcard domain format: *a. Only '*' and '*.domain' patterns are supported"),
        ("*.*.b", "Invalid wildcard domain format: *.*.b. Multiple wildcards are not supported"),
    ],
)
def test_domains_that_are_refused(names: str, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        domains((names, "w"))
    assert refused.value.message == words


def test_a_bad_range_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"malformed IP address: 10\.0\.0"):
        ranges(("10.0.0/8", "w", False))
