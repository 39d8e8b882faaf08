"""Lines: numbers, times, header values, and memory that is given back."""

import pytest

from proxeny.kernel.headers import HeaderMap
from proxeny.kernel.line import Line


def test_pieces() -> None:
    line = Line()
    for number in (0, 7, -12, 9223372036854775807, -9223372036854775808):
        line.put_int(number)
        line.put(b" ")
    assert line.take() == b"0 7 -12 9223372036854775807 -9223372036854775808 "
    assert line.take() == b""


def test_times() -> None:
    line = Line()
    for seconds in (0.0, 1795423463.123623, 1795423463.9999, 1795423464.0):
        line.put_time(seconds)
    assert line.take() == (
        b"1970-01-01T00:00:00.000Z2026-11-23T08:44:23.123Z2026-11-23T08:44:23.999Z2026-11-23T08:44:24.000Z"
    )


@pytest.mark.parametrize(
    ("name", "alternative", "limit", "expected"),
    [
        (b"a", None, -1, b"one"),
        (b"a", None, 2, b"on"),
        (b"a", None, 0, b""),
        (b"b", b"a", -1, b"one"),
        (b"b", None, -1, b"-"),
        (b"empty", b"a", -1, b""),
    ],
)
def test_headers(name: bytes, alternative: bytes | None, limit: int, expected: bytes) -> None:
    line = Line()
    line.put_header(HeaderMap([(b"a", b"one"), (b"a", b"two"), (b"empty", b"")]), name, alternative, limit, b"-")
    assert line.take() == expected


def test_long_lines() -> None:
    line = Line()
    for _ in range(3):
        line.put(b"x" * 100_000)
        line.put_header(HeaderMap([(b"a", b"y" * 100_000)]), b"a", None, -1, b"-")
        assert line.take() == b"x" * 100_000 + b"y" * 100_000
    line.put(b"left over")
    line.clear()
    assert line.take() == b""
