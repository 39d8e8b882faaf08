"""Hosts as DNS caches name them (Envoy: ``normalizeHostForDfp``, ``Http::Utility::parseAuthority``)."""

from __future__ import annotations

from typing import Final, NamedTuple

from proxeny.upstream.endpoints import is_ip

_MOST_DIGITS: Final = 19
"""What has more is no port, whatever its zeros say (and int() stays cheap)."""
_LARGEST_PORT: Final = 65535
_LARGEST_NUMBER: Final = 2**32 - 1


class Authority(NamedTuple):
    """The parts of a host header."""

    host: str
    """What is to be resolved: without port, an IPv6 address without brackets."""
    port: int | None
    is_ip: bool


def with_port(host: bytes, default_port: int) -> bytes:
    """The host as its key in caches: always with a port, so that one name serves several of them."""
    return host if has_port(host) else b"%s:%d" % (host, default_port)


def has_port(host: bytes) -> bool:
    """Whether a host header ends with a port."""
    at = host.rfind(b":")
    return at >= 0 and host.rfind(b"]") < at and _number(host[at + 1 :]) <= _LARGEST_NUMBER


def split_port(host: bytes) -> tuple[bytes, int]:
    """A host header without its port, and that; 0: it has none."""
    if not has_port(host):
        return host, 0
    name, _, port = host.rpartition(b":")
    return name, int(port)


def parse_authority(text: str) -> Authority:
    """Host and port of a host header; what is no port stays part of the host (and will not be found)."""
    host, port = text, None
    at = text.rfind(":")
    if at >= 0 and not text.endswith("]"):
        number = _number(text[at + 1 :].encode("latin-1", "replace"))
        if number <= _LARGEST_PORT:
            host, port = text[:at], number
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if is_ip(bare):
        return Authority(bare, port, True)
    return Authority(host, port, False)


def _number(digits: bytes) -> int:
    """A number too large for anything where there is none."""
    if not digits.isdigit() or len(digits) > _MOST_DIGITS:
        return 1 << 63
    return int(digits)
