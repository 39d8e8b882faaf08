"""Answers of admin handlers, with the headers that Envoy's admin filter adds."""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

TEXT = b"text/plain; charset=UTF-8"
JSON = b"application/json"
HTML = b"text/html; charset=UTF-8"

_ESCAPES: Final = {ord(one): f"\\u{ord(one):04x}" for one in "<>\x7f"}


class AdminResponse(NamedTuple):
    """Status, response headers (without `:status`, date and server) and the whole body."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def respond(body: bytes | str, status: int = 200, content_type: bytes = TEXT) -> AdminResponse:
    """An answer; nothing of the admin pages may be cached or sniffed for scripts."""
    headers = [
        (b"content-type", content_type),
        (b"cache-control", b"no-cache, max-age=0"),
        (b"x-content-type-options", b"nosniff"),
    ]
    data = body if isinstance(body, bytes) else body.encode("utf-8", "surrogateescape")
    return AdminResponse(status, headers, data)


def respond_json(value: Any) -> AdminResponse:
    """A JSON page, indented by one blank and with the escapes of protobuf's own printer."""
    text = json.dumps(value, indent=1, ensure_ascii=False).translate(_ESCAPES)
    return respond(text + "\n", content_type=JSON)


OK = "OK\n"
