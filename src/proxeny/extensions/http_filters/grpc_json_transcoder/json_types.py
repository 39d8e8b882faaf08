"""Types whose JSON is not an object: how they are written."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from proxeny.extensions.http_filters.grpc_json_transcoder.types import URL_PREFIX
from proxeny.extensions.http_filters.grpc_json_transcoder.wire import TranslationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.extensions.http_filters.grpc_json_transcoder.json_writer import JsonWriter
    from proxeny.extensions.http_filters.grpc_json_transcoder.wire import Fields

MOST_NANOS: Final = 999_999_999
MOST_DURATION: Final = 3652500 * 86400
LEAST_TIMESTAMP: Final = -62135596800
MOST_TIMESTAMP: Final = 253402300799
_GOOGLE: Final = "google.protobuf."


def _fraction(nanos: int) -> bytes:
    """A fraction of a second in 3, 6 or 9 digits."""
    digits = b"%09d" % nanos
    while digits.endswith(b"000"):
        digits = digits[:-3]
    return b"." + digits if digits else b""


def _civil(seconds: int) -> tuple[int, int, int]:
    """Year, month and day of a Unix time, in the proleptic Gregorian calendar (400 years are 146,097 days)."""
    days = seconds // 86400 + 719468
    era, day_of_era = divmod(days, 146097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    return year_of_era + era * 400 + (month <= 2), month, day_of_year - (153 * shifted + 2) // 5 + 1


def _timestamp(writer: JsonWriter, fields: Fields) -> None:
    seconds, nanos = fields.get(1, 0), fields.get(2, 0)
    if seconds < LEAST_TIMESTAMP:
        raise TranslationError(b"minimum acceptable time value is 0001-01-01T00:00:00Z")
    if seconds > MOST_TIMESTAMP:
        raise TranslationError(b"maximum acceptable time value is 9999-12-31T23:59:59Z")
    if not 0 <= nanos <= MOST_NANOS:
        raise TranslationError(b"nanos must be in range [0, +999,999,999]")
    clock = (seconds // 3600 % 24, seconds // 60 % 60, seconds % 60)
    writer.put(b'"%04d-%02d-%02dT%02d:%02d:%02d%bZ"' % (*_civil(seconds), *clock, _fraction(nanos)))


def _duration(writer: JsonWriter, fields: Fields) -> None:
    seconds, nanos = fields.get(1, 0), fields.get(2, 0)
    if not -MOST_DURATION <= seconds <= MOST_DURATION or not -MOST_NANOS <= nanos <= MOST_NANOS:
        raise TranslationError(b"duration out of range")
    if seconds and nanos and (seconds < 0) != (nanos < 0):
        raise TranslationError(b"nanos and seconds signs do not match")
    sign = b"-" if seconds < 0 or nanos < 0 else b""
    writer.put(b'"%b%d%bs"' % (sign, abs(seconds), _fraction(abs(nanos))))


def _field_mask(writer: JsonWriter, fields: Fields) -> None:
    writer.put(b'"' + b",".join([_camel_case(path) for path in fields.get(1, ())]) + b'"')


def _camel_case(path: bytes) -> bytes:
    """A path of a field mask; characters that no field name has are kept as they are."""
    out = bytearray()
    saw_underscore = False
    for char in path:
        if 0x61 <= char <= 0x7A and saw_underscore:
            out.append(char - 32)
        elif char == 0x5F:
            saw_underscore = True
            continue
        elif 0x61 <= char <= 0x7A or 0x30 <= char <= 0x39 or char == 0x2E:
            out.append(char)
        else:
            if saw_underscore:
                out.append(0x5F)
            out.append(char)
        saw_underscore = False
    return bytes(out)


def _wrapper(writer: JsonWriter, fields: Fields) -> None:
    writer.value(fields.type.by_number[1], fields.get(1))


def _value(writer: JsonWriter, fields: Fields) -> None:
    by_number = fields.type.by_number
    if 1 in fields:
        writer.put(b"null")
    elif 2 in fields:
        if not math.isfinite(fields[2]):
            words = b"nan, " if fields[2] != fields[2] else b"infinity, "
            raise TranslationError(
                b"google.protobuf.Value cannot encode double values for " + words
                + b"because it would be parsed as a string"
            )  # fmt: skip
        writer.value(by_number[2], fields[2])
    elif 3 in fields or 4 in fields:
        number = 3 if 3 in fields else 4
        writer.value(by_number[number], fields[number])
    elif 5 in fields:
        _struct(writer, fields[5])
    elif 6 in fields:
        _list_value(writer, fields[6])


def _struct(writer: JsonWriter, fields: Fields) -> None:
    writer.map(fields.type.by_number[1], fields.get(1, ()))


def _list_value(writer: JsonWriter, fields: Fields) -> None:
    writer.list(fields.type.by_number[1], fields.get(1, ()))


def _any(writer: JsonWriter, fields: Fields) -> None:
    url, data = fields.get(1), fields.get(2)
    if url is None and data is None:
        writer.put(b"{}")
        return
    if url is None:
        raise TranslationError(b"broken Any: missing type URL")
    inner = resolve_any(writer, url, data or b"")
    writer.open(b"{")
    writer.separate(True)
    writer.name(b'"@type"')
    writer.text(url)
    if inner.type.name in SPECIAL_TYPES:
        writer.separate(False)
        writer.name(b'"value"')
        writer.message(inner)
    else:
        writer.members(inner, False)
    writer.close(b"}", False)


def resolve_any(writer: JsonWriter, url: bytes, data: bytes) -> Fields:
    """What an ``Any`` holds."""
    if not url.startswith(URL_PREFIX):
        raise TranslationError(
            b"Invalid type URL, type URLs must be of the form '" + URL_PREFIX + b"<typename>', got: " + url
        )
    name = url[len(URL_PREFIX) :]
    inner = writer.nested(name.decode("utf-8", "replace"), data)
    if inner is None:
        raise TranslationError(b"Invalid type URL, unknown type: " + name, "NOT_FOUND")
    return inner


_WRAPPERS: Final = ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
SPECIAL_TYPES: Final[dict[str, Callable[[JsonWriter, Fields], None]]] = {
    f"{_GOOGLE}Any": _any,
    f"{_GOOGLE}Timestamp": _timestamp,
    f"{_GOOGLE}Duration": _duration,
    f"{_GOOGLE}FieldMask": _field_mask,
    f"{_GOOGLE}Struct": _struct,
    f"{_GOOGLE}Value": _value,
    f"{_GOOGLE}ListValue": _list_value,
    **{f"{_GOOGLE}{name}Value": _wrapper for name in _WRAPPERS},
}
