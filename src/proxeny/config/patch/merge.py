"""Merging messages as Istio does (Istio: ``pkg/proto/merge``).

Scalars that are set replace, messages are merged, lists are appended (or replaced), entries of maps are replaced. As in
protobuf's own merge a zero value is not set: a merge cannot turn ``true`` into ``false``, in a wrapper neither. A
duration is one value. An Any is one value too, except where a patch means what is inside: the ``typed_config`` of
filters and transport sockets.
"""

from __future__ import annotations

from typing import Any, Final

from proxeny.config.anys import open_any
from proxeny.config.errors import ConfigError

_WHOLE: Final = frozenset(("google.protobuf.Duration", "google.protobuf.Any"))
TYPE_URL_PREFIX: Final = "type.googleapis.com/"


def merge(target: Any, source: Any, replace_lists: bool = False) -> bool:
    """Merge ``source`` into ``target`` (of the same type); whether that changed anything."""
    changed = False
    for field, value in source.ListFields():
        name = field.name
        if field.is_repeated:
            is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
            merge_values = _merge_map if is_map else _replace_list if replace_lists else _extend_list
            changed |= merge_values(getattr(target, name), value)
        elif field.message_type is None:
            changed |= getattr(target, name) != value or (field.has_presence and not target.HasField(name))
            setattr(target, name, value)
        else:
            changed |= not target.HasField(name)
            child = getattr(target, name)
            child.SetInParent()
            changed |= _merge_message(child, value, replace_lists)
    return changed


def _merge_message(target: Any, source: Any, replace_lists: bool) -> bool:
    if source.DESCRIPTOR.full_name not in _WHOLE:
        return merge(target, source, replace_lists)
    changed: bool = target != source
    target.CopyFrom(source)
    return changed


def _extend_list(target: Any, values: Any) -> bool:
    target.extend(values)
    return True


def _replace_list(target: Any, values: Any) -> bool:
    changed = list(target) != list(values)
    del target[:]
    target.extend(values)
    return changed


def _merge_map(target: Any, entries: Any) -> bool:
    changed = False
    for key, value in entries.items():
        changed |= key not in target or target[key] != value
        if hasattr(value, "CopyFrom"):
            target[key].CopyFrom(value)
        else:
            target[key] = value
    return changed


def pack(target: Any, message: Any) -> None:
    """Put ``message`` into the Any ``target``; its type URL stays as it was written where the type is the same."""
    type_name = message.DESCRIPTOR.full_name
    if target.type_url.rpartition("/")[2] != type_name:
        target.type_url = TYPE_URL_PREFIX + type_name
    target.value = message.SerializeToString(deterministic=True)


def merge_any(target: Any, source: Any) -> bool:
    """Merge what is inside the Any ``source`` into what is inside ``target``; ConfigError when the types differ."""
    message, patch = open_any(target), open_any(source)
    if message.DESCRIPTOR is not patch.DESCRIPTOR:
        raise ConfigError(f"cannot merge a {patch.DESCRIPTOR.full_name} into a {message.DESCRIPTOR.full_name}")
    changed = merge(message, patch)
    if changed:
        pack(target, message)
    return changed


def merge_configured(target: Any, source: Any) -> bool:
    """Merge a filter or transport socket: a name and a ``typed_config``, which is merged inside."""
    if not (source.HasField("typed_config") and target.HasField("typed_config")):
        return merge(target, source)
    changed = merge_any(target.typed_config, source.typed_config)
    return merge(target, without(source, "typed_config")) or changed


def merge_with_transport_socket(target: Any, source: Any, replace_lists: bool = False) -> bool:
    """Merge a filter chain or cluster: a transport socket of the same name is merged inside, another one replaced."""
    if not (source.HasField("transport_socket") and target.HasField("transport_socket")):
        return merge(target, source, replace_lists)
    if source.transport_socket.name == target.transport_socket.name:
        changed = merge_configured(target.transport_socket, source.transport_socket)
    else:
        target.transport_socket.CopyFrom(source.transport_socket)
        changed = True
    return merge(target, without(source, "transport_socket"), replace_lists) or changed


def without(message: Any, field: str) -> Any:
    """A copy of ``message`` that lacks a field."""
    copy = type(message)()
    copy.CopyFrom(message)
    copy.ClearField(field)
    return copy
