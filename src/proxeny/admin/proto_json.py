"""Messages as JSON values for admin pages: field names as in the .proto, secrets blanked (Envoy: MessageUtil).

Fields marked with udpa.annotations.sensitive become "[redacted]" (strings and bytes) or vanish (anything else), also
inside Any.
"""

from __future__ import annotations

import base64
import math
import time
from collections.abc import Callable, Iterator
from enum import Enum
from functools import cache
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError
from udpa.annotations import sensitive_pb2

from proxeny.config.message_types import message_class, message_descriptor, type_name_of

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


class FieldPlan:
    """How one field is written, found out once per message type."""

    __slots__ = ("descriptor", "entry", "is_message", "is_repeated", "is_sensitive", "name", "scalar")

    def __init__(self, descriptor: Any) -> None:
        self.descriptor = descriptor
        self.name: str = descriptor.name
        self.is_repeated: bool = descriptor.is_repeated
        self.is_message: bool = descriptor.type == FieldDescriptor.TYPE_MESSAGE
        is_map = self.is_message and descriptor.message_type.GetOptions().map_entry
        self.is_sensitive: bool = descriptor.GetOptions().Extensions[sensitive_pb2.sensitive]
        self.scalar = _scalar(descriptor)
        """What makes a JSON value of a value that is no message."""
        self.entry = FieldPlan(descriptor.message_type.fields_by_name["value"]) if is_map else None


_PLANS: dict[type, dict[int, FieldPlan] | None] = {}


def plan_of(message: Any) -> dict[int, FieldPlan] | None:
    """The fields of its type by number, in order; None for the well-known types that JSON writes in its own way."""
    kind = type(message)
    try:
        return _PLANS[kind]
    except KeyError:
        descriptor = message.DESCRIPTOR
        fields = sorted(descriptor.fields, key=lambda one: one.number)
        special = _is_special(descriptor.full_name)
        plan = _PLANS[kind] = None if special else {field.number: FieldPlan(field) for field in fields}
        return plan


def _message(message: Any, defaults: bool, secrets: Secrets) -> Any:
    plan = plan_of(message)
    if plan is None:
        return _special(message, message.DESCRIPTOR.full_name, defaults, secrets)
    present = _with_defaults(message, plan) if defaults else message.ListFields()
    fields: dict[str, Any] = {}
    for descriptor, value in present:
        field = plan[descriptor.number]
        within = Secrets.ALL_BLANKED if secrets is Secrets.BLANKED and field.is_sensitive else secrets
        made = field_to_json(field, value, defaults, within)
        if made is not None or within is not Secrets.ALL_BLANKED:
            fields[field.name] = made
    return fields


@cache
def _wrapped(full_name: str) -> FieldPlan:
    return FieldPlan(message_descriptor(full_name).fields_by_name["value"])


def _with_defaults(message: Any, plan: dict[int, FieldPlan]) -> Iterator[tuple[Any, Any]]:
    for field in plan.values():
        if not field.descriptor.has_presence or message.HasField(field.name):
            yield field.descriptor, getattr(message, field.name)


def field_to_json(field: FieldPlan, value: Any, defaults: bool, secrets: Secrets) -> Any:
    """A field's value; None where it is to be left out because it is sensitive."""
    if field.entry is not None:
        return {_map_key(key): _value(field.entry, value[key], defaults, secrets) for key in sorted(value)}
    if field.is_repeated:
        return [_value(field, one, defaults, secrets) for one in value]
    return _value(field, value, defaults, secrets)


def _map_key(key: Any) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _value(field: FieldPlan, value: Any, defaults: bool, secrets: Secrets) -> Any:
    if field.is_message:
        return _message(value, defaults, secrets)
    if secrets is Secrets.ALL_BLANKED:
        if field.descriptor.type == FieldDescriptor.TYPE_BYTES:
            return base64.b64encode(REDACTED.encode()).decode()
        return REDACTED if field.descriptor.type == FieldDescriptor.TYPE_STRING else None
    return field.scalar(value)


def _scalar(descriptor: Any) -> Callable[[Any], Any]:
    if descriptor.type == FieldDescriptor.TYPE_ENUM:
        names = {number: value.name for number, value in descriptor.enum_type.values_by_number.items()}
        return lambda value: names.get(value, value)
    if descriptor.type == FieldDescriptor.TYPE_BYTES:
        return lambda value: base64.b64encode(value).decode()
    if descriptor.type in _INT64:
        return str
    if descriptor.type in (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT):
        return _number
    return _as_it_is


def _as_it_is(value: Any) -> Any:
    return value


def _number(value: float) -> Any:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return int(value) if value == int(value) and abs(value) < 1 << 53 else value


def _special(message: Any, name: str, defaults: bool, secrets: Secrets) -> Any:
    if name in _WRAPPERS:
        return _value(_wrapped(name), message.value, defaults, secrets)
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


def unpacked(message: Any) -> Any:
    """What an Any holds; None where its type is unknown or its content malformed."""
    try:
        inner = message_class(type_name_of(message.type_url))()
        inner.ParseFromString(message.value)
    except (KeyError, DecodeError):
        return None
    return inner


def _any(message: Any, defaults: bool, secrets: Secrets) -> dict[str, Any]:
    if not message.type_url:
        return {}
    type_name = type_name_of(message.type_url)
    inner = unpacked(message)
    if inner is None:
        return {"@type": message.type_url, "value": base64.b64encode(message.value).decode()}
    made = _typed(inner, type_name, defaults, secrets)
    made["@type"] = message.type_url
    return made


_SPECIAL = frozenset(
    f"google.protobuf.{name}" for name in ("Any", "Duration", "Timestamp", "FieldMask", "Struct", "ListValue", "Value")
)
