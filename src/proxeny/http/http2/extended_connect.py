"""Upgrades and CONNECT between the versions of HTTP (RFC 8441; Envoy: ``Utility::transformUpgrade...``).

Inside the proxy an upgrade looks as HTTP/1 has it: a request with ``upgrade`` and ``connection``, a response with 101.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap

METHOD = b":method"
PROTOCOL = b":protocol"
STATUS = b":status"
CONNECT = b"CONNECT"


def as_extended_connect(headers: HeaderMap) -> HeaderMap:
    """A copy of an HTTP/1 upgrade as HTTP/2 asks for it."""
    request = headers.copy()
    request.set(METHOD, CONNECT)
    request.set(PROTOCOL, request.get(b"upgrade") or b"")
    request.remove(b"upgrade")
    request.remove(b"connection")
    # A body of no bytes is none, and extended CONNECT has no content-length.
    if request.get(b"content-length") == b"0":
        request.remove(b"content-length")
    return request


def as_connect(headers: HeaderMap) -> HeaderMap:
    """A copy of a CONNECT, without what HTTP/2 forbids for it (RFC 9113 8.5)."""
    request = headers.copy()
    request.remove(b":scheme")
    request.remove(b":path")
    return request


def as_upgraded(headers: HeaderMap, protocol: bytes) -> None:
    """A 200 to an extended CONNECT becomes the 101 of HTTP/1."""
    headers.set(STATUS, b"101")
    headers.set(b"upgrade", protocol)
    headers.set(b"connection", b"upgrade")
