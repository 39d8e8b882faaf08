"""A JSON parser that takes its text in pieces and tells a writer what it sees.

It accepts what protobuf's parser in C++ accepts: single quotes, bare keys, a comma before the closing bracket, any
character behind a backslash. A token that a piece cuts waits for the next one. Objects and lists may nest 100 deep.
Errors show what is around them within the piece.

Some errors are told only at the end of the text (a character that begins nothing, bytes that are no UTF-8), since C++
waits for more there. From then on the text is *lost*: of what still comes only as much is kept as the error shows, so
that neither memory nor time grow with it.
"""

from __future__ import annotations

import codecs
import math
import re
from enum import IntEnum
from typing import Final, Protocol

from proxeny.extensions.http_filters.grpc_json_transcoder.values import parse_double

Scalar = bool | int | float | bytes | None


class ObjectWriter(Protocol):
    """Who hears what is parsed; ``name`` is empty in lists and at the root."""

    def start_object(self, name: bytes) -> None:
        """``{``."""

    def end_object(self) -> None:
        """``}``."""

    def start_list(self, name: bytes) -> None:
        """``[``."""

    def end_list(self) -> None:
        """``]``."""

    def render(self, name: bytes, value: Scalar) -> None:
        """A scalar."""


class _Expects(IntEnum):
    VALUE = 0
    OBJECT_MIDDLE = 1
    ENTRY = 2
    ENTRY_MIDDLE = 3
    LIST_VALUE = 4
    LIST_MIDDLE = 5


VALUE: Final = _Expects.VALUE
OBJECT_MIDDLE: Final = _Expects.OBJECT_MIDDLE
ENTRY: Final = _Expects.ENTRY
ENTRY_MIDDLE: Final = _Expects.ENTRY_MIDDLE
LIST_VALUE: Final = _Expects.LIST_VALUE
LIST_MIDDLE: Final = _Expects.LIST_MIDDLE

MOST_DEPTH: Final = 100
MOST_TOKEN: Final = 4096
"""Characters of a number or bare key in pieces: it is read anew with each."""
CONTEXT: Final = 20
CANCELLED: Final = b""
"""The piece ends in the middle of a token: try again with more of the text."""
EXPECTED_KEY: Final = b"Expected an object key or }."
EXPECTED_OBJECT_MIDDLE: Final = b"Expected , or } after key:value pair."
EXPECTED_LIST_MIDDLE: Final = b"Expected , or ] after array value."
EXPECTED_COLON: Final = b"Expected : between key:value pair."
EXPECTED_ELEMENT: Final = b"Expected a value or ] within an array."
EXPECTED_QUOTE: Final = b"Closing quote expected in string."
UNPARSED_NUMBER: Final = b"Unable to parse number."
LEADING_ZERO: Final = b"Octal/hex numbers are not valid JSON values."
NOT_ALL_PARSED: Final = b"Parsing terminated before end of input."

_SPACE: Final = re.compile(rb"[ \t\n\v\f\r]*")
_NUMBER: Final = re.compile(rb"[0-9.eE+x-]*")
_KEY: Final = re.compile(rb"[A-Za-z_$][A-Za-z0-9_$]*")
_UNSIGNED: Final = re.compile(rb"[0-9]{1,20}")
_SIGNED: Final = re.compile(rb"-[0-9]{1,19}")
_HEX: Final = re.compile(rb"[0-9a-fA-F]{4}")
_PLAIN: Final = {0x22: re.compile(rb'[^"\\]*'), 0x27: re.compile(rb"[^'\\]*")}
_KEYWORDS: Final[tuple[tuple[bytes, bool | None], ...]] = ((b"true", True), (b"false", False), (b"null", None))
_ESCAPES: Final = {0x62: b"\b", 0x66: b"\f", 0x6E: b"\n", 0x72: b"\r", 0x74: b"\t", 0x76: b"\v"}


_LOST: Final = codecs.getincrementaldecoder("utf-8")()
"""Says that the text is lost, until its own decoder takes over."""


def _valid_length(text: bytes) -> tuple[int, bool]:
    """How many bytes from the start on are UTF-8, and whether those behind may be the beginning of a character."""
    try:
        text.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start, error.reason == "unexpected end of data"
    return len(text), False


class JsonStreamParser:
    """One text. Methods return None, an error, or CANCELLED."""

    __slots__ = ("_at", "_depth", "_end", "_finishing", "_is_utf8", "_key", "_leftover", "_lost", "_quote", "_stack",
                 "_text", "_token", "_writer")  # fmt: skip

    def __init__(self, writer: ObjectWriter) -> None:
        self._writer = writer
        self._stack = [VALUE]
        self._leftover = b""
        self._text = b""
        self._at = 0
        self._end = 0
        self._finishing = False
        self._lost: codecs.IncrementalDecoder | None = None
        """Set once nothing can become of the text; reads on for UTF-8."""
        self._is_utf8 = True
        self._quote = 0
        self._token: list[bytes] = []
        """What was read of a string so far."""
        self._key = b""
        self._depth = 0

    def parse(self, piece: bytes) -> bytes | None:
        """The next piece; an error in it, or None."""
        if self._lost is not None:
            self._lose(self._lost, piece)
            return None
        if self._leftover:
            piece, self._leftover = self._leftover + piece, b""
        valid, is_cut = _valid_length(piece)
        error = self._parse_piece(piece if valid == len(piece) else piece[:valid]) if valid else None
        self._leftover += piece[valid:]
        if error is None and (self._lost is not None or (valid < len(piece) and not is_cut)):
            left, self._leftover = self._leftover, b""
            self._lost = codecs.getincrementaldecoder("utf-8")()
            self._lose(self._lost, left)
        return error

    def _lose(self, decoder: codecs.IncrementalDecoder, piece: bytes) -> None:
        missing = CONTEXT - len(self._leftover)
        if missing > 0:
            self._leftover += piece[:missing]
        if self._is_utf8:
            try:
                decoder.decode(piece)
            except UnicodeDecodeError:
                self._is_utf8 = False

    def finish(self) -> bytes | None:
        """There is no more."""
        if not self._stack and not self._leftover:
            return None
        self._begin(self._leftover)
        if not self._ends_as_utf8():
            return self._failure(b"Encountered non UTF-8 code points.")
        self._finishing = True
        error = self._run()
        if error is None and self._skip_space() < self._end:
            error = self._failure(NOT_ALL_PARSED)
        return error

    def _ends_as_utf8(self) -> bool:
        if self._lost is None:
            return _valid_length(self._text)[0] == self._end
        return self._is_utf8 and not self._lost.getstate()[0]

    def _begin(self, text: bytes) -> None:
        self._text = text
        self._at = 0
        self._end = len(text)

    def _parse_piece(self, piece: bytes) -> bytes | None:
        self._begin(piece)
        error = self._run()
        if error is not None:
            return error
        if self._skip_space() < self._end:
            if not self._stack:
                return self._failure(NOT_ALL_PARSED)
            self._leftover = piece[self._at :]
        return None

    def _skip_space(self) -> int:
        match = _SPACE.match(self._text, self._at)
        assert match is not None
        self._at = match.end()
        return self._at

    def _run(self) -> bytes | None:
        stack = self._stack
        while stack:
            expected = stack.pop()
            if not self._quote and self._at < self._end and self._text[self._at] <= 0x20:
                self._skip_space()
            if expected is OBJECT_MIDDLE:
                error = self._middle(0x7D, ENTRY, EXPECTED_OBJECT_MIDDLE)
            elif expected is LIST_MIDDLE:
                error = self._middle(0x5D, LIST_VALUE, EXPECTED_LIST_MIDDLE)
            elif expected is ENTRY:
                error = self._entry()
            elif expected is ENTRY_MIDDLE:
                error = self._entry_middle()
            elif expected is LIST_VALUE:
                error = self._list_value()
            else:
                error = self._value(b"Expected a value.")
            if error is CANCELLED and not self._finishing:
                stack.append(expected)
                return None
            if error is not None:
                return error
        return None

    def _next(self) -> int:
        """The character here, -1 at the end."""
        return self._text[self._at] if self._at < self._end else -1

    def _is_known(self, char: int) -> bool:
        """Whether a token could begin so."""
        return char >= 0 and (char in b"\"'-0123456789{}[]:,_$" or bytes((char,)).isalpha())

    def _unexpected(self, message: bytes) -> bytes:
        """Something else is here, or nothing yet."""
        if self._is_known(self._next()):
            return self._failure(message)
        if not self._finishing:
            if self._at < self._end:
                self._lost = _LOST
            return CANCELLED
        if self._at == self._end:
            message = b"Unexpected end of string. " + message
        return self._failure(message)

    def _value(self, expected: bytes) -> bytes | None:
        char = self._quote or self._next()
        if char in (0x22, 0x27):
            error = self._string()
            if error is None:
                self._render(b"".join(self._token))
                self._token.clear()
            return error
        if char == 0x7B:
            return self._begin_nested(ENTRY)
        if char == 0x5B:
            return self._begin_nested(LIST_VALUE)
        if char == 0x2D or 0x30 <= char <= 0x39:
            return self._number()
        for word, value in _KEYWORDS:
            if self._text.startswith(word, self._at):
                self._render(value)
                self._at += len(word)
                return None
        if not self._is_known(char):
            return self._unexpected(expected)
        if not self._finishing and self._end - self._at < 5:
            # Perhaps the beginning of a word.
            return CANCELLED
        return self._failure(b"Unexpected token.")

    def _render(self, value: Scalar) -> None:
        self._writer.render(self._key, value)
        self._key = b""

    def _begin_nested(self, following: _Expects) -> bytes | None:
        self._at += 1
        key = self._key
        if following is ENTRY:
            self._writer.start_object(key)
        else:
            self._writer.start_list(key)
        self._depth += 1
        if self._depth > MOST_DEPTH:
            where = b"for key '" + key + b"'" if following is ENTRY else b"in array"
            return b"Message too deep. Max recursion depth reached " + where
        self._key = b""
        self._stack.append(following)
        return None

    def _end_nested(self, closing: int) -> None:
        self._at += 1
        self._depth -= 1
        if closing == 0x7D:
            self._writer.end_object()
        else:
            self._writer.end_list()

    def _middle(self, closing: int, following: _Expects, expected: bytes) -> bytes | None:
        char = self._next()
        if char == closing:
            self._end_nested(closing)
        elif char == 0x2C:
            self._at += 1
            self._stack.append(following)
        else:
            return self._unexpected(expected)
        return None

    def _entry(self) -> bytes | None:
        char = self._quote or self._next()
        if char == 0x7D:
            self._end_nested(0x7D)
            return None
        if char in (0x22, 0x27):
            error = self._string()
            if error is None:
                self._key = b"".join(self._token)
                self._token.clear()
        elif match := _KEY.match(self._text, self._at):
            error = self._bare_key(match)
        else:
            return self._unexpected(EXPECTED_KEY)
        if error is None:
            self._stack += (OBJECT_MIDDLE, ENTRY_MIDDLE)
        return error

    def _bare_key(self, match: re.Match[bytes]) -> bytes | None:
        if match.end() == self._end and not self._finishing:
            return CANCELLED if len(match[0]) < MOST_TOKEN else self._failure(EXPECTED_KEY)
        self._at = match.end()
        self._key = match[0]
        if self._key in (b"true", b"false", b"null"):
            return self._failure(EXPECTED_KEY)
        return None

    def _entry_middle(self) -> bytes | None:
        if self._next() != 0x3A:
            return self._unexpected(EXPECTED_COLON)
        self._at += 1
        self._stack.append(VALUE)
        return None

    def _list_value(self) -> bytes | None:
        if not self._quote and self._next() == 0x5D:
            self._end_nested(0x5D)
            return None
        self._stack.append(LIST_MIDDLE)
        error = self._value(EXPECTED_ELEMENT)
        if error is CANCELLED:
            self._stack.pop()
        return error

    # Strings.

    def _string(self) -> bytes | None:
        """Read up to the closing quote; what was read is in ``_token``."""
        text = self._text
        if not self._quote:
            self._quote = text[self._at]
            self._at += 1
        plain = _PLAIN[self._quote]
        while True:
            match = plain.match(text, self._at)
            assert match is not None
            if match.end() > self._at:
                self._token.append(match[0])
                self._at = match.end()
            if self._at == self._end:
                break
            if text[self._at] == self._quote:
                self._quote = 0
                self._at += 1
                return None
            error = self._escape()
            if error is not None:
                return error
        if not self._finishing:
            return CANCELLED
        self._quote = 0
        return self._failure(EXPECTED_QUOTE)

    def _escape(self) -> bytes | None:
        text, at = self._text, self._at
        if at + 1 == self._end:
            return self._failure(EXPECTED_QUOTE) if self._finishing else CANCELLED
        char = text[at + 1]
        if char == 0x75:
            return self._unicode_escape()
        self._token.append(_ESCAPES.get(char) or text[at + 1 : at + 2])
        self._at = at + 2
        return None

    def _unicode_escape(self) -> bytes | None:
        text, at = self._text, self._at
        left = self._end - at
        if left < 6:
            return self._failure(b"Illegal hex string.") if self._finishing else CANCELLED
        match = _HEX.match(text, at + 2)
        if match is None:
            return self._failure(b"Invalid escape sequence.")
        code, length = int(match[0], 16), 6
        if 0xD800 <= code <= 0xDBFF:
            if left < 12:
                return self._failure(b"Missing low surrogate.") if self._finishing else CANCELLED
            if text[at + 6 : at + 8] != b"\\u":
                return self._failure(b"Missing low surrogate.")
            match = _HEX.match(text, at + 8)
            if match is None:
                return self._failure(b"Invalid escape sequence.")
            low = int(match[0], 16)
            if not 0xDC00 <= low <= 0xDFFF:
                return self._failure(b"Invalid low surrogate.")
            code, length = ((code & 0x3FF) << 10 | (low & 0x3FF)) + 0x10000, 12
        if 0xDC00 <= code <= 0xDFFF:
            return self._failure(b"Invalid unicode code point.")
        self._token.append(chr(code).encode("utf-8"))
        self._at = at + length
        return None

    # Numbers.

    def _number(self) -> bytes | None:
        match = _NUMBER.match(self._text, self._at)
        assert match is not None
        text, end = match[0], match.end()
        if end == self._end and not self._finishing:
            return CANCELLED if len(text) < MOST_TOKEN else self._failure(UNPARSED_NUMBER)
        value: Scalar
        is_double = b"." in text or b"e" in text or b"E" in text
        if not is_double:
            digits = text[1:] if text[:1] == b"-" else text
            if digits[:1] == b"0" and len(digits) > 1:
                return self._failure(LEADING_ZERO)
            if _UNSIGNED.fullmatch(text) or _SIGNED.fullmatch(text):
                value = int(text)
                is_double = not -(1 << 63) <= value < 1 << 64
            else:
                is_double = True
        if is_double:
            number = parse_double(text)
            if number is None:
                return self._failure(UNPARSED_NUMBER)
            if not math.isfinite(number):
                return self._failure(b"Number exceeds the range of double.")
            value = number
        self._at = end
        self._render(value)
        return None

    def _failure(self, message: bytes) -> bytes:
        """The message with what is around, and a mark below it."""
        begin = max(self._at - CONTEXT, 0)
        segment = self._text[begin : min(self._at + CONTEXT, self._end)]
        return message + b"\n" + segment + b"\n" + b" " * (self._at - begin) + b"^"
