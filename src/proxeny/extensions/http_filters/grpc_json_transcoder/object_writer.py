"""Writes JSON as a protobuf message: what ``proto_writer`` does, and the types that look different in JSON.

Maps are objects, ``google.protobuf.Struct`` is any object, ``Value`` anything, ``ListValue`` a list, ``Any`` an object
with ``@type``. Where JSON has one object and protobuf has several, the inner ones are *placeholders*: they end
together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxeny.extensions.http_filters.grpc_json_transcoder.any_writer import AnyWriter
from proxeny.extensions.http_filters.grpc_json_transcoder.proto_writer import Element, ItemType, ProtoWriter
from proxeny.extensions.http_filters.grpc_json_transcoder.types import URL_PREFIX, Kind
from proxeny.extensions.http_filters.grpc_json_transcoder.well_known import (
    ANY,
    LIST_VALUE,
    NULL_VALUE_URL,
    RENDERERS,
    STRUCT,
    STRUCT_VALUE,
    STRUCT_VALUE_URL,
    Refused,
)

if TYPE_CHECKING:
    from proxeny.extensions.http_filters.grpc_json_transcoder.json_stream import Scalar
    from proxeny.extensions.http_filters.grpc_json_transcoder.proto_writer import ErrorListener
    from proxeny.extensions.http_filters.grpc_json_transcoder.types import FieldType, MessageType, TypeRegistry

MESSAGE = ItemType.MESSAGE
MAP = ItemType.MAP
ANY_ITEM = ItemType.ANY


class ProtoObjectWriter(ProtoWriter):
    """An ObjectWriter (``json_stream``) for one message."""

    __slots__ = ("_current",)

    def __init__(
        self,
        registry: TypeRegistry,
        root_type: MessageType,
        listener: ErrorListener,
        any_case: bool = False,
    ) -> None:
        super().__init__(registry, root_type, listener, any_case)
        self._current: Element | None = None
        """The innermost element that JSON opened; elements which renderers open are none."""

    @property
    def registry(self) -> TypeRegistry:
        """Where types are found."""
        return self._registry

    @property
    def root_name(self) -> str:
        """The full name of the message's type."""
        return self._root_type.name

    def nested(self, type_: MessageType) -> ProtoObjectWriter:
        """A writer for what an ``Any`` holds."""
        return ProtoObjectWriter(self._registry, type_, self.listener, self._any_case)

    def write_raw(self, data: bytes) -> None:
        """Encoded fields of the innermost message."""
        assert self._element is not None
        self._element.data += data

    # Elements.

    def _push(self, name: bytes, item: ItemType, placeholder: bool, is_list: bool) -> None:
        if is_list:
            self.write_start_list(name)
        else:
            self.write_start_object(name)
        if not self._invalid_depth:
            self._adopt(item, placeholder)

    def _adopt(self, item: ItemType, placeholder: bool = False) -> None:
        """The element that was begun is JSON's."""
        element = self._element
        assert element is not None
        element.item_type = item
        element.is_placeholder = placeholder
        if item is ANY_ITEM:
            element.any_writer = AnyWriter(self)
        self._current = element

    def _pop_items(self) -> None:
        while self._current is not None and self._current.is_placeholder:
            self._pop_item(self._current)
        if self._current is not None:
            self._pop_item(self._current)

    def _pop_item(self, element: Element) -> None:
        if element.is_list:
            self.write_end_list()
        else:
            self.write_end_object()
        self._current = element.parent

    def _push_struct_fields(self) -> None:
        self._push(b"fields", MAP, True, True)

    def _push_struct_of_value(self) -> None:
        self._push(b"struct_value", MESSAGE, True, False)
        self._push_struct_fields()

    def _push_list_of_value(self) -> None:
        self._push(b"list_value", MESSAGE, True, False)
        self._push(b"values", MESSAGE, True, True)

    def _field_name(self) -> str:
        """The message type of the field whose element is open."""
        element = self._element
        return "" if element is None or element.field is None else element.field.message_name

    def _is_new_key(self, name: bytes) -> bool:
        element = self._current
        assert element is not None
        if element.map_keys is None:
            element.map_keys = set()
        elif name in element.map_keys:
            self.invalid_name(b"Repeated map key: '" + name + b"' is already set.")
            return False
        element.map_keys.add(name)
        return True

    # Objects.

    def start_object(self, name: bytes) -> None:
        """See ObjectWriter."""
        if self._invalid_depth:
            self._invalid_depth += 1
            return
        current = self._current
        if current is None:
            self._start_root_object(name)
        elif current.any_writer is not None:
            current.any_writer.start_object(name)
        elif current.item_type is MAP:
            self._start_object_in_map(name)
        else:
            field = self._begin_named(name, False)
            if field is not None:
                self._start_object_of_field(name, field)

    def _start_root_object(self, name: bytes) -> None:
        type_name = self._root_type.name
        self.write_start_object(name)
        self._adopt(ANY_ITEM if type_name == ANY else MESSAGE)
        if type_name == STRUCT:
            self._push_struct_fields()
        elif type_name == STRUCT_VALUE:
            self._push_struct_of_value()
        elif type_name == LIST_VALUE:
            self.invalid_value(LIST_VALUE.encode(), b"Cannot start root message with ListValue.")

    def _start_object_in_map(self, name: bytes) -> None:
        if not self._is_new_key(name):
            self._invalid_depth += 1
            return
        self._push(b"", MESSAGE, False, False)
        self.write_value(b"key", name)
        value = self._lookup(b"value")
        self._push(b"value", ANY_ITEM if value is not None and value.message_name == ANY else MESSAGE, True, False)
        if self._invalid_depth:
            return
        inside = self._field_name()
        if inside == STRUCT:
            self._push_struct_fields()
        elif inside == STRUCT_VALUE:
            self._push_struct_of_value()

    def _start_object_of_field(self, name: bytes, field: FieldType) -> None:
        inside = field.message_name
        if field.is_map:
            self._push(name, MAP, False, True)
        elif inside == STRUCT:
            self._push(name, MESSAGE, False, False)
            self._push_struct_fields()
        elif inside == STRUCT_VALUE:
            self._push(name, MESSAGE, False, False)
            self._push_struct_of_value()
        elif field.kind not in (Kind.MESSAGE, Kind.GROUP):
            self._invalid_depth += 1
            self.invalid_value(field.name, b"Starting an object on a scalar field")
        else:
            self._push(name, ANY_ITEM if inside == ANY else MESSAGE, False, False)

    def end_object(self) -> None:
        """See ObjectWriter."""
        if self._invalid_depth:
            self._invalid_depth -= 1
        elif self._current is not None:
            any_writer = self._current.any_writer
            if any_writer is None or not any_writer.end_object():
                self._pop_items()

    # Lists.

    def start_list(self, name: bytes) -> None:
        """See ObjectWriter."""
        if self._invalid_depth:
            self._invalid_depth += 1
            return
        current = self._current
        if current is None:
            self._start_root_list(name)
        elif current.any_writer is not None:
            current.any_writer.start_list(name)
        elif current.item_type is MAP:
            self._start_list_in_map(name)
        elif not name:
            self._start_list_in_list()
        else:
            self._start_list_of_field(name)

    def _start_root_list(self, name: bytes) -> None:
        if name:
            self.invalid_name(b"Root element should not be named.")
            self._invalid_depth += 1
        elif self._root_type.name == STRUCT_VALUE:
            self.write_start_object(name)
            self._adopt(MESSAGE)
            self._push_list_of_value()
        elif self._root_type.name == LIST_VALUE:
            self.write_start_object(name)
            self._adopt(MESSAGE)
            self._push(b"values", MESSAGE, True, True)
        else:
            self.write_start_list(name)

    def _start_list_in_map(self, name: bytes) -> None:
        if not self._is_new_key(name):
            self._invalid_depth += 1
            return
        self._push(b"", MESSAGE, False, False)
        self.write_value(b"key", name)
        self._push(b"value", MESSAGE, True, False)
        if self._invalid_depth:
            return
        inside = self._field_name()
        if inside == STRUCT_VALUE:
            self._push_list_of_value()
        elif inside == LIST_VALUE:
            self._push(b"values", MESSAGE, True, True)
        else:
            self.invalid_value(b"Map", b"Cannot have repeated items ('" + name + b"') within a map.")

    def _start_list_in_list(self) -> None:
        inside = self._field_name()
        if inside == STRUCT_VALUE:
            self._push(b"", MESSAGE, False, False)
            self._push_list_of_value()
        elif inside == LIST_VALUE:
            self._push(b"", MESSAGE, False, False)
            self._push(b"values", MESSAGE, True, True)
        else:
            self._push(b"", MESSAGE, False, True)

    def _start_list_of_field(self, name: bytes) -> None:
        field = self._lookup(name)
        if field is None:
            self._invalid_depth += 1
        elif field.message_name in (STRUCT_VALUE, LIST_VALUE) and not field.repeated:
            self._push(name, MESSAGE, False, False)
            if field.message_name == STRUCT_VALUE:
                self._push_list_of_value()
            else:
                self._push(b"values", MESSAGE, True, True)
        elif not field.repeated:
            self._invalid_depth += 1
            self.invalid_name(b"Proto field is not repeating, cannot start list.")
        elif field.is_map:
            self.invalid_value(b"Map", b"Cannot bind a list to map for field '" + name + b"'.")
            self._invalid_depth += 1
        else:
            self._push(name, MESSAGE, False, True)

    def end_list(self) -> None:
        """See ObjectWriter."""
        if self._invalid_depth:
            self._invalid_depth -= 1
        elif self._current is not None:
            if self._current.any_writer is not None:
                self._current.any_writer.end_list()
            else:
                self._pop_items()

    # Scalars.

    def render(self, name: bytes, value: Scalar) -> None:
        """See ObjectWriter."""
        if self._invalid_depth:
            return
        current = self._current
        if current is None:
            self._render_root(name, value)
        elif current.any_writer is not None:
            current.any_writer.render(name, value)
        elif current.item_type is MAP:
            self._render_in_map(name, value)
        else:
            field = self._lookup(name)
            if field is not None:
                self._render_field(name, field, value)

    def _render_special(self, name: bytes, field: FieldType, value: Scalar) -> None:
        """A string (or number) that stands for a message, which has begun."""
        assert field.render is not None
        try:
            field.render(self, value)
        except Refused as error:
            self.invalid_value(field.type_url, b"Field '" + name + b"', " + error.text)

    def _render_root(self, name: bytes, value: Scalar) -> None:
        type_name = self._root_type.name.encode()
        if URL_PREFIX + type_name not in RENDERERS:
            self.invalid_name(b"Root element must be a message.")
            return
        self.write_start_object(name)
        try:
            RENDERERS[URL_PREFIX + type_name](self, value)
        except Refused as error:
            self.invalid_value(type_name, b"Field '" + name + b"', " + error.text)
        self.write_end_object()

    def render_well_known(self, value: Scalar) -> None:
        """The whole message, inside an ``Any``."""
        self.write_start_object(b"")
        try:
            RENDERERS[URL_PREFIX + self._root_type.name.encode()](self, value)
        except Refused as error:
            self.invalid_value(b"Any", error.text)
        self.write_end_object()

    def _render_in_map(self, name: bytes, value: Scalar) -> None:
        if not self._is_new_key(name):
            return
        assert self._element is not None
        field = self._element.type.find(b"value")
        assert field is not None
        self._push(b"", MESSAGE, False, False)
        self.write_value(b"key", name)
        if field.render is not None:
            self._push(b"value", MESSAGE, True, False)
            self._render_special(name, field, value)
        elif value is not None or field.type_url == NULL_VALUE_URL:
            self.write_value(b"value", value)
        self._pop_items()

    def _render_field(self, name: bytes, field: FieldType, value: Scalar) -> None:
        if field.render is not None:
            # Null is a value only where it is google.protobuf.Value's.
            if value is not None or field.type_url == STRUCT_VALUE_URL:
                self._push(name, MESSAGE, False, False)
                self._render_special(name, field, value)
                self._pop_items()
        elif value is not None or field.type_url == NULL_VALUE_URL:
            self.write_value(name, value)
