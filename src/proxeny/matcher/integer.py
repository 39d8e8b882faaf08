"""Decimal numbers as Envoy reads them from headers (absl::SimpleAtoi); Python's ``int`` accepts more."""

from __future__ import annotations

import re
from typing import Final

_DECIMAL: Final = re.compile(rb"[ \t\n\v\f\r]*([+-]?[0-9]{1,40})[ \t\n\v\f\r]*\Z")
_MAX_INT64: Final = (1 << 63) - 1
_MAX_UINT64: Final = (1 << 64) - 1


def parse_int64(text: bytes) -> int | None:
    """A signed 64-bit number, blanks around it allowed; None for anything else."""
    match = _DECIMAL.match(text)
    if match is None:
        return None
    number = int(match[1])
    return number if -_MAX_INT64 - 1 <= number <= _MAX_INT64 else None


def parse_uint64(text: bytes) -> int | None:
    """An unsigned 64-bit number, likewise (``-0`` is none)."""
    match = _DECIMAL.match(text)
    if match is None or b"-" in match[1]:
        return None
    number = int(match[1])
    return number if number <= _MAX_UINT64 else None
