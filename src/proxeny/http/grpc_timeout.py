"""The ``grpc-timeout`` header (gRPC over HTTP/2: at most eight digits and a unit)."""

from __future__ import annotations

from typing import Final

from proxeny.matcher.integer import parse_uint64

MOST_DIGITS: Final = 99_999_999
_UNITS: Final = {
    b"H": (3_600_000, 1),
    b"M": (60_000, 1),
    b"S": (1000, 1),
    b"m": (1, 1),
    b"u": (1, 1000),
    b"n": (1, 1_000_000),
}
"""Milliseconds are the number times the first by the second."""


def parse_grpc_timeout(value: bytes | None) -> int:
    """Milliseconds of a ``grpc-timeout`` (rounded up); 0 when there is none or it is malformed."""
    return find_grpc_timeout(value) or 0


def find_grpc_timeout(value: bytes | None) -> int | None:
    """Milliseconds of a ``grpc-timeout`` (rounded up); None when there is none or it is malformed."""
    if not value:
        return None
    unit = _UNITS.get(value[-1:])
    number = parse_uint64(value[:-1])
    if unit is None or number is None or number > MOST_DIGITS:
        return None
    return -(-number * unit[0] // unit[1])


def grpc_timeout_value(milliseconds: int) -> bytes:
    """The header's value for a number of milliseconds, rounded down to a unit of which eight digits are enough."""
    if milliseconds <= MOST_DIGITS:
        return b"%dm" % milliseconds
    number = milliseconds // 1000
    for unit in (b"S", b"M"):
        if number <= MOST_DIGITS:
            return b"%d%b" % (number, unit)
        number //= 60
    return b"%dH" % min(number, MOST_DIGITS)
