"""The ``grpc-timeout`` header (gRPC over HTTP/2: at most eight digits and a unit)."""

from __future__ import annotations

from typing import Final

from proxeny.matcher.integer import parse_uint64

_GRPC_UNITS: Final = {b"H": 3_600_000, b"M": 60_000, b"S": 1000, b"m": 1, b"u": 0.001, b"n": 0.000001}


def parse_grpc_timeout(value: bytes | None) -> int:
    """Milliseconds of a ``grpc-timeout`` (rounded up); 0 when there is none or it is malformed."""
    return find_grpc_timeout(value) or 0


def find_grpc_timeout(value: bytes | None) -> int | None:
    """Milliseconds of a ``grpc-timeout`` (rounded up); None when there is none or it is malformed."""
    if not value or not 2 <= len(value) <= 9:
        return None
    unit = _GRPC_UNITS.get(value[-1:])
    number = parse_uint64(value[:-1])
    if unit is None or number is None:
        return None
    milliseconds = number * unit
    return int(milliseconds) + (milliseconds > int(milliseconds))


def grpc_timeout(milliseconds: bytes) -> bytes:
    """The header's value for a number of milliseconds."""
    return milliseconds + b"m" if len(milliseconds) <= 8 else b"99999999S"
