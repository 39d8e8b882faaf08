"""Writes a message as JSON, byte for byte as protobuf's C++ does: fields by number, 64-bit numbers as strings."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final

from proxeny.extensions.http_filters.grpc_json_transcoder.json_text import quoted
from proxeny.extensions.http_filters.grpc_json_transcoder.json_types import SPECIAL_TYPES
from proxeny.extensions.http_filters.grpc_json_transcoder.types import Kind
from proxeny.extensions.http_filters.grpc_json_transcoder.values import double_text, float_text
from proxeny.extensions.http_filters.grpc_json_transcoder.well_known import NULL_VALUE_URL, STRUCT_VALUE
from proxeny.extensions.http_filters.grpc_json_transcoder.wire import Fields, WireReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.extensions.http_filters.grpc_json_transcoder.types import FieldType, MessageType, TypeRegistry

_QUOTED_NUMBERS: Final = frozenset(
    (Kind.INT64, Kind.UINT64, Kind.SINT64, Kind.FIXED64, Kind.SFIXED64),
)


def _number(value: bytes) -> bytes:
    return b'"' + value + b'"' if value[-1:] in b"yN" else value


_WRITERS: Final[dict[int, Callable[[Any], bytes]]] = {
    Kind.DOUBLE: lambda value: _number(double_text(value)),
    Kind.FLOAT: lambda value: _number(float_text(value)),
    Kind.BOOL: lambda value: b"true" if value else b"false",
    Kind.STRING: quoted,
    Kind.BYTES: lambda value: b'"' + b64encode(value) + b'"',
    **dict.fromkeys((Kind.INT32, Kind.UINT32, Kind.SINT32, Kind.FIXED32, Kind.SFIXED32), lambda value: b"%d" % value),
    **dict.fromkeys(_QUOTED_NUMBERS, lambda value: b'"%d"' % value),
}
"""All but enums and messages."""


class JsonOptions:
    """``GrpcJsonTranscoder.PrintOptions``, as far as a message is concerned."""

    __slots__ = ("add_whitespace", "always_print", "enums_as_ints", "proto_names")

    def __init__(self, config: Any) -> None:
        self.add_whitespace: bool = config.add_whitespace
        self.always_print: bool = config.always_print_primitive_fields
        self.enums_as_ints: bool = config.always_print_enums_as_ints
        self.proto_names: bool = config.preserve_proto_field_names


class JsonWriter:
    """Writes one message."""

    __slots__ = ("_depth", "_levels", "_options", "_out", "_registry")

    def __init__(self, registry: TypeRegistry, options: JsonOptions) -> None:
        self._registry = registry
        self._options = options
        self._out: list[bytes] = []
        self._depth = 0
        self._levels = 0
        """Messages around the one that is written: what is encoded in an ``Any`` counts on from there."""

    def write(self, type_: MessageType, data: bytes) -> bytes:
        """The message's JSON; TranslationError where it has none."""
        self.message(WireReader(self._registry, data).read(type_, 0))
        if self._options.add_whitespace:
            self._out.append(b"\n")
        return b"".join(self._out)

    def put(self, data: bytes) -> None:
        """Text as it is."""
        self._out.append(data)

    def text(self, data: bytes) -> None:
        """A JSON string."""
        self._out.append(quoted(data))

    def open(self, bracket: bytes) -> None:
        """Begin an object or list."""
        self._out.append(bracket)
        self._depth += 1

    def close(self, bracket: bytes, empty: bool) -> None:
        """End it."""
        self._depth -= 1
        if not empty:
            self._new_line()
        self._out.append(bracket)

    def _new_line(self) -> None:
        if self._options.add_whitespace:
            self._out.append(b"\n" + b" " * self._depth)

    def separate(self, first: bool) -> None:
        """Before each member."""
        if not first:
            self._out.append(b",")
        self._new_line()

    def name(self, name: bytes) -> None:
        """A member's name, quoted."""
        self._out.append(name + b": " if self._options.add_whitespace else name + b":")

    def message(self, fields: Fields) -> None:
        """A message in its place."""
        self._levels += 1
        special = SPECIAL_TYPES.get(fields.type.name)
        if special is not None:
            special(self, fields)
        else:
            self.open(b"{")
            empty = self.members(fields, True)
            self.close(b"}", empty)
        self._levels -= 1

    def nested(self, type_name: str, data: bytes) -> Fields | None:
        """A message that stands encoded in another; None when its type is unknown."""
        type_ = self._registry.message(type_name)
        return None if type_ is None else WireReader(self._registry, data).read(type_, self._levels)

    def members(self, fields: Fields, first: bool) -> bool:
        """The fields that are there, and those that always are; whether the object is still empty."""
        always, proto_names = self._options.always_print, self._options.proto_names
        for field in fields.type.fields:
            value = fields.get(field.number)
            if value is None:
                if not always or (field.has_presence and not field.repeated):
                    continue
            elif field.message_name == STRUCT_VALUE and not field.repeated and not value:
                # Neither null nor anything else.
                continue
            self.separate(first)
            first = False
            self.name(field.quoted_proto_name if proto_names else field.quoted_json_name)
            if field.is_map:
                self.map(field, value or ())
            elif field.repeated:
                self.list(field, value or ())
            else:
                self.value(field, value)
        return first

    def list(self, field: FieldType, elements: Any) -> None:
        """A repeated field."""
        self.open(b"[")
        first = True
        for element in elements:
            if field.message_name == STRUCT_VALUE and not element:
                continue
            self.separate(first)
            first = False
            self.value(field, element)
        self.close(b"]", first)

    def map(self, field: FieldType, entries: Any) -> None:
        """A map, in the order of the wire."""
        self.open(b"{")
        first = True
        for entry in entries:
            key_field, value_field = entry.type.by_number[1], entry.type.by_number[2]
            value = entry.get(2)
            if value_field.message_name == STRUCT_VALUE and not value:
                continue
            self.separate(first)
            first = False
            key = _WRITERS[key_field.kind](_zero(key_field) if entry.get(1) is None else entry[1])
            self.name(key if key[:1] == b'"' else b'"' + key + b'"')
            if value is None and value_field.message_name:
                type_ = self._registry.message(value_field.message_name)
                assert type_ is not None
                value = Fields(type_)
            self.value(value_field, value)
        self.close(b"}", first)

    def value(self, field: FieldType, value: Any) -> None:
        """One value; None: the default."""
        if field.message_name:
            self.message(value)
            return
        if field.enum is not None:
            self._enum(field, value or 0)
            return
        self._out.append(_WRITERS[field.kind](_zero(field) if value is None else value))

    def _enum(self, field: FieldType, value: int) -> None:
        assert field.enum is not None
        if field.type_url == NULL_VALUE_URL:
            self._out.append(b"null")
            return
        name = None if self._options.enums_as_ints else field.enum.quoted_by_number.get(value)
        self._out.append(b"%d" % value if name is None else name)


def _zero(field: FieldType) -> Any:
    return b"" if field.kind in (Kind.STRING, Kind.BYTES) else 0
