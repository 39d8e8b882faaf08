"""JSON text the way Envoy writes it into logs: what a client sent can never break out of its string."""

from __future__ import annotations

from typing import Any

import msgspec

_PLAIN = bytes(code for code in range(0x20, 0x7F) if code not in b'"\\')
_ESCAPED = {code: f"\\u{code:04x}" for code in (*range(0x20), 0x22, 0x5C, *range(0x7F, 0x100))}
_SHORT = {**{code: f"\\u{code:04x}" for code in range(0x20)}, 0x7F: "\x7f"}
_SHORT.update({0x08: "\\b", 0x09: "\\t", 0x0A: "\\n", 0x0C: "\\f", 0x0D: "\\r", 0x22: '\\"', 0x5C: "\\\\"})


def json_bytes(value: bytes) -> bytes:
    """The inside of a JSON string. UTF-8 stays; in anything else each odd byte becomes ``\\u00xx``, as in Envoy."""
    if not value.translate(None, _PLAIN):
        return value
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1").translate(_ESCAPED).encode("ascii")
    return text.translate(_SHORT).encode("utf-8")


def json_string(value: bytes) -> bytes:
    """A whole JSON string."""
    return b'"%b"' % json_bytes(value)


def json_number(value: float) -> bytes:
    """A number without a needless fraction: protobuf's numbers are doubles."""
    if value == int(value) and abs(value) < 1 << 53:
        return b"%d" % int(value)
    return repr(value).encode()


def json_value(value: Any) -> bytes:
    """Any JSON value, keys sorted; bytes and str become strings."""
    if value is None:
        return b"null"
    if value is True:
        return b"true"
    if value is False:
        return b"false"
    if isinstance(value, int | float):
        return json_number(value)
    if isinstance(value, bytes):
        return json_string(value)
    if isinstance(value, str):
        return json_string(value.encode("utf-8", "surrogateescape"))
    if isinstance(value, dict):
        parts = [json_value(str(key)) + b":" + json_value(value[key]) for key in sorted(value, key=str)]
        return b"{" + b",".join(parts) + b"}"
    if isinstance(value, list | tuple):
        return b"[" + b",".join([json_value(item) for item in value]) + b"]"
    return msgspec.json.encode(str(value))
