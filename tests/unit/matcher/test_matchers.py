"""String, header and query matchers, by what Envoy 1.40 answered."""

import pytest
from envoy.config.route.v3 import route_components_pb2 as pb
from envoy.type.matcher.v3 import string_pb2
from google.protobuf import text_format

from proxeny.config.errors import ConfigError
from proxeny.kernel.headers import HeaderMap
from proxeny.matcher.header import compile_header_matcher
from proxeny.matcher.integer import parse_int64, parse_uint64
from proxeny.matcher.query import compile_query_parameter_matcher, parse_query
from proxeny.matcher.regex import CompiledRegex, RegexSet
from proxeny.matcher.string import compile_string_matcher


@pytest.mark.parametrize(
    ("config", "value", "expected"),
    [
        ('exact: "a"', b"a", True),
        ('exact: "a"', b"A", False),
        ('exact: "A" ignore_case: true', b"a", True),
        ('prefix: "ab"', b"abc", True),
        ('suffix: "bc"', b"abc", True),
        ('contains: "b"', b"abc", True),
        ('contains: "B" ignore_case: true', b"abc", True),
        ('safe_regex { regex: "a.c" }', b"abc", True),
        ('safe_regex { regex: "b" }', b"abc", False),
        ('safe_regex { regex: "a.c" }', b"a\xe9c", True),
        ('safe_regex { regex: "a.c" }', "aéc".encode(), False),
    ],
)
def test_string_matcher(config: str, value: bytes, expected: bool) -> None:
    matcher = compile_string_matcher(text_format.Parse(config, string_pb2.StringMatcher()))
    assert matcher.match(value) is expected


def test_string_matcher_refusals() -> None:
    with pytest.raises(ConfigError, match=r"^ignore_case has no effect for safe_regex\.$"):
        compile_string_matcher(
            text_format.Parse('safe_regex { regex: "a" } ignore_case: true', string_pb2.StringMatcher())
        )
    with pytest.raises(ConfigError, match=r"^missing \]: \[$"):
        CompiledRegex("/a[")


@pytest.mark.parametrize(
    ("config", "headers", "expected"),
    [
        ('exact_match: "a"', [b"a"], True),
        ('exact_match: "a"', [], False),
        ('exact_match: "a" invert_match: true', [], False),
        ('exact_match: "a" invert_match: true', [b"b"], True),
        ('exact_match: ""', [b"b"], True),
        ('string_match { exact: "a" } invert_match: true treat_missing_header_as_empty: true', [], True),
        ('exact_match: "a,b"', [b"a", b"b"], False),
        ('exact_match: "b"', [b"a", b"b"], True),
        ('exact_match: "b" invert_match: true', [b"a", b"b"], False),
        ('exact_match: "c" invert_match: true', [b"a", b"b"], True),
        ('prefix_match: "b"', [b"a", b"b"], True),
        ('prefix_match: "a"', [b"ab"], True),
        ('suffix_match: "b"', [b"ab"], True),
        ('contains_match: "b"', [b"abc"], True),
        ('safe_regex_match { regex: "a+" }', [b"aa"], True),
        ("range_match { start: 1 end: 5 }", [b" 3 "], True),
        ("range_match { start: 1 end: 5 }", [b"+3"], True),
        ("range_match { start: 1 end: 5 }", [b"5"], False),
        ("range_match { start: -5 end: 5 }", [b"-5"], True),
        ("range_match { start: 1 end: 5 }", [b"3x"], False),
        ("present_match: true", [b""], True),
        ("present_match: false", [], True),
        ("present_match: true invert_match: true", [], True),
        ("present_match: true treat_missing_header_as_empty: true", [], True),
        ("", [b"x"], True),
        ("", [], False),
    ],
)
def test_header_matcher(config: str, headers: list[bytes], expected: bool) -> None:
    matcher = compile_header_matcher(text_format.Parse('name: "X-A" ' + config, pb.HeaderMatcher()))
    assert matcher.matches(HeaderMap([(b"x-a", value) for value in headers])) is expected


@pytest.mark.parametrize(
    ("config", "path", "expected"),
    [
        ("", b"/?a", True),
        ("", b"/?b&a=1", True),
        ("", b"/a", False),
        ("present_match: false", b"/", True),
        ('string_match { exact: "1" }', b"/?a=1&a=2", True),
        ('string_match { exact: "1" }', b"/?a=2&a=1", False),
        ('string_match { exact: "1" }', b"/?a=%31", False),
    ],
)
def test_query_matcher(config: str, path: bytes, expected: bool) -> None:
    matcher = compile_query_parameter_matcher(text_format.Parse('name: "a" ' + config, pb.QueryParameterMatcher()))
    assert matcher.matches(parse_query(path)) is expected


def test_integers() -> None:
    assert parse_int64(b"-9223372036854775808") == -(1 << 63)
    assert parse_int64(b"9223372036854775808") is None
    assert parse_uint64(b"18446744073709551615") == (1 << 64) - 1
    for text in (b"", b"1_0", b"0x1", b"1 2", "٣".encode(), b"-1", b"1" * 60):
        assert parse_uint64(text) is None


@pytest.mark.parametrize(
    ("pattern", "substitution", "text", "expected"),
    [
        (r"/a/(\d+)/(.*)", rb"/\2/\1", b"/a/12/x", b"/x/12"),
        ("a", b"b", b"banana", b"bbnbnb"),
        ("x*", b"-", b"abxx", b"-a-b-"),
        ("(a)|(b)", rb"<\2>", b"ab", b"<><b>"),
        ("a", rb"\\", b"a", b"\\"),
        ("a", rb"\9", b"a", b"a"),
        ("a", b"x\\", b"a", b"a"),
        ("^/", b"/v1/", b"/a/b", b"/v1/a/b"),
    ],
)
def test_replace_all(pattern: str, substitution: bytes, text: bytes, expected: bytes) -> None:
    assert CompiledRegex(pattern).replace_all(text, substitution) == expected


def test_regex_set() -> None:
    regexes = RegexSet.compile([rb"/a.*", rb"/ab", rb"/c"])
    assert regexes is not None
    assert regexes.matching(b"/ab") == [0, 1]
    assert regexes.matching(b"/zab") == []
