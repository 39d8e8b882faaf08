"""What a JSON value, or a text from a URL, is worth as a field of each type.

Values are ``bool``, ``int``, ``float``, ``bytes`` (a string) and ``None``. The rules and the words are those of
protobuf's JSON translation in C++, which is more lenient than JSON: numbers and booleans may be strings.
"""

from __future__ import annotations

import math
import re
import struct
from binascii import a2b_base64
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from proxeny.extensions.http_filters.grpc_json_transcoder.types import EnumType

_INTEGER: Final = re.compile(rb"[+-]?[0-9]+")
_UNSIGNED: Final = re.compile(rb"\+?[0-9]+")
_DECIMAL: Final = re.compile(rb"[ \t\n\v\f\r]*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)[ \t\n\v\f\r]*")
_HEXADECIMAL: Final = re.compile(
    rb"[ \t\n\v\f\r]*([+-]?0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)(?:[pP][+-]?[0-9]+)?)[ \t\n\v\f\r]*"
)
_NOT_FINITE: Final = re.compile(
    rb"[ \t\n\v\f\r]*([+-]?)(?:(inf|infinity)|nan(?:\([0-9a-z_]*\))?)[ \t\n\v\f\r]*", re.IGNORECASE
)
_SPECIAL: Final = {b"Infinity": math.inf, b"-Infinity": -math.inf, b"NaN": math.nan}
_BOOLEANS: Final = {
    **dict.fromkeys((b"true", b"t", b"yes", b"y", b"1"), True),
    **dict.fromkeys((b"false", b"f", b"no", b"n", b"0"), False),
}
_FLOAT: Final = struct.Struct("<f")
LEAST_NORMAL_FLOAT: Final = 2.0**-126
MOST_FLOAT: Final = 3.4028234663852886e38
_SPACE: Final = b" \t\n\v\f\r"
_STANDARD: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_WEB_SAFE: Final = _STANDARD[:62] + b"-_"
_TO_STANDARD: Final = bytes.maketrans(b"-_", b"+/")


class Unconvertible(Exception):
    """The value does not fit; ``text`` is how it is shown."""

    def __init__(self, text: bytes) -> None:
        super().__init__(text)
        self.text = text


def double_text(value: float) -> bytes:
    """The shortest of 15 or 17 digits that reads back as the same double."""
    if value != value:
        return b"NaN"
    if value in (math.inf, -math.inf):
        return b"Infinity" if value > 0 else b"-Infinity"
    text = b"%.15g" % value
    return text if float(text) == value else b"%.17g" % value


def float_text(value: float) -> bytes:
    """The same for a value of single precision: 6 or 9 digits; always 9 for what is too small to be exact."""
    if value != value or value in (math.inf, -math.inf):
        return double_text(value)
    if 0 < abs(value) < LEAST_NORMAL_FLOAT:
        return b"%.9g" % value
    text = b"%.6g" % value
    try:
        same = _FLOAT.unpack(_FLOAT.pack(float(text)))[0] == value
    except OverflowError:
        same = False
    return text if same else b"%.9g" % value


def shown(value: Any) -> bytes:
    """How a value is quoted in an error."""
    if type(value) is bytes:
        return b'"' + value + b'"'
    if value is None:
        return b"null"
    if type(value) is float:
        return double_text(value)
    if type(value) is bool:
        return b"true" if value else b"false"
    return b"%d" % value


def parse_double(text: bytes) -> float | None:
    """What C's ``strtod`` makes of the whole text, blanks around it allowed; None when it is no number."""
    if match := _DECIMAL.fullmatch(text):
        return float(match[1])
    if match := _HEXADECIMAL.fullmatch(text):
        try:
            return float.fromhex(match[1].decode("ascii"))
        except OverflowError:
            return -math.inf if match[1][:1] == b"-" else math.inf
    if match := _NOT_FINITE.fullmatch(text):
        if not match[2]:
            return math.nan
        return -math.inf if match[1] == b"-" else math.inf
    return None


def _refuse_outer_spaces(text: bytes) -> None:
    if text[:1] == b" " or text[-1:] == b" ":
        raise Unconvertible(shown(text))


def to_integer(value: Any, low: int, high: int) -> int:
    """An integer within ``[low, high]``; doubles must be whole."""
    kind = type(value)
    if kind is int:
        if low <= value <= high:
            return int(value)
    elif kind is float:
        if low <= value <= high and value == int(value):
            return int(value)
    elif kind is bytes:
        pattern = _INTEGER if low < 0 else _UNSIGNED
        # More digits than any integer has would take quadratic time.
        if pattern.fullmatch(value) and len(value.lstrip(b"+-").lstrip(b"0")) < 21 and low <= int(value) <= high:
            return int(value)
    raise Unconvertible(shown(value))


def to_double(value: Any) -> float:
    """A double; ``"NaN"`` and the infinities only as strings."""
    kind = type(value)
    if kind is float:
        return float(value)
    if kind is int:
        return float(value)
    if kind is bytes:
        if value in _SPECIAL:
            return _SPECIAL[value]
        _refuse_outer_spaces(value)
        number = parse_double(value)
        if number is not None and math.isfinite(number):
            return number
    raise Unconvertible(shown(value))


def to_float(value: Any) -> float:
    """A double that fits into single precision."""
    kind = type(value)
    if kind is bytes and value not in _SPECIAL:
        _refuse_outer_spaces(value)
        number = parse_double(value)
        if number is None or not -MOST_FLOAT <= number <= MOST_FLOAT:
            raise Unconvertible(shown(value))
        return number
    number = to_double(value)
    try:
        _FLOAT.pack(number)
    except OverflowError:
        raise Unconvertible(shown(value)) from None
    return number


def to_bool(value: Any) -> bool:
    """A boolean, or one of the usual words for it."""
    if type(value) is bool:
        return value
    if type(value) is bytes and (found := _BOOLEANS.get(value.lower())) is not None:
        return found
    raise Unconvertible(shown(value))


def to_string(value: Any) -> bytes:
    """A string; nothing else becomes one."""
    if type(value) is bytes:
        return value
    raise Unconvertible(shown(value))


def _unescape_base64(text: bytes, alphabet: bytes) -> bytes | None:
    """The bytes; blanks are skipped, padding may be left out or be dots, surplus bits are dropped."""
    text = text.translate(None, _SPACE)
    body = text.rstrip(b"=.")
    padding, over = len(text) - len(body), len(body) % 4
    if over == 1 or padding not in (0, -len(body) % 4) or body.translate(None, alphabet):
        return None
    return a2b_base64(body.translate(_TO_STANDARD) + b"=" * (-len(body) % 4))


def to_bytes(value: Any) -> bytes:
    """Bytes from base64, web-safe or standard."""
    if type(value) is bytes:
        for alphabet in (_WEB_SAFE, _STANDARD):
            data = _unescape_base64(value, alphabet)
            if data is not None:
                return data
    raise Unconvertible(shown(value))


def to_enum(value: Any, enum: EnumType, any_case: bool) -> int:
    """An enum's number, by name or number; unknown numbers only where they are no strings."""
    if value is None:
        return 0
    if type(value) is not bytes:
        return to_integer(value, -(1 << 31), (1 << 31) - 1)
    number = enum.number_by_name.get(value)
    if number is not None:
        return number
    if _INTEGER.fullmatch(value) and len(value) < 21 and int(value) in enum.quoted_by_number:
        return int(value)
    if any_case:
        number = enum.number_by_name.get(value.replace(b"-", b"_").upper())
        if number is not None:
            return number
    raise Unconvertible(shown(value))
