"""What Anys hold: the message of the named type, with TypedStructs resolved to the messages that they describe."""

from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message

from proxeny.config import field_path
from proxeny.config.builder import Builder
from proxeny.config.errors import ConfigError
from proxeny.config.message_types import message_class, type_name_of

_TYPED_STRUCTS: Final = frozenset(("xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct"))


def open_any(any_message: Any) -> Message:
    """The message inside an Any, parsed but not checked; raises ConfigError."""
    type_name = type_name_of(any_message.type_url)
    message = _new_message(any_message.type_url)
    try:
        message.ParseFromString(any_message.value)
    except DecodeError as error:
        raise ConfigError(f"Unable to unpack as {type_name}: the content is malformed") from error
    return _resolve_typed_struct(message) if type_name in _TYPED_STRUCTS else message


def _new_message(type_url: str) -> Message:
    try:
        return message_class(type_name_of(type_url))()
    except KeyError:
        raise ConfigError(f"could not find @type '{type_url}'") from None


def _resolve_typed_struct(typed_struct: Any) -> Message:
    if not typed_struct.type_url:
        return typed_struct  # type: ignore[no-any-return]  # names no message: nothing is registered for it
    message = _new_message(typed_struct.type_url)
    try:
        Builder().build(message, json_format.MessageToDict(typed_struct.value))
    except ConfigError as error:
        error.path = field_path.join("value", error.path or "")
        raise
    return message
