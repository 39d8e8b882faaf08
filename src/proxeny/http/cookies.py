"""Cookies of requests and responses (Envoy: ``Http::Utility::parseCookieValue``, ``makeSetCookieValue``)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap


def cookie_value(headers: HeaderMap, name: bytes) -> bytes:
    """The value of the first cookie of that name, without its quotes; b"" when there is none."""
    for header in headers.get_all(b"cookie"):
        for crumb in header.split(b";"):
            key, equals, value = crumb.partition(b"=")
            if not equals or key.lstrip(b" ") != name:
                continue
            return value[1:-1] if len(value) >= 2 and value[:1] == value[-1:] == b'"' else value
    return b""


def make_set_cookie(
    name: bytes, value: bytes, path: bytes, max_age: int, attributes: Iterable[tuple[bytes, bytes]] = ()
) -> bytes:
    """A ``set-cookie`` value for HTTP only; ``max_age`` in seconds, 0 = for the session."""
    parts = [b'%b="%b"' % (name, value)]
    if max_age:
        parts.append(b"Max-Age=%d" % max_age)
    if path:
        parts.append(b"Path=" + path)
    parts.extend([key + b"=" + text if text else key for key, text in attributes])
    parts.append(b"HttpOnly")
    return b"; ".join(parts)
