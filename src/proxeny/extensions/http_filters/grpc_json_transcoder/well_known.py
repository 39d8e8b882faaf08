"""Types whose JSON is not an object: how their strings are read.

The results go to a writer that has begun the message; what cannot be read raises Refused with protobuf's words.
"""

from __future__ import annotations

import re
from calendar import timegm
from typing import TYPE_CHECKING, Any, Final

from proxeny.extensions.http_filters.grpc_json_transcoder.values import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.extensions.http_filters.grpc_json_transcoder.json_stream import Scalar
    from proxeny.extensions.http_filters.grpc_json_transcoder.proto_writer import ProtoWriter

URL: Final = b"type.googleapis.com/google.protobuf."
ANY: Final = "google.protobuf.Any"
STRUCT: Final = "google.protobuf.Struct"
STRUCT_VALUE: Final = "google.protobuf.Value"
LIST_VALUE: Final = "google.protobuf.ListValue"
NULL_VALUE_URL: Final = URL + b"NullValue"
STRUCT_VALUE_URL: Final = URL + b"Value"

MOST_TIMESTAMP: Final = 253402300799
LEAST_TIMESTAMP: Final = -62135596800
MOST_DURATION: Final = 315576000000
NANOS_PER_SECOND: Final = 1_000_000_000

_TIME: Final = re.compile(
    rb"[ \t\n\v\f\r]*([+-]?[0-9]{1,18})-([0-9]{1,2})-([0-9]{1,2})T([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})[ \t\n\v\f\r]*"
)
_OFFSET: Final = re.compile(rb"[+-]([0-9]{2}):([0-9]{2})")
_SECONDS: Final = re.compile(rb"\+?[0-9]{1,20}")
_DAYS: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class Refused(Exception):
    """What is wrong with a value."""

    def __init__(self, text: bytes) -> None:
        super().__init__(text)
        self.text = text


def _text(value: Scalar, kind: bytes) -> bytes:
    if type(value) is not bytes:
        raise Refused(b"Invalid data type for " + kind + b", value is " + shown(value))
    return value


def _nanos(digits: bytes, unreadable: bytes, exceeded: bytes) -> int:
    """Nanoseconds from the digits of a fraction."""
    significant = digits.lstrip(b"0")
    if not significant:
        return 0
    if significant.translate(None, b"0123456789") or len(significant) > 10 or int(significant) >= 1 << 31:
        raise Refused(unreadable)
    if int(significant) > NANOS_PER_SECOND or len(digits) > 9:
        raise Refused(exceeded)
    return int(significant) * int(10 ** (9 - len(digits)))


def render_timestamp(writer: ProtoWriter, value: Scalar) -> None:
    """RFC 3339, with ``Z`` or an offset."""
    if value is None:
        return
    text = _text(value, b"timestamp")
    offset = 0
    if text.endswith(b"Z"):
        text = text[:-1]
    else:
        at = max(text.rfind(b"+"), text.rfind(b"-"))
        match = _OFFSET.fullmatch(text[at:]) if at >= 0 else None
        if match is None or int(match[1]) > 23 or int(match[2]) > 59:
            raise Refused(b"Illegal timestamp format; timestamps must end with 'Z' or have a valid timezone offset.")
        offset = (int(match[1]) * 60 + int(match[2])) * 60
        if text[at] == 0x2D:
            offset = -offset
        text = text[:at]
    seconds_text, _, fraction = text.rpartition(b".") if b"." in text else (text, b"", b"")
    seconds = _unix_seconds(seconds_text)
    nanos = _nanos(fraction, b"Invalid time format, failed to parse nano seconds", b"Timestamp value exceeds limits")
    seconds -= offset
    if not LEAST_TIMESTAMP <= seconds <= MOST_TIMESTAMP:
        raise Refused(b"Timestamp value exceeds limits")
    writer.write_value(b"seconds", seconds)
    writer.write_value(b"nanos", nanos)


def _unix_seconds(text: bytes) -> int:
    match = _TIME.fullmatch(text)
    if match is None:
        raise Refused(b"Invalid time format: Failed to parse input")
    year, month, day, hour, minute, second = (int(group) for group in match.groups())
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not 1 <= month <= 12 or not 1 <= day <= 31 or hour > 23 or minute > 59 or second > 60:
        raise Refused(b"Invalid time format: Failed to parse input")
    if day > _DAYS[month - 1] + (month == 2 and leap):
        raise Refused(b"Invalid time format: Out-of-range field")
    if not 1 <= year <= 9999:
        raise Refused(b"Timestamp value exceeds limits")
    return timegm((year, month, day, hour, minute, second))


def render_duration(writer: ProtoWriter, value: Scalar) -> None:
    """Seconds with a fraction, and an ``s``."""
    if value is None:
        return
    text = _text(value, b"duration")
    if not text.endswith(b"s"):
        raise Refused(b"Illegal duration format; duration must end with 's'")
    text = text[:-1]
    sign = 1
    if text.startswith(b"-"):
        sign, text = -1, text[1:]
    seconds_text, _, fraction = text.rpartition(b".") if b"." in text else (text, b"", b"")
    seconds_text = seconds_text.strip(b" ")
    if not _SECONDS.fullmatch(seconds_text) or int(seconds_text) >= 1 << 64:
        raise Refused(b"Invalid duration format, failed to parse seconds")
    nanos = sign * _nanos(
        fraction, b"Invalid duration format, failed to parse nano seconds", b"Duration value exceeds limits"
    )
    seconds = sign * int(seconds_text)
    if not -MOST_DURATION <= seconds <= MOST_DURATION or abs(nanos) >= NANOS_PER_SECOND:
        raise Refused(b"Duration value exceeds limits")
    writer.write_value(b"seconds", seconds)
    writer.write_value(b"nanos", nanos)


def render_wrapper(writer: ProtoWriter, value: Scalar) -> None:
    """``google.protobuf.Int32Value`` and the like."""
    if value is not None:
        writer.write_value(b"value", value)


def render_struct_value(writer: ProtoWriter, value: Scalar) -> None:
    """A scalar ``google.protobuf.Value``."""
    if value is None:
        name = b"null_value"
    elif type(value) is bool:
        name = b"bool_value"
    else:
        name = b"string_value" if type(value) is bytes else b"number_value"
    writer.write_value(name, value)


def to_snake_case(text: bytes) -> bytes:
    """``gBikeLAB`` as ``g_bike_lab``."""
    out = bytearray()
    after_underscore, after_capital = True, True
    for at, char in enumerate(text):
        if 0x41 <= char <= 0x5A:
            before_small = at + 1 < len(text) and 0x61 <= text[at + 1] <= 0x7A
            if not after_underscore and (not after_capital or before_small):
                out.append(0x5F)
            out.append(char + 32)
            after_underscore, after_capital = False, True
        else:
            out.append(char)
            after_underscore, after_capital = char == 0x5F, False
    return bytes(out)


def _snake_case_path(path: bytes) -> bytes:
    """A path's segments in snake case; what is quoted stays."""
    out = bytearray()
    start, quoted, escaped = 0, False, False
    for at in range(len(path) + 1):
        char = path[at] if at < len(path) else -1
        if quoted:
            if char < 0:
                break
            out.append(char)
            if escaped:
                escaped = False
            elif char == 0x5C:
                escaped = True
            elif char == 0x22:
                start, quoted = at + 1, False
            continue
        if char < 0 or char in b'.()"':
            out += to_snake_case(path[start:at])
            if char >= 0:
                out.append(char)
            start = at + 1
        quoted = char == 0x22
    return bytes(out)


def _skip_map_key(paths: bytes, at: int) -> int:
    """Where the map key that begins behind ``["`` ends (its bracket); -1: nowhere."""
    at += 2
    while at < len(paths):
        if paths[at] == 0x5C:
            at += 1
        elif paths[at] == 0x22:
            if paths[at + 1 : at + 2] != b"]":
                raise Refused(_mask_error(paths, b'Map keys should be represented as ["some_key"].'))
            at += 1
            if at < len(paths) - 1 and paths[at + 1] not in b".,)(":
                raise Refused(_mask_error(paths, b"Map keys should be at the end of a path segment."))
            return at
        at += 1
    return -1


def _mask_error(paths: bytes, text: bytes) -> bytes:
    return b"Invalid FieldMask '" + paths + b"'. " + text


def _joined(prefix: bytes, segment: bytes) -> bytes:
    if not prefix or not segment:
        return prefix or segment
    return prefix + segment if segment.startswith(b'["') else prefix + b"." + segment


def field_mask_paths(paths: bytes) -> list[bytes]:
    """The paths of ``a.b,c(d,e)``."""
    found: list[bytes] = []
    prefixes: list[bytes] = []
    start = at = 0
    while at <= len(paths):
        char = paths[at] if at < len(paths) else -1
        if char == 0x5B:
            if paths[at + 1 : at + 2] != b'"' or at >= len(paths) - 1:
                raise Refused(_mask_error(paths, b'Map keys should be represented as ["some_key"].'))
            at = _skip_map_key(paths, at)
            if at < 0:
                raise Refused(_mask_error(paths, b"Cannot find matching ']' for all '['."))
        elif char < 0 or char in b",()":
            segment, prefix = paths[start:at], prefixes[-1] if prefixes else b""
            if char == 0x28:
                prefixes.append(_joined(prefix, segment))
            elif segment:
                found.append(_joined(prefix, segment))
            if char == 0x29:
                if not prefixes:
                    raise Refused(_mask_error(paths, b"Cannot find matching '(' for all ')'."))
                prefixes.pop()
            start = at + 1
        at += 1
    if prefixes:
        raise Refused(_mask_error(paths, b"Cannot find matching ')' for all '('."))
    return found


def render_field_mask(writer: ProtoWriter, value: Scalar) -> None:
    """Paths in camel case, with commas between them."""
    if value is None:
        return
    for path in field_mask_paths(_text(value, b"field mask")):
        writer.write_value(b"paths", _snake_case_path(path))


_WRAPPERS: Final = ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
RENDERERS: Final[dict[bytes, Callable[[Any, Scalar], None]]] = {
    URL + b"Timestamp": render_timestamp,
    URL + b"Duration": render_duration,
    URL + b"FieldMask": render_field_mask,
    STRUCT_VALUE_URL: render_struct_value,
    **{URL + name.encode() + suffix: render_wrapper for name in _WRAPPERS for suffix in (b"", b"Value")},
}
"""By type URL."""
