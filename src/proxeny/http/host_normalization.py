"""The host of a request without its trailing dot or port (Envoy: ``HeaderUtility::stripTrailingHostDot``,
``stripPortFromHost``)."""

from __future__ import annotations

from typing import Final

MAX_NUMBER: Final = 2**32
"""What is no number below it is no port to Envoy."""


def strip_trailing_dot(host: bytes) -> bytes:
    """Without the one dot at its end, or before its port."""
    before, dot, behind = host.rpartition(b".")
    return before + behind if dot and (not behind or behind.startswith(b":")) else host


def strip_port(host: bytes, only: int | None) -> bytes:
    """Without its port, or only if that is ``only``."""
    name, colon, port = host.rpartition(b":")
    if not colon or b"]" in port or not port.isdigit() or len(port.lstrip(b"0")) > len(str(MAX_NUMBER)):
        return host
    # Without its zeros: int() refuses to read more than 4,300 digits, whatever they are.
    number = int(port.lstrip(b"0") or b"0")
    return name if number < MAX_NUMBER and only in (None, number) else host
