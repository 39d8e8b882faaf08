"""Messages as JSON values for admin pages: field names as in the .proto, secrets blanked (Envoy: MessageUtil).

Fields marked with udpa.annotations.sensitive become "[redacted]" (strings and bytes) or vanish (anything else), also
inside Any.
"""

from __future__ import annotations

import base64
import math
import time
from enum import Enum
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from udpa.annotations import sensitive_pb2

from proxeny.config.message_types import message_class, type_name_of

_INT64 = frozenset(
    (
        FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_UINT64,
        FieldDescriptor.TYPE_SINT64,
        FieldDescriptor.TYPE_FIXED64,
        FieldDescriptor.TYPE_SFIXED64,
    )
)
_WRAPPERS = frozenset(
    f"google.protobuf.{kind}Value"
    for kind in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)
REDACTED = "[redacted]"


class Secrets(Enum):
    """What becomes of sensitive fields."""

    SHOWN = 0
    BLANKED = 1
    ALL_BLANKED = 2  # below a sensitive field


def message_to_json(message: Any, defaults: bool = False, secrets: Secrets = Secrets.BLANKED) -> Any:
    """A JSON value; with `defaults`, fields without presence are there even when they are empty."""
    return _message(message, defaults, secrets)


def any_to_json(message: Any) -> dict[str, Any]:
    """A message as it looks inside an Any."""
    return _typed(message, message.DESCRIPTOR.full_name, False, Secrets.BLANKED)


def timestamp(seconds: float) -> str:
    """A Timestamp in JSON, to milliseconds."""
    whole = int(seconds)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{int((seconds - whole) * 1000):03d}Z"


def _typed(message: Any, type_name: str, defaults: bool, secrets: Secrets) -> dict[str, Any]:
    head = {"@type": f"type.googleapis.com/{type_name}"}
    value = _message(message, defaults, secrets)
    return {**head, **value} if isinstance(value, dict) and not _is_special(type_name) else {**head, "value": value}


def _is_special(type_name: str) -> bool:
    return type_name in _SPECIAL or type_name in _WRAPPERS


def _message(message: Any, defaults: bool, secrets: Secrets) -> Any:
    descriptor = message.DESCRIPTOR
    name = descriptor.full_name
    if name in _SPECIAL or name in _WRAPPERS:
        return _special(message, name, defaults, secrets)
    fields: dict[str, Any] = {}
    for field in sorted(descriptor.fields, key=lambda one: one.number):
        within = secrets
        if secrets is Secrets.BLANKED and field.GetOptions().Extensions[sensitive_pb2.sensitive]:
            within = Secrets.ALL_BLANKED
        value = getattr(message, field.name)
        if field.is_repeated:
            if len(value) or defaults:
                fields[field.name] = _repeated(field, value, defaults, within)
        elif field.has_presence:
            if message.HasField(field.name):
                _put(fields, field, value, defaults, within)
        elif defaults or value != field.default_value:
            _put(fields, field, value, defaults, within)
    return fields


def _put(fields: dict[str, Any], field: Any, value: Any, defaults: bool, secrets: Secrets) -> None:
    made = _value(field, value, defaults, secrets)
    if made is not None or secrets is not Secrets.ALL_BLANKED:
        fields[field.name] = made


def _repeated(field: Any, values: Any, defaults: bool, secrets: Secrets) -> Any:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        entry = field.message_type.fields_by_name["value"]
        return {_map_key(key): _value(entry, values[key], defaults, secrets) for key in sorted(values)}
    return [_value(field, value, defaults, secrets) for value in values]


def _map_key(key: Any) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _value(field: Any, value: Any, defaults: bool, secrets: Secrets) -> Any:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return _message(value, defaults, secrets)
    if secrets is Secrets.ALL_BLANKED:
        if field.type == FieldDescriptor.TYPE_BYTES:
            return base64.b64encode(REDACTED.encode()).decode()
        return REDACTED if field.type == FieldDescriptor.TYPE_STRING else None
    if field.type == FieldDescriptor.TYPE_ENUM:
        known = field.enum_type.values_by_number.get(value)
        return value if known is None else known.name
    if field.type == FieldDescriptor.TYPE_BYTES:
        return base64.b64encode(value).decode()
    if field.type in _INT64:
        return str(value)
    return _number(value) if isinstance(value, float) else value


def _number(value: float) -> Any:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return int(value) if value == int(value) and abs(value) < 1 << 53 else value


def _special(message: Any, name: str, defaults: bool, secrets: Secrets) -> Any:
    if name in _WRAPPERS:
        return _value(message.DESCRIPTOR.fields_by_name["value"], message.value, defaults, secrets)
    if name == "google.protobuf.Any":
        return _any(message, defaults, secrets)
    if name in ("google.protobuf.Duration", "google.protobuf.Timestamp"):
        return message.ToJsonString()
    if name == "google.protobuf.FieldMask":
        return ",".join(message.paths)
    if secrets is Secrets.ALL_BLANKED:
        return REDACTED
    if name == "google.protobuf.Struct":
        return {
            key: _special(message.fields[key], "google.protobuf.Value", defaults, secrets)
            for key in sorted(message.fields)
        }
    if name == "google.protobuf.ListValue":
        return [_special(value, "google.protobuf.Value", defaults, secrets) for value in message.values]
    kind = message.WhichOneof("kind")
    if kind in (None, "null_value"):
        return None
    value = getattr(message, kind)
    if kind == "number_value":
        return _number(value)
    return (
        _special(value, value.DESCRIPTOR.full_name, defaults, secrets)
        if kind in ("struct_value", "list_value")
        else value
    )


def _any(message: Any, defaults: bool, secrets: Secrets) -> dict[str, Any]:
    if not message.type_url:
        return {}
    type_name = type_name_of(message.type_url)
    try:
        inner = message_class(type_name)()
        inner.ParseFromString(message.value)
    except (KeyError, ValueError):
        return {"@type": message.type_url, "value": base64.b64encode(message.value).decode()}
    made = _typed(inner, type_name, defaults, secrets)
    made["@type"] = message.type_url
    return made


_SPECIAL = frozenset(
    f"google.protobuf.{name}" for name in ("Any", "Duration", "Timestamp", "FieldMask", "Struct", "ListValue", "Value")
)
