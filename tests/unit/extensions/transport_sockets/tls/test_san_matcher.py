"""Alternative names: which stand for a host, which satisfy a matcher."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.extensions.transport_sockets.tls.v3 import common_pb2
from google.protobuf.json_format import ParseDict

from proxeny.config.errors import ConfigError
from proxeny.extensions.transport_sockets.tls.san_matcher import (
    DNS,
    EMAIL,
    IP_ADDRESS,
    OTHER_NAME,
    URI,
    AlternativeName,
    compile_san_matchers,
    dns_name_match,
    is_in_list,
    matches_any,
)


@pytest.mark.parametrize(
    ("host", "pattern", "matches"),
    [
        ("a.test", "a.test", True),
        ("A.Test", "a.tEST", True),
        ("a.test", "*.test", True),
        ("b.a.test", "*.test", False),
        ("b.a.test", "*.a.test", True),
        ("a.test", "*", False),
        ("test", "*", False),
        ("ab.test", "a*.test", True),
        ("abc.test", "a*c.test", True),
        ("ac.test", "a*c.test", True),
        ("a.test", "a*a.test", False),
        ("abc.test", "*b*.test", False),
        ("a.b.test", "a.*.test", False),
        ("xn--a.test", "xn--*.test", False),
        ("xn--a.test", "*.test", True),
        (".test", "*.test", True),
        ("*.test", "*.test", True),
        ("a.test\0.evil", "a.test", False),
        ("a.test", "a.test\0.evil", False),
        ("", "*.test", False),
    ],
)
def test_dns_names(host: str, pattern: str, matches: bool) -> None:
    assert dns_name_match(host.encode(), pattern.encode()) is matches


def matchers(*typed: dict[str, Any], older: tuple[dict[str, Any], ...] = ()) -> Any:
    config = ParseDict(
        {"match_typed_subject_alt_names": list(typed), "match_subject_alt_names": list(older)},
        common_pb2.CertificateValidationContext(),
    )
    return compile_san_matchers(config)


def allows(name: AlternativeName, *typed: dict[str, Any]) -> bool:
    return matches_any(matchers(*typed), [name])


def test_only_names_of_the_kind_count() -> None:
    exact = {"san_type": "URI", "matcher": {"exact": "spiffe://a/b"}}
    assert allows(AlternativeName(URI, "spiffe://a/b"), exact)
    assert not allows(AlternativeName(DNS, "spiffe://a/b"), exact)


def test_wildcards_count_for_exact_dns_matchers_only() -> None:
    wildcard = AlternativeName(DNS, "*.a.test")
    assert allows(wildcard, {"san_type": "DNS", "matcher": {"exact": "x.a.test"}})
    assert not allows(wildcard, {"san_type": "DNS", "matcher": {"prefix": "x.a"}})
    assert not allows(AlternativeName(URI, "*.a.test"), {"san_type": "URI", "matcher": {"exact": "x.a.test"}})


def test_nul_bytes_are_part_of_the_name() -> None:
    name = AlternativeName(DNS, "a.test\0.evil")
    assert not allows(name, {"san_type": "DNS", "matcher": {"exact": "a.test"}})
    assert not allows(name, {"san_type": "DNS", "matcher": {"suffix": "a.test"}})
    assert allows(name, {"san_type": "DNS", "matcher": {"contains": "evil"}})


def test_bytes_that_are_no_text_are_matched_as_they_are() -> None:
    name = AlternativeName(EMAIL, b"\xff@a".decode("utf-8", "surrogateescape"))
    assert allows(name, {"san_type": "EMAIL", "matcher": {"suffix": "@a"}})
    assert name.value == b"\xff@a"


def test_other_names_need_their_oid() -> None:
    upn = {"san_type": "OTHER_NAME", "oid": "1.3.6.1.4.1.311.20.2.3", "matcher": {"exact": "me"}}
    assert allows(AlternativeName(OTHER_NAME, "me", "1.3.6.1.4.1.311.20.2.3"), upn)
    assert allows(AlternativeName(OTHER_NAME, "me", "1.3.6.1.4.1.311.20.2.3"), {**upn, "oid": "msUPN"})
    assert not allows(AlternativeName(OTHER_NAME, "me", "1.2.3"), upn)
    for oid in ("", "nope", "1.2.", "1.2.3 ", "01.2.3"):
        with pytest.raises(ConfigError, match=f"Failed to create SAN matcher for OTHER_NAME with OID: {oid}"):
            matchers({**upn, "oid": oid})


def test_older_matchers_look_at_all_kinds_unless_there_are_typed_ones() -> None:
    older = matchers(older=({"exact": "10.0.0.1"},))
    assert matches_any(older, [AlternativeName(IP_ADDRESS, "10.0.0.1")])
    assert matches_any(older, [AlternativeName(URI, "10.0.0.1")])
    assert not matches_any(older, [AlternativeName(OTHER_NAME, "10.0.0.1")])
    both = matchers({"san_type": "DNS", "matcher": {"exact": "b"}}, older=({"exact": "a"},))
    assert not matches_any(both, [AlternativeName(DNS, "a")])


def test_lists_take_wildcards_of_dns_names() -> None:
    names = [AlternativeName(DNS, "*.a.test"), AlternativeName(URI, "*.b.test")]
    assert is_in_list(names, [b"x.a.test"])
    assert not is_in_list(names, [b"x.b.test"])
    assert is_in_list(names, [b"*.b.test"])
