"""Looks values up in metadata and filter state (Envoy: MetadataFormatter, FilterStateFormatter)."""

from __future__ import annotations

from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from proxeny.formatter.json_text import json_value


def metadata_value(metadata: Any, namespace: str, path: tuple[str, ...]) -> Any:
    """The value at ``path`` below a namespace of ``core.v3.Metadata`` (or of a dict of dicts); None when absent."""
    if metadata is None:
        return None
    if isinstance(metadata, Message):
        metadata = metadata.filter_metadata  # type: ignore[attr-defined]
        value: Any = metadata[namespace] if namespace in metadata else None  # noqa: SIM401 - get() would add to the map
    else:
        value = metadata.get(namespace)
    if isinstance(value, Message):
        value = MessageToDict(value)
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def text_of_value(value: Any) -> bytes | None:
    """A value as text: strings as they are, anything else as JSON; None stays None."""
    if value is None:
        return None
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    return json_value(value)


def plain_filter_state(state: dict[str, Any] | None, key: str) -> Any:
    """PLAIN: the object's ``serialize_as_string()``, or a plain value as it is."""
    value = None if state is None else state.get(key)
    serialize = getattr(value, "serialize_as_string", None)
    if serialize is not None:
        return serialize()
    if value is None or isinstance(value, str | bytes):
        return value
    return json_value(value)


def typed_filter_state(state: dict[str, Any] | None, key: str) -> Any:
    """TYPED: the object's JSON form; strings in quotes, as Envoy's StringValue."""
    value = None if state is None else state.get(key)
    serialize = getattr(value, "serialize_as_proto", None)
    if serialize is not None:
        value = serialize()
    if isinstance(value, Message):
        value = MessageToDict(value)
    return value


def typed_filter_state_text(state: dict[str, Any] | None, key: str) -> bytes | None:
    """TYPED as text: JSON, so that a string is quoted."""
    value = typed_filter_state(state, key)
    return None if value is None else json_value(value)


def filter_state_field(state: dict[str, Any] | None, key: str, field: str) -> Any:
    """FIELD: one field of the object."""
    value = None if state is None else state.get(key)
    if value is None:
        return None
    get_field = getattr(value, "get_field", None)
    if get_field is not None:
        return get_field(field)
    return value.get(field) if isinstance(value, dict) else getattr(value, field, None)
