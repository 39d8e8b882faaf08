"""Percent-decoding of path segments and of query parameters, with what each is to leave encoded."""

from __future__ import annotations

import re
from typing import Final

_ESCAPE: Final = re.compile(rb"%[0-9A-Fa-f]{2}")
RESERVED: Final = b"!#$&'()*+,/:;=?@[]"
"""RFC 6570 section 2.2."""


class Unescaper:
    """Decodes ``%XX`` unless it stands for one of ``kept``."""

    __slots__ = ("_kept",)

    def __init__(self, kept: bytes = b"") -> None:
        self._kept = kept

    def __call__(self, text: bytes) -> bytes:
        """The decoded text; escapes that are none stay as they are."""
        if text.find(b"%") < 0:
            return text
        return _ESCAPE.sub(self._decode, text)

    def _decode(self, match: re.Match[bytes]) -> bytes:
        char = bytes.fromhex(match[0][1:].decode("ascii"))
        return match[0] if char in self._kept else char


ALL: Final = Unescaper()
EXCEPT_SLASH: Final = Unescaper(b"/")
EXCEPT_RESERVED: Final = Unescaper(RESERVED)
BY_SPEC: Final = (EXCEPT_RESERVED, EXCEPT_SLASH, ALL)
"""By ``GrpcJsonTranscoder.UrlUnescapeSpec``."""
