"""Base64 as strict as Envoy's: canonical, or nothing at all."""

from __future__ import annotations

from base64 import b64decode, b64encode


def decode(text: bytes) -> bytes:
    """b"" for what is no Base64."""
    try:
        decoded = b64decode(text, validate=True)
    except ValueError:
        return b""
    return decoded if b64encode(decoded) == text else b""


def encode(address: str) -> bytes:
    """Of a host's address."""
    return b64encode(address.encode("utf-8", "surrogateescape"))


def decode_address(text: bytes) -> str:
    """The address in it, "" without one."""
    return decode(text).decode("utf-8", "surrogateescape")
