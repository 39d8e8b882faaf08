"""JSON strings, escaped as protobuf's C++ does it."""

from __future__ import annotations

import re
from typing import Final

_PLAIN: Final = re.compile(rb"[ !#-;=?-\[\]-~]*")
_TO_ESCAPE: Final = re.compile(
    '["\\\\<>\x00-\x1f\x7f-\x9f\xad\u0600-\u0603\u06dd\u070f\u17b4\u17b5\u200b-\u200f\u2028-\u202e\u2060-\u2064'
    "\u206a-\u206f\ufeff\ufff9-\ufffb\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f\udc80-\udcff]"
)
"""What JSON asks to escape, what might do harm in a browser, and bytes that are no UTF-8."""
_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\f": "\\f", "\b": "\\b", "\\": "\\\\"}


def _escape(match: re.Match[str]) -> str:
    char = match[0]
    short = _SHORT.get(char)
    if short is not None:
        return short
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return " "
    if code < 0x10000:
        return f"\\u{code:04x}"
    return f"\\u{(code >> 10) + 0xD7C0:04x}\\u{(code & 0x3FF) + 0xDC00:04x}"


def quoted(data: bytes) -> bytes:
    """A JSON string; bytes that are no UTF-8 become spaces."""
    if _PLAIN.fullmatch(data):
        return b'"' + data + b'"'
    text = data.decode("utf-8", "surrogateescape")
    return b'"' + _TO_ESCAPE.sub(_escape, text).encode("utf-8") + b'"'
