"""What Python reads more leniently than Envoy, or gives up on, where it meets bytes from outside."""

import pytest

from proxeny.config.errors import ConfigError
from proxeny.config.sources import load_json
from proxeny.config.yaml_loader import load_yaml
from proxeny.http.grpc_timeout import parse_grpc_timeout
from proxeny.http.header_sanitizing import has_token
from proxeny.http.host_normalization import strip_port
from proxeny.matcher.integer import parse_int64, parse_uint64
from proxeny.matcher.query import parse_query
from proxeny.runtime.snapshot import make_entry

LENIENT = [
    b"1_0",
    b"\xd9\xa3",
    b"\xc2\xb2",
    b"\xef\xbc\x93",
    b"0x1",
    b"1e3",
    b"1.0",
    b"",
    b" ",
    b"\xa05",
    b"5\xa0",
    b"5\x85",
]


@pytest.mark.parametrize("text", LENIENT)
def test_only_ascii_digits_are_numbers(text: bytes) -> None:
    assert parse_uint64(text) is None and parse_int64(text) is None
    assert parse_grpc_timeout(text + b"S") == 0


@pytest.mark.parametrize("text", [b"9" * 5000, b"0" * 5000 + b"1"])
def test_numbers_that_int_gives_up_on(text: bytes) -> None:
    assert parse_uint64(text) is None
    assert strip_port(b"a.test:" + text, 1) in (b"a.test", b"a.test:" + text)
    assert strip_port(b"a.test:" + text, None) in (b"a.test", b"a.test:" + text)


def test_blanks_are_ascii_blanks() -> None:
    assert not has_token(b"a,\xa0close\xa0", b"close")
    assert not has_token(b"a,\x85close", b"close")
    assert has_token(b"a,\t CLOSE ", b"close")


def test_a_line_ends_at_a_line_feed_only() -> None:
    assert make_entry("numerator: 5\x85denominator: HUNDRED").fraction is None
    assert make_entry("numerator: 5\ndenominator: HUNDRED").fraction == (5, 100)


@pytest.mark.parametrize("load", [load_json, load_yaml])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_deep_nesting_is_an_error_of_the_configuration(load: object, opening: str, closing: str) -> None:
    text = opening * 100_000 + "1" + closing * 100_000
    with pytest.raises(ConfigError):
        load(text, "x")  # type: ignore[operator]


def test_query_parameters_are_looked_up_whole() -> None:
    query = parse_query(b"/p?xa=1&a&a=2&b=&c=3=4#a=9")
    assert [query.get(name) for name in (b"a", b"b", b"c", b"xa", b"d")] == [b"", b"", b"3=4", b"1", None]
    assert list(query.items()) == [(b"xa", b"1"), (b"a", b""), (b"a", b"2"), (b"b", b""), (b"c", b"3=4")]
    assert parse_query(b"/p").get(b"a") is None
