"""Reads a message off the wire into plain values, in the order of the wire, without a message class.

What is there is there, even where it equals the default; of a singular field there may be one. Errors are those of
protobuf's JSON translation in C++.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

from proxeny.extensions.http_filters.grpc_json_transcoder.types import (
    DELIMITED,
    END_GROUP,
    FIXED_32,
    FIXED_64,
    START_GROUP,
    VARINT,
    Kind,
)

if TYPE_CHECKING:
    from proxeny.extensions.http_filters.grpc_json_transcoder.types import FieldType, MessageType, TypeRegistry

MOST_DEPTH: Final = 100
"""Messages within messages (protobuf's own limit)."""
MOST_LENGTH: Final = (1 << 31) - 1
NO_LIMIT: Final = 1 << 31
"""Where nothing but the end of the buffer limits."""
_FIXED: Final = {
    Kind.FIXED64: struct.Struct("<Q"),
    Kind.SFIXED64: struct.Struct("<q"),
    Kind.DOUBLE: struct.Struct("<d"),
    Kind.FIXED32: struct.Struct("<I"),
    Kind.SFIXED32: struct.Struct("<i"),
    Kind.FLOAT: struct.Struct("<f"),
}
_OF_32_BITS: Final = frozenset((Kind.INT32, Kind.SINT32, Kind.UINT32, Kind.ENUM))
_OF_64_BITS: Final = frozenset((Kind.INT64, Kind.SINT64, Kind.UINT64))
_WIDE: Final = frozenset((Kind.FIXED64, Kind.SFIXED64, Kind.DOUBLE))
_NARROW: Final = frozenset((Kind.FIXED32, Kind.SFIXED32, Kind.FLOAT))


class TranslationError(Exception):
    """What could not be translated: a status code of absl's and its message."""

    def __init__(self, message: bytes, code: str = "INVALID_ARGUMENT") -> None:
        super().__init__(message)
        self.message = message
        self.code = code


def _at_end() -> TranslationError:
    return TranslationError(b"unexpected EOF")


class Fields(dict[int, Any]):
    """The fields of a message by number: a value, or for repeated fields a list."""

    __slots__ = ("type",)

    def __init__(self, type_: MessageType) -> None:
        super().__init__()
        self.type = type_


class WireReader:
    """Reads messages of one buffer. Limits are positions, within the buffer or (of a length that lies) behind it."""

    __slots__ = ("_at", "_data", "_end", "_registry")

    def __init__(self, registry: TypeRegistry, data: bytes) -> None:
        self._registry = registry
        self._data = data
        self._at = 0
        self._end = len(data)

    def read(self, type_: MessageType, depth: int) -> Fields:
        """The whole buffer as one message, which has ``depth`` others around it."""
        return self._message(type_, NO_LIMIT, -1, depth)

    def _varint(self, limit: int) -> int:
        """The next number; -1 when it does not end, which leaves nothing up to the limit."""
        data, at = self._data, self._at
        end = limit if limit < self._end else self._end
        if at < end and data[at] < 128:
            self._at = at + 1
            return data[at]
        value = shift = 0
        while at < end and shift < 70:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                self._at = at
                return value & (1 << 64) - 1
            shift += 7
        self._at = at
        return -1

    def _message(self, type_: MessageType, limit: int, group: int, depth: int) -> Fields:
        fields = Fields(type_)
        if depth > MOST_DEPTH:
            raise TranslationError(b"allowed depth exceeded")
        by_number = type_.by_number
        unknown_groups: list[int] = []
        while True:
            tag = self._varint(limit)
            if tag < 0:
                return fields
            tag &= 0xFFFFFFFF
            if not tag:
                return fields
            number, wire = tag >> 3, tag & 7
            if wire == END_GROUP:
                inner = unknown_groups.pop() if unknown_groups else group
                if number != inner:
                    raise _unbalanced(number, inner)
                if inner == group:
                    return fields
                continue
            field = None if unknown_groups else by_number.get(number)
            if field is None:
                if wire == START_GROUP:
                    unknown_groups.append(number)
                else:
                    self._skip(wire, limit)
            elif wire == VARINT:
                _insert(fields, field, self._number(field, limit))
            elif wire == DELIMITED:
                self._delimited(fields, field, limit, depth)
            elif wire in (FIXED_64, FIXED_32):
                _insert(fields, field, self._fixed(field, wire, limit))
            elif wire == START_GROUP:
                self._group(fields, field, limit, depth)
            else:
                raise TranslationError(b"unknown wire type: %d" % wire)

    def _skip(self, wire: int, limit: int) -> None:
        if wire == VARINT:
            if self._varint(limit) < 0:
                raise _at_end()
        elif wire == DELIMITED:
            length = self._varint(limit)
            if length < 0:
                raise _at_end()
            self._at += length & 0xFFFFFFFF
            if self._at > min(limit, self._end):
                raise TranslationError(b"malformed length-delimited field")
        elif wire in (FIXED_64, FIXED_32):
            self._at += 8 if wire == FIXED_64 else 4
            if self._at > min(limit, self._end):
                raise _at_end()
        else:
            raise TranslationError(b"unknown wire type: %d" % wire)

    def _number(self, field: FieldType, limit: int) -> int | bool:
        kind = field.kind
        if kind == Kind.BOOL:
            if self._at >= min(limit, self._end):
                raise _at_end()
            byte = self._data[self._at]
            if byte > 1:
                raise TranslationError(b"bad value for bool: \\x%02x" % byte)
            self._at += 1
            return byte == 1
        narrow = kind in _OF_32_BITS
        if not narrow and kind not in _OF_64_BITS:
            raise TranslationError(b"field type %d (number %d) does not support varint fields" % (kind, field.number))
        value = self._varint(limit)
        if value < 0:
            raise _at_end()
        if narrow:
            value &= 0xFFFFFFFF
        if kind in (Kind.SINT32, Kind.SINT64):
            return value >> 1 ^ -(value & 1)
        bits = 32 if narrow else 64
        if kind not in (Kind.UINT32, Kind.UINT64) and value >> (bits - 1):
            value -= 1 << bits
        return value

    def _fixed(self, field: FieldType, wire: int, limit: int) -> Any:
        if field.kind not in (_WIDE if wire == FIXED_64 else _NARROW):
            words = b"type 64-bit fields" if wire == FIXED_64 else b"32-bit fields"
            raise TranslationError(b"field type %d (number %d) does not support %b" % (field.kind, field.number, words))
        layout = _FIXED[Kind(field.kind)]
        at = self._at
        if at + layout.size > min(limit, self._end):
            raise _at_end()
        self._at = at + layout.size
        return layout.unpack_from(self._data, at)[0]

    def _delimited(self, fields: Fields, field: FieldType, limit: int, depth: int) -> None:
        # Without a length there is nothing; a length that leads out of the message around ends with that.
        length = max(self._varint(limit), 0) & 0xFFFFFFFF
        stop = limit if length > MOST_LENGTH else min(limit, self._at + length)
        kind = field.kind
        if kind in (Kind.STRING, Kind.BYTES):
            if stop > self._end:
                raise _at_end()
            data = self._data[self._at : stop]
            self._at = stop
            if kind == Kind.STRING and fields.type.is_proto3 and not _is_utf8(data):
                raise TranslationError(b"proto3 strings must be UTF-8")
            _insert(fields, field, data)
        elif kind == Kind.MESSAGE:
            type_ = self._registry.message(field.message_name)
            assert type_ is not None
            _insert(fields, field, self._message(type_, stop, -1, depth + 1))
        elif stop != NO_LIMIT:
            self._packed(fields, field, stop)

    def _packed(self, fields: Fields, field: FieldType, stop: int) -> None:
        kind = field.kind
        while self._at < stop:
            if kind in _WIDE:
                value = self._fixed(field, FIXED_64, stop)
            elif kind in _NARROW:
                value = self._fixed(field, FIXED_32, stop)
            elif kind == Kind.GROUP:
                raise TranslationError(
                    b"field type %d (number %d) does not support type 2 records" % (kind, field.number)
                )
            else:
                value = self._number(field, stop)
            _insert(fields, field, value)

    def _group(self, fields: Fields, field: FieldType, limit: int, depth: int) -> None:
        if field.kind != Kind.GROUP:
            raise TranslationError(b"field number %d is not a group" % field.number)
        type_ = self._registry.message(field.message_name)
        assert type_ is not None
        _insert(fields, field, self._message(type_, limit, field.number, depth + 1))


def _unbalanced(number: int, group: int) -> TranslationError:
    if group < 0:
        return TranslationError(b"attempted to close group %d before SGROUP tag" % number)
    return TranslationError(b"attempted to close group %d while inside group %d" % (number, group))


def _is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _insert(fields: Fields, field: FieldType, value: Any) -> None:
    number = field.number
    if field.repeated:
        there = fields.get(number)
        if there is None:
            fields[number] = [value]
        else:
            there.append(value)
    elif number in fields:
        raise TranslationError(b"repeated entries for singular field number %d" % number)
    else:
        fields[number] = value
