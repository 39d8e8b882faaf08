"""What fields and messages are noted for besides constraints: deprecation, unfinished work, class of support."""

from collections.abc import Callable
from typing import Any

from envoy.annotations import deprecation_pb2
from udpa.annotations import status_pb2 as udpa_status_pb2
from xds.annotations.v3 import status_pb2 as xds_status_pb2

from proxeny.config.inspector import Inspector
from proxeny.config.support.table import FieldClass

Note = Callable[[Inspector, Any], None]  # (inspector, message that has the field)


def _file_name(field: Any) -> str:
    return str(field.containing_type.file.name.rpartition("/")[2])


def deprecated_value(field: Any) -> Note | None:
    """Notes a deprecated enum value that was written."""
    if field.enum_type is None or field.is_repeated:
        return None
    deprecated = {value.number: value for value in field.enum_type.values if value.GetOptions().deprecated}
    if not deprecated:
        return None

    def check(inspector: Inspector, message: Any) -> None:
        value = deprecated.get(getattr(message, field.name))
        if value is not None:
            _note_enum_value(inspector, field, value, default=False)

    return check


def deprecated_default(field: Any) -> list[Note]:
    """Notes an enum left at a zero value that is deprecated."""
    value = field.enum_type.values_by_number.get(0)
    if value is None or not value.GetOptions().deprecated:
        return []

    def check(inspector: Inspector, message: Any) -> None:
        if not getattr(message, field.name):
            _note_enum_value(inspector, field, value, default=True)

    return [check]


def _note_enum_value(inspector: Inspector, field: Any, value: Any, default: bool) -> None:
    text = (
        f"{'the default now-' if default else ''}deprecated value {value.name} for enum '{field.full_name}' "
        f"from file {_file_name(field)}. This enum value will be removed from Envoy soon"
        f"{' so a non-default value must now be explicitly set' if default else ''}."
    )
    disallowed = bool(value.GetOptions().Extensions[deprecation_pb2.disallowed_by_default_enum])
    scope = value.type.full_name.rpartition(".")[0]
    inspector.on_deprecated(field.containing_type.full_name, f"{scope}.{value.name}", text, disallowed)


def unfinished_message(descriptor: Any) -> list[Note]:
    """Notes a message type, or the file it is from, that is unfinished."""
    message_status = descriptor.GetOptions().Extensions[xds_status_pb2.message_status]
    file_options = descriptor.file.GetOptions()
    unfinished = (
        message_status.work_in_progress
        or file_options.Extensions[xds_status_pb2.file_status].work_in_progress
        or file_options.Extensions[udpa_status_pb2.file_status].work_in_progress
    )
    if not unfinished:
        return []
    return [lambda inspector, message: inspector.on_wip(f"message '{descriptor.full_name}'")]


def field_notes(field: Any, kind: FieldClass) -> list[Note]:
    """What a set field is noted for: its class of support, unfinished work, deprecation."""
    options = field.GetOptions()
    notes: list[Note] = []
    if kind is not FieldClass.DONE:
        notes.append(lambda inspector, message: inspector.on_class(field.name, kind))
    if options.Extensions[xds_status_pb2.field_status].work_in_progress:
        notes.append(lambda inspector, message: inspector.on_wip(f"field '{field.full_name}'"))
    if options.deprecated:
        text = (
            f"deprecated option '{field.full_name}' from file {_file_name(field)}. "
            "This configuration will be removed from Envoy soon."
        )
        disallowed = bool(options.Extensions[deprecation_pb2.disallowed_by_default])
        type_name = field.containing_type.full_name
        notes.append(lambda inspector, message: inspector.on_deprecated(type_name, field.full_name, text, disallowed))
    written = deprecated_value(field)
    return notes if written is None else [*notes, written]
