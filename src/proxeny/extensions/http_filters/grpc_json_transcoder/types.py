"""Message types as the translation needs them, compiled from a descriptor pool: names to fields, fields to encoders.

Nothing of protobuf is touched afterwards. A type refers to the types of its fields through the registry, so that types
which contain each other are no cycle of objects.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from proxeny.extensions.http_filters.grpc_json_transcoder import values
from proxeny.extensions.http_filters.grpc_json_transcoder.json_text import quoted
from proxeny.extensions.http_filters.grpc_json_transcoder.well_known import RENDERERS

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
    from google.protobuf.descriptor_pool import DescriptorPool

URL_PREFIX: Final = b"type.googleapis.com/"


class Kind(IntEnum):
    """``google.protobuf.FieldDescriptorProto.Type``."""

    DOUBLE = 1
    FLOAT = 2
    INT64 = 3
    UINT64 = 4
    INT32 = 5
    FIXED64 = 6
    FIXED32 = 7
    BOOL = 8
    STRING = 9
    GROUP = 10
    MESSAGE = 11
    BYTES = 12
    UINT32 = 13
    ENUM = 14
    SFIXED32 = 15
    SFIXED64 = 16
    SINT32 = 17
    SINT64 = 18


VARINT: Final = 0
FIXED_64: Final = 1
DELIMITED: Final = 2
START_GROUP: Final = 3
END_GROUP: Final = 4
FIXED_32: Final = 5
_LENGTHS: Final = (Kind.STRING, Kind.BYTES, Kind.MESSAGE)
_WIDE: Final = (Kind.DOUBLE, Kind.FIXED64, Kind.SFIXED64)
_NARROW: Final = (Kind.FLOAT, Kind.FIXED32, Kind.SFIXED32)
_I32: Final = (-(1 << 31), (1 << 31) - 1)
_U32: Final = (0, (1 << 32) - 1)
_I64: Final = (-(1 << 63), (1 << 63) - 1)
_U64: Final = (0, (1 << 64) - 1)
_VARINTS: Final = tuple(bytes((value,)) for value in range(128))


def varint(value: int) -> bytes:
    """A number from 0 on, in base 128."""
    if value < 128:
        return _VARINTS[value]
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def wire_type(kind: int) -> int:
    """How fields of a kind are told apart from others on the wire."""
    if kind in _LENGTHS:
        return DELIMITED
    if kind in _WIDE:
        return FIXED_64
    if kind in _NARROW:
        return FIXED_32
    return START_GROUP if kind == Kind.GROUP else VARINT


def _integer(bounds: tuple[int, int]) -> Callable[[Any], bytes]:
    low, high = bounds
    return lambda value: varint(values.to_integer(value, low, high) & _U64[1])


def _zigzag(bounds: tuple[int, int]) -> Callable[[Any], bytes]:
    low, high = bounds

    def encode(value: Any) -> bytes:
        number = values.to_integer(value, low, high)
        return varint(number << 1 if number >= 0 else (-number << 1) - 1)

    return encode


def _fixed(bounds: tuple[int, int], layout: str) -> Callable[[Any], bytes]:
    low, high = bounds
    pack = struct.Struct(layout).pack
    return lambda value: pack(values.to_integer(value, low, high))


def _string(value: Any) -> bytes:
    text = values.to_string(value)
    return varint(len(text)) + text


_PACK_DOUBLE: Final = struct.Struct("<d").pack
_PACK_FLOAT: Final = struct.Struct("<f").pack
_ENCODERS: Final[dict[int, Callable[[Any], bytes]]] = {
    Kind.DOUBLE: lambda value: _PACK_DOUBLE(values.to_double(value)),
    Kind.FLOAT: lambda value: _PACK_FLOAT(values.to_float(value)),
    Kind.INT64: _integer(_I64),
    Kind.UINT64: _integer(_U64),
    Kind.INT32: _integer(_I32),
    Kind.UINT32: _integer(_U32),
    Kind.FIXED64: _fixed(_U64, "<Q"),
    Kind.FIXED32: _fixed(_U32, "<I"),
    Kind.SFIXED64: _fixed(_I64, "<q"),
    Kind.SFIXED32: _fixed(_I32, "<i"),
    Kind.SINT32: _zigzag(_I32),
    Kind.SINT64: _zigzag(_I64),
    Kind.BOOL: lambda value: b"\1" if values.to_bool(value) else b"\0",
    Kind.STRING: _string,
}
"""All but enums, bytes and messages."""


class EnumType:
    """An enum: its values both ways; of several names for a number the first counts."""

    __slots__ = ("number_by_name", "quoted_by_number", "url")

    def __init__(self, descriptor: EnumDescriptor) -> None:
        self.url = URL_PREFIX + descriptor.full_name.encode()
        self.number_by_name: dict[bytes, int] = {}
        self.quoted_by_number: dict[int, bytes] = {}
        for value in descriptor.values:
            name = value.name.encode()
            self.number_by_name[name] = value.number
            self.quoted_by_number.setdefault(value.number, quoted(name))


class FieldType:
    """A field of a message type."""

    __slots__ = (
        "encode", "enum", "has_presence", "is_map", "is_required", "kind", "message_name", "name",
        "number", "oneof", "quoted_json_name", "quoted_proto_name", "render", "repeated", "tag", "type_url",
        "wire_type",
    )  # fmt: skip

    def __init__(self, descriptor: FieldDescriptor, enum: EnumType | None) -> None:
        self.name = descriptor.name.encode()
        json_name = descriptor.json_name.encode()
        if self.name[:1].isupper() and not json_name[:1].isupper():
            # What names of types in protobuf's C++ say, where descriptors say otherwise.
            json_name = self.name
        self.quoted_json_name = quoted(json_name)
        self.quoted_proto_name = quoted(self.name)
        self.number: int = descriptor.number
        # Groups are told from messages by this only; delimited encoding of editions reads as a group as well.
        self.kind: int = descriptor.type
        self.repeated: bool = descriptor.is_repeated
        self.is_required: bool = descriptor.is_required
        self.has_presence: bool = descriptor.has_presence
        self.wire_type = wire_type(self.kind)
        self.tag = varint(self.number << 3 | self.wire_type)
        self.encode = _ENCODERS.get(self.kind)
        containing = descriptor.containing_oneof
        self.oneof: int = -1 if containing is None else containing.index
        """Which of the message's oneofs it is in (an optional field is alone in one); -1: in none."""
        self.enum = enum
        message = descriptor.message_type
        self.message_name = "" if message is None else message.full_name
        self.is_map = bool(message is not None and self.repeated and message.GetOptions().map_entry)
        self.type_url = b"" if enum is None else enum.url
        if message is not None:
            self.type_url = URL_PREFIX + message.full_name.encode()
        self.render = RENDERERS.get(self.type_url)
        """Writes the message from a scalar, where JSON has one for it."""


class MessageType:
    """A message type."""

    __slots__ = ("_by_name", "by_number", "fields", "is_proto3", "name", "oneofs", "required")

    def __init__(self, descriptor: Descriptor, is_proto3: bool, enums: Callable[[EnumDescriptor], EnumType]) -> None:
        self.name: str = descriptor.full_name
        self.oneofs = tuple(oneof.name.encode() for oneof in descriptor.oneofs)
        self.fields = tuple(
            FieldType(field, None if field.enum_type is None else enums(field.enum_type))
            for field in sorted(descriptor.fields, key=lambda field: int(field.number))
        )
        self.by_number = {field.number: field for field in self.fields}
        self.required = frozenset(field for field in self.fields if field.is_required)
        self.is_proto3 = is_proto3
        by_proto_name = {field.name: field for field in self.fields}
        by_json_name: dict[bytes, FieldType] = {}
        for field in descriptor.fields:
            by_json_name.setdefault(field.json_name.encode(), by_proto_name[field.name.encode()])
        self._by_name = {**by_proto_name, **by_json_name}

    def find(self, name: bytes) -> FieldType | None:
        """The field of a JSON name or, behind those, of a proto name."""
        return self._by_name.get(name)


class TypeRegistry:
    """The types of a pool, compiled when they are first asked for."""

    __slots__ = ("_enums", "_pool", "_proto3_files", "_types")

    def __init__(self, pool: DescriptorPool, proto3_files: frozenset[str]) -> None:
        self._pool = pool
        self._proto3_files = proto3_files
        self._types: dict[str, MessageType] = {}
        self._enums: dict[str, EnumType] = {}

    def message(self, name: str) -> MessageType | None:
        """The type of a full name; None when the pool does not know it."""
        found = self._types.get(name)
        return self._compile(name) if found is None else found

    def _compile(self, name: str) -> MessageType | None:
        try:
            descriptor = self._pool.FindMessageTypeByName(name)
        except KeyError:
            # Not remembered: peers name types at will.
            return None
        found = self._types[name] = MessageType(descriptor, descriptor.file.name in self._proto3_files, self._enum)
        return found

    def compile_all(self, name: str) -> None:
        """Compile the type and all that it can contain, so that no request has to."""
        waiting = [name]
        while waiting:
            name = waiting.pop()
            if name in self._types:
                continue
            compiled = self._compile(name)
            if compiled is not None:
                waiting += [field.message_name for field in compiled.fields if field.message_name]

    def _enum(self, descriptor: EnumDescriptor) -> EnumType:
        found = self._enums.get(descriptor.full_name)
        if found is None:
            found = self._enums[descriptor.full_name] = EnumType(descriptor)
        return found
