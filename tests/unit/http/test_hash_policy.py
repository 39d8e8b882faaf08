"""Hash policies: what each hashes, and how several are combined."""

from __future__ import annotations

import pytest
from envoy.config.route.v3.route_components_pb2 import RouteAction
from google.protobuf.json_format import ParseDict

from proxeny.http.hash_policy import HashPolicy, compile_hash_policy
from proxeny.kernel.headers import HeaderMap
from proxeny.matcher.xxhash import xxhash64, xxhash64_of_all
from proxeny.network.address import ip_address
from proxeny.network.filter_state import HashableString
from proxeny.network.stream_info import ConnectionInfo, StreamInfo

MASK = (1 << 64) - 1


def policy(*configs: dict[str, object]) -> HashPolicy:
    made = compile_hash_policy([ParseDict(config, RouteAction.HashPolicy()) for config in configs])
    assert made is not None
    return made


def info() -> StreamInfo:
    local, remote = ip_address("127.0.0.1", 80), ip_address("10.1.2.3", 4567)
    return StreamInfo(ConnectionInfo(local, remote, 1), 0.0, 0)


def request(*pairs: tuple[bytes, bytes]) -> HeaderMap:
    return HeaderMap(((b":path", b"/a?q=1&e=&q=2"), *pairs))


HEADER: dict[str, object] = {"header": {"header_name": "X-Key"}}


def test_without_policies_there_is_no_object() -> None:
    assert compile_hash_policy([]) is None


def test_values_of_a_header_are_hashed_in_sorted_order() -> None:
    both = request((b"x-key", b"b"), (b"x-key", b"a"))
    assert policy(HEADER).generate(both, None, None) == xxhash64_of_all([b"a", b"b"])
    assert policy(HEADER).generate(request(), None, None) is None


def test_a_header_can_be_rewritten_first() -> None:
    rewrite = {"pattern": {"regex": "[0-9]+"}, "substitution": "#"}
    made = policy({"header": {"header_name": "x-key", "regex_rewrite": rewrite}})
    assert made.generate(request((b"x-key", b"a12")), None, None) == xxhash64(b"a#")


@pytest.mark.parametrize(("name", "expected"), [("q", b"1"), ("e", b"")])
def test_query_parameters(name: str, expected: bytes) -> None:
    made = policy({"query_parameter": {"name": name}})
    assert made.generate(request(), None, None) == xxhash64(expected)


def test_an_absent_query_parameter_is_no_hash() -> None:
    assert policy({"query_parameter": {"name": "z"}}).generate(request(), None, None) is None


def test_the_source_address_without_its_port() -> None:
    on, off = ({"connection_properties": {"source_ip": flag}} for flag in (True, False))
    assert policy(on).generate(None, info(), None) == xxhash64(b"10.1.2.3")
    assert policy(off).generate(None, info(), None) is None
    assert policy(on).generate(None, None, None) is None


def test_only_hashable_filter_state_counts() -> None:
    made, facts = policy({"filter_state": {"key": "k"}}), info()
    assert made.generate(None, facts, None) is None
    facts.filter_state["k"] = "text"
    assert made.generate(None, facts, None) is None
    facts.filter_state["k"] = HashableString("text")
    assert made.generate(None, facts, None) == xxhash64(b"text")


def test_several_hashes_are_rotated_together() -> None:
    one = xxhash64(b"v")
    made = policy(HEADER, HEADER)
    assert made.generate(request((b"x-key", b"v")), None, None) == ((one << 1) & MASK | one >> 63) ^ one


def test_a_terminal_policy_ends_the_list_only_with_a_hash() -> None:
    made = policy({"query_parameter": {"name": "q"}, "terminal": True}, HEADER)
    assert made.generate(request((b"x-key", b"v")), None, None) == xxhash64(b"1")
    other = HeaderMap(((b":path", b"/"), (b"x-key", b"v")))
    assert made.generate(other, None, None) == xxhash64(b"v")


def test_a_cookie_is_made_with_a_ttl_only() -> None:
    cookies: list[bytes] = []
    assert policy({"cookie": {"name": "c"}}).generate(request(), info(), cookies) is None
    assert not policy({"cookie": {"name": "c"}}).makes_cookies
    made = policy({"cookie": {"name": "c", "ttl": "5.9s", "path": "/p"}})
    value = b"%016x" % xxhash64(b"10.1.2.3:4567127.0.0.1:80")
    assert made.makes_cookies
    assert made.generate(request(), info(), cookies) == xxhash64(value)
    assert cookies == [b'c="' + value + b'"; Max-Age=5; Path=/p; HttpOnly']
    assert made.generate(request(), info(), None) is None


def test_a_cookie_that_is_there_is_hashed() -> None:
    cookies: list[bytes] = []
    made = policy({"cookie": {"name": "c", "ttl": "0s"}})
    assert made.generate(request((b"cookie", b'a=1; c="x y"')), info(), cookies) == xxhash64(b"x y")
    assert not cookies
