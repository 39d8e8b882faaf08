"""Answers of admin handlers, with the headers that Envoy's admin filter adds."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

TEXT = b"text/plain; charset=UTF-8"
JSON = b"application/json"
HTML = b"text/html; charset=UTF-8"


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
    """A JSON page, indented by one blank as protobuf's own printer does."""
    return respond(json.dumps(value, indent=1, ensure_ascii=False) + "\n", content_type=JSON)


OK = "OK\n"
