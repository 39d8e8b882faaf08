"""Scalars of a configuration tree to protobuf values, as lenient and as strict as protobuf's C++ JSON reader.

Envoy reads everything through that reader (legacy syntax on, enum names in any case). Each function takes what a tree
can hold (str, int, float, bool, None, dict, list) and raises ConfigError in the reader's words.
"""

import base64
import binascii
import math
import re
from collections.abc import Callable
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor

from proxeny.config.errors import ConfigError

_DIGITS: Final = re.compile(r"[+-]?[0-9]+\Z", re.ASCII)
_FLOAT: Final = re.compile(
    r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|inf(?:inity)?|nan)\Z", re.ASCII | re.IGNORECASE
)
_DURATION: Final = re.compile(r"(-?)([0-9]+)(?:\.([0-9]{1,9}))?s\Z", re.ASCII)
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]*\Z", re.ASCII)
_BLANK: Final = frozenset(" \t\n\v\f\r")
_TRUE: Final = frozenset(("true", "t", "yes", "y", "1"))
_FALSE: Final = frozenset(("false", "f", "no", "n", "0"))
# google.protobuf.Duration: 10,000 years.
MAX_DURATION_SECONDS: Final = 3_652_500 * 86_400
_FLOAT_MAX: Final = (2 - 2**-24) * 2**127  # rounds to infinity as a 32-bit float from here on
# Integers written with a fraction or exponent pass through a double: these are the reader's bounds.
_SIGNED_AS_DOUBLE: Final = (-9007199254740992.0, 9007199254740992.0)
_UNSIGNED_AS_DOUBLE: Final = (0.0, 18014398509481984.0)


class UnknownEnumValueError(ConfigError):
    """A name that the enum lacks: an error, or ignored where unknown fields are."""


def json_error(detail: str) -> ConfigError:
    """The reader's refusal."""
    return ConfigError(f"Unable to parse JSON as proto (INVALID_ARGUMENT: {detail})")


def shown(value: Any) -> str:
    """The first character of a value as JSON, which is what the reader names in its refusals."""
    if isinstance(value, bool):
        return "t" if value else "f"
    if value is None:
        return "n"
    return "{" if isinstance(value, dict) else "[" if isinstance(value, list) else str(value)[:1]


def unexpected(value: Any, wanted: str) -> ConfigError:
    """The reader met another kind of value than `wanted` (a JSON delimiter)."""
    return json_error(
        f"unexpected character: '{shown(value) if not isinstance(value, str) else chr(34)}'; expected '{wanted}'"
    )


def to_string(value: Any) -> str:
    """A string field: numbers and booleans are refused, quote them."""
    if type(value) is not str:
        raise unexpected(value, '"')
    return value


def to_bytes(value: Any) -> bytes:
    """A bytes field: base64, standard or URL alphabet, padding whole or absent."""
    text = to_string(value)
    if len(text) % 4 == 0:
        text = text.removesuffix("=").removesuffix("=")
    text = text.replace("-", "+").replace("_", "/")
    if _BASE64.match(text) is None or len(text) % 4 == 1:
        raise json_error("corrupt base64")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise json_error("corrupt base64") from error


def to_bool(value: Any) -> bool:
    """A bool field; quoted booleans pass, numbers do not."""
    if type(value) is bool:
        return value
    if type(value) is str:
        word = value.lower()
        if word in _TRUE:
            return True
        if word in _FALSE:
            return False
    raise json_error("expected 'true' or 'false'")


def _whole(value: float, bounds: tuple[float, float]) -> int:
    if not bounds[0] <= value <= bounds[1]:
        raise json_error("JSON number out of range for int")
    if value != int(value):
        raise json_error("expected integer, but JSON number had fractional part")
    return int(value)


def _integer(low: int, high: int) -> Callable[[Any], int]:
    """The converter of one integer type; `low` and `high` are its bounds."""
    as_double = _SIGNED_AS_DOUBLE if low else _UNSIGNED_AS_DOUBLE
    low64, high64 = (-(2**63), 2**63 - 1) if low else (0, 2**64 - 1)

    def to_int(value: Any) -> int:
        if type(value) is not int:
            value = parse(value)
        if not low <= value <= high:
            raise json_error("integer out of range")
        return value  # type: ignore[no-any-return]

    def parse(value: Any) -> int:
        if type(value) is float:
            return _whole(value, as_double)
        if type(value) is not str:
            raise json_error("expected number or string")
        if not _BLANK.isdisjoint(value):
            raise json_error("non-number characters in quoted number")
        # Longer digit strings are out of range for every type (and slow to convert).
        if len(value) <= 40 and _DIGITS.match(value) and low64 <= (number := int(value)) <= high64:
            return number
        number_as_double = float(value) if _FLOAT.match(value) else math.nan
        if not math.isfinite(number_as_double):
            raise json_error(f"invalid number: '{value}'")
        return _whole(number_as_double, as_double)

    return to_int


to_int32: Final = _integer(-(2**31), 2**31 - 1)
to_uint32: Final = _integer(0, 2**32 - 1)
to_int64: Final = _integer(-(2**63), 2**63 - 1)
to_uint64: Final = _integer(0, 2**64 - 1)


def to_double(value: Any) -> float:
    """A double field; quoted numbers, NaN and Infinity pass."""
    if type(value) is str:
        text = value.strip(" \t\n\v\f\r")
        if _FLOAT.match(text) is None:
            raise json_error("non-number characters in quoted number")
        return float(text)
    if type(value) is float or type(value) is int:
        return float(value)
    raise json_error("expected number or string")


def to_float(value: Any) -> float:
    """A 32-bit float field."""
    number = to_double(value)
    if math.isfinite(number) and abs(number) >= _FLOAT_MAX:
        raise json_error("float out of range")
    return number


def enum_converter(descriptor: Any) -> Callable[[Any], int]:
    """The converter of one enum type: names in any case, numbers (unknown ones too: PGV judges these)."""
    numbers: dict[str, int] = {}
    for value in descriptor.values:
        numbers.setdefault(value.name.lower(), value.number)

    def to_enum(value: Any) -> int:
        if type(value) is not str:
            return to_int32(value)
        number = numbers.get(value.lower())
        if number is not None:
            return number
        text = value.strip(" \t\n\v\f\r")
        if len(text) <= 12 and _DIGITS.match(text) and -(2**31) <= int(text) < 2**31:
            return int(text)
        raise UnknownEnumValueError(f"unknown enum value: '{value}'")

    return to_enum


def duration(value: Any) -> tuple[int, int]:
    """(seconds, nanoseconds) of a duration string: `1s`, `0.25s`, `-3s`."""
    text = to_string(value)
    match = _DURATION.match(text)
    if match is None:
        raise json_error(_duration_fault(text))
    sign, seconds_text, fraction = match.groups()
    seconds = int(seconds_text) if len(seconds_text) <= 20 else MAX_DURATION_SECONDS + 1
    if seconds > MAX_DURATION_SECONDS:
        raise json_error("duration out of range")
    nanos = int(fraction.ljust(9, "0")) if fraction else 0
    return (-seconds, -nanos) if sign else (seconds, nanos)


def _duration_fault(text: str) -> str:
    if re.match(r"[0-9-]", text) is None:
        return "duration must start with an integer"
    if re.match(r"-?[0-9]+(?![0-9-])", text) is None:
        return "duration had bad seconds"
    if re.match(r"-?[0-9]+\.(?![0-9]{1,9}(?![0-9]))", text):
        return "duration had bad nanoseconds"
    return "duration must end with a single 's'"


SCALAR_CONVERTERS: Final[dict[int, Callable[[Any], Any]]] = {
    FieldDescriptor.TYPE_STRING: to_string,
    FieldDescriptor.TYPE_BYTES: to_bytes,
    FieldDescriptor.TYPE_BOOL: to_bool,
    FieldDescriptor.TYPE_INT32: to_int32,
    FieldDescriptor.TYPE_SINT32: to_int32,
    FieldDescriptor.TYPE_SFIXED32: to_int32,
    FieldDescriptor.TYPE_UINT32: to_uint32,
    FieldDescriptor.TYPE_FIXED32: to_uint32,
    FieldDescriptor.TYPE_INT64: to_int64,
    FieldDescriptor.TYPE_SINT64: to_int64,
    FieldDescriptor.TYPE_SFIXED64: to_int64,
    FieldDescriptor.TYPE_UINT64: to_uint64,
    FieldDescriptor.TYPE_FIXED64: to_uint64,
    FieldDescriptor.TYPE_DOUBLE: to_double,
    FieldDescriptor.TYPE_FLOAT: to_float,
}


def converter(field: Any) -> Callable[[Any], Any]:
    """The converter of a scalar or enum field."""
    return enum_converter(field.enum_type) if field.enum_type is not None else SCALAR_CONVERTERS[field.type]
