"""Answers of admin handlers, with the headers that Envoy's admin filter adds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import msgspec

TEXT = b"text/plain; charset=UTF-8"
JSON = b"application/json"
HTML = b"text/html; charset=UTF-8"

_ESCAPES: Final = [(one, f"\\u{ord(one):04x}") for one in "<>\x7f"]


class AdminResponse(NamedTuple):
    """Status, response headers (without `:status`, date and server) and the body: whole, or in pieces.

    Pieces are made one after another while they are sent, over many turns of the loop: each takes a millisecond or
    two at most, and nothing that they are made of may change meanwhile.
    """

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes | Iterator[bytes]


def respond(body: bytes | str, status: int = 200, content_type: bytes = TEXT) -> AdminResponse:
    """An answer; nothing of the admin pages may be cached or sniffed for scripts."""
    return AdminResponse(status, _headers(content_type), body if isinstance(body, bytes) else _encode(body))


def respond_in_pieces(pieces: Iterable[str], content_type: bytes = TEXT) -> AdminResponse:
    """A page that may be large."""
    return AdminResponse(200, _headers(content_type), map(_encode, pieces))


def respond_json(value: Any) -> AdminResponse:
    """A JSON page."""
    return respond(json_text(value) + "\n", content_type=JSON)


def json_text(value: Any, depth: int = 0) -> str:
    """Indented by one blank and with the escapes of protobuf's own printer; ``depth``: that of what it stands in."""
    plain = _encode(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    text = msgspec.json.format(plain, indent=1).decode("utf-8", "surrogateescape")
    for one, escape in _ESCAPES:
        if one in text:
            text = text.replace(one, escape)
    return text.replace("\n", "\n" + " " * depth) if depth else text


def _headers(content_type: bytes) -> list[tuple[bytes, bytes]]:
    return [
        (b"content-type", content_type),
        (b"cache-control", b"no-cache, max-age=0"),
        (b"x-content-type-options", b"nosniff"),
    ]


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


OK = "OK\n"
