"""Payloads of checks: what is sent, and what must come back (Envoy: ``PayloadMatcher``)."""

from __future__ import annotations

import re
from typing import Any, Final

from proxeny.config.errors import ConfigError

_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2})+")


def compile_payload(payload: Any) -> bytes:
    """The bytes of a ``HealthCheck.Payload``: hexadecimal text or binary."""
    if payload.WhichOneof("payload") == "binary":
        return bytes(payload.binary)
    text = payload.text
    if _HEX.fullmatch(text) is None:
        raise ConfigError(f"invalid hex string '{text}'")
    return bytes.fromhex(text)


def contains_in_order(segments: tuple[bytes, ...], data: bytes | bytearray) -> bool:
    """Whether ``data`` holds all segments, in their order, anything between them."""
    at = 0
    for segment in segments:
        at = data.find(segment, at)
        if at < 0:
            return False
        at += len(segment)
    return True
