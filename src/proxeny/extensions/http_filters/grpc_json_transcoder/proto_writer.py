"""Writes what a parser tells as a protobuf message: objects are messages, lists repeated fields.

Unknown fields are left out; errors are kept by an ErrorListener (the last one counts), with the path of the field. A
field that cannot be written is skipped with all below it (``_invalid_depth``).
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from proxeny.extensions.http_filters.grpc_json_transcoder.types import Kind, varint
from proxeny.extensions.http_filters.grpc_json_transcoder.values import Unconvertible, shown, to_bytes, to_enum

if TYPE_CHECKING:
    from proxeny.extensions.http_filters.grpc_json_transcoder.any_writer import AnyWriter
    from proxeny.extensions.http_filters.grpc_json_transcoder.json_stream import Scalar
    from proxeny.extensions.http_filters.grpc_json_transcoder.types import FieldType, MessageType, TypeRegistry

_SAFE_NAME: Final = re.compile(rb"[A-Za-z0-9_]+")


class ErrorListener:
    """Keeps the last error."""

    __slots__ = ("error",)

    def __init__(self) -> None:
        self.error: bytes | None = None


class ItemType(IntEnum):
    """What an element is to JSON."""

    MESSAGE = 0
    MAP = 1
    ANY = 2


MESSAGE_ITEM: Final = ItemType.MESSAGE


class Element:
    """A message or list that is being written; a list writes into the message that holds it."""

    __slots__ = ("any_writer", "array_index", "data", "field", "is_list", "is_placeholder", "item_type", "map_keys",
                 "missing", "parent", "taken", "type")  # fmt: skip

    def __init__(self, parent: Element | None, field: FieldType | None, type_: MessageType, is_list: bool) -> None:
        self.parent = parent
        self.field = field
        self.type = type_
        self.is_list = is_list
        self.data: bytearray = parent.data if is_list and parent is not None else bytearray()
        self.array_index = 0 if is_list else -1
        self.taken = 0
        """Bits: which oneofs are set."""
        self.missing: set[FieldType] | None = None
        self.item_type = MESSAGE_ITEM
        self.is_placeholder = False
        self.map_keys: set[bytes] | None = None
        self.any_writer: AnyWriter | None = None
        if not is_list and field is not None and parent is not None:
            if field.repeated:
                if parent.array_index >= 0:
                    parent.array_index += 1
            elif parent.missing:
                parent.missing.discard(field)
        is_message = not is_list and (field is None or field.kind == Kind.MESSAGE)
        if is_message and not type_.is_proto3 and type_.required:
            self.missing = set(type_.required)

    def location(self) -> bytes:
        """The path of the field, as errors show it."""
        chain: list[Element] = []
        element: Element | None = self
        while element is not None and element.parent is not None:
            chain.append(element)
            element = element.parent
        path = b""
        for element in reversed(chain):
            field = element.field
            assert field is not None and element.parent is not None
            if not field.repeated or element.parent.field is not field:
                if _SAFE_NAME.fullmatch(field.name):
                    path = path + b"." + field.name if path else field.name
                else:
                    path += b'["' + field.name + b'"]'
            if field.repeated and element.array_index > 0:
                path += b"[%d]" % (element.array_index - 1)
        return path


class ProtoWriter:
    """Writes one message of ``root_type``."""

    __slots__ = ("_any_case", "_element", "_invalid_depth", "_registry", "_root_type", "data", "done", "listener")

    def __init__(self, registry: TypeRegistry, root_type: MessageType, listener: ErrorListener, any_case: bool) -> None:
        self._registry = registry
        self._root_type = root_type
        self.listener = listener
        self._any_case = any_case
        self._element: Element | None = None
        self._invalid_depth = 0
        self.data = b""
        self.done = False

    # Errors.

    def _location(self) -> bytes:
        return b"" if self._element is None else self._element.location()

    def invalid_name(self, message: bytes) -> None:
        """A name that cannot be."""
        self.listener.error = self._location() + b": " + message

    def invalid_value(self, type_name: bytes, value: bytes) -> None:
        """A value that cannot be."""
        self.listener.error = self._location() + b": invalid value " + value + b" for type " + type_name

    # Writing, as the wire has it.

    def write_start_object(self, name: bytes) -> None:
        """Begin the root, or the message of a field."""
        if self._element is None:
            if name:
                self.invalid_name(b"Root element should not be named.")
            self._element = Element(None, None, self._root_type, False)
            return
        field = self._begin_named(name, False)
        if field is None:
            return
        type_ = self._type_for(field, name)
        if type_ is not None:
            self._element = Element(self._element, field, type_, False)

    def write_end_object(self) -> None:
        """End the innermost message; behind the root all is done."""
        if self._invalid_depth:
            self._invalid_depth -= 1
            return
        element = self._element
        if element is not None:
            self._pop(element)
        if self._element is None:
            self.data = b"" if element is None else bytes(element.data)
            self.done = True

    def write_start_list(self, name: bytes) -> None:
        """Begin a repeated field."""
        field = self._begin_named(name, True)
        if field is None:
            return
        type_ = self._type_for(field, name)
        if type_ is not None:
            self._element = Element(self._element, field, type_, True)

    def write_end_list(self) -> None:
        """End it."""
        if self._invalid_depth:
            self._invalid_depth -= 1
        elif self._element is not None:
            self._pop(self._element)

    def write_value(self, name: bytes, value: Scalar) -> None:
        """A scalar field."""
        if self._invalid_depth:
            return
        field = self._lookup(name)
        if field is None or not self._takes_oneof(field, name):
            return
        element = self._element
        assert element is not None
        if not element.type.is_proto3:
            # For the index in error paths, and for required fields.
            if field.repeated and element.array_index >= 0:
                element.array_index += 1
            elif element.missing:
                element.missing.discard(field)
        try:
            data = self._encode(field, value)
        except Unconvertible as error:
            self._refuse_value(element, field, error.text)
            return
        element.data += field.tag
        element.data += data

    def _encode(self, field: FieldType, value: Scalar) -> bytes:
        encode = field.encode
        if encode is not None:
            return encode(value)
        if field.kind == Kind.BYTES:
            data = to_bytes(value)
            return varint(len(data)) + data
        if field.enum is not None:
            return varint(to_enum(value, field.enum, self._any_case) & (1 << 64) - 1)
        raise Unconvertible(shown(value))

    def _refuse_value(self, element: Element, field: FieldType, text: bytes) -> None:
        """The error, told from where the value would have been."""
        within = element.type
        if field.message_name:
            within = self._registry.message(field.message_name) or within
        before = element.array_index
        if not element.type.is_proto3 and field.repeated and before > 0:
            element.array_index -= 1
        self._element = Element(element, field, within, False)
        self.invalid_value(field.type_url or b"TYPE_" + Kind(field.kind).name.encode(), text)
        self._pop(self._element)

    def _pop(self, element: Element) -> None:
        if element.missing:
            for missing in element.missing:
                self.listener.error = self._location() + b": missing field " + missing.name
        parent = self._element = element.parent
        if parent is None or element.is_list:
            return
        field = element.field
        assert field is not None
        if field.kind == Kind.MESSAGE:
            parent.data += field.tag
            parent.data += varint(len(element.data))
            parent.data += element.data
        elif field.kind == Kind.GROUP:
            parent.data += field.tag
            parent.data += element.data

    def _begin_named(self, name: bytes, is_list: bool) -> FieldType | None:
        if self._invalid_depth:
            self._invalid_depth += 1
            return None
        field = self._lookup(name)
        if field is None:
            self._invalid_depth += 1
            return None
        if is_list and not field.repeated:
            self._invalid_depth += 1
            self.invalid_name(b"Proto field is not repeating, cannot start list.")
            return None
        return field

    def _type_for(self, field: FieldType, name: bytes) -> MessageType | None:
        """The type of what is inside the field."""
        assert self._element is not None
        if not self._takes_oneof(field, name):
            self._invalid_depth += 1
            return None
        if not field.message_name:
            return self._element.type
        found = self._registry.message(field.message_name)
        if found is None:
            self._invalid_depth += 1
            self.invalid_name(b"Missing descriptor for field: " + field.type_url)
        return found

    def _lookup(self, name: bytes) -> FieldType | None:
        element = self._element
        if element is None:
            self.invalid_name(b"Root element must be a message.")
            return None
        if name:
            return element.type.find(name)
        field = element.field
        if field is None or not field.repeated:
            self.invalid_name(b"Proto fields must have a name.")
            return None
        return field

    def _takes_oneof(self, field: FieldType, name: bytes) -> bool:
        element = self._element
        if field.oneof < 0 or element is None:
            return True
        bit = 1 << field.oneof
        if element.taken & bit:
            oneof = element.type.oneofs[field.oneof]
            self.invalid_value(b"oneof", b"oneof field '" + oneof + b"' is already set. Cannot set '" + name + b"'")
            return False
        element.taken |= bit
        return True
