"""Cuts messages down to the fields of a mask, also inside Any (Envoy: trimResourceMessage)."""

from __future__ import annotations

from typing import Any

from proxeny.config.message_types import message_class, type_name_of

Tree = dict[str, "Tree"]


class MaskError(ValueError):
    """A path that the message does not have, or that leads through a repeated field."""


def field_of(descriptor: Any, name: str) -> Any:
    """The field of this name, or None; names come from URLs, and protobuf fails on some that no field can have."""
    return descriptor.fields_by_name.get(name) if name.isascii() else None


def parse_mask(text: str) -> Tree:
    """The paths of ``a.b,c`` as a tree; an empty subtree keeps the whole field."""
    tree: Tree = {}
    for path in text.split(","):
        node = tree
        for name in path.split("."):
            node = node.setdefault(name, {})
    return tree


def trim(message: Any, tree: Tree) -> None:
    """Clears every field that the tree does not name; MaskError leaves the message as it is."""
    _check(message.DESCRIPTOR, tree)
    _trim(message, tree)


def _check(descriptor: Any, tree: Tree) -> None:
    for name, inner in tree.items():
        field = field_of(descriptor, name)
        if field is None:
            raise MaskError(name)
        if inner and (field.is_repeated or field.message_type is None):
            raise MaskError(name)
        if inner and field.message_type.full_name != "google.protobuf.Any":
            _check(field.message_type, inner)


def _trim(message: Any, tree: Tree) -> None:
    for field, value in message.ListFields():
        inner = tree.get(field.name)
        if inner is None:
            message.ClearField(field.name)
        elif inner and field.message_type.full_name == "google.protobuf.Any":
            _trim_any(value, inner)
        elif inner:
            _trim(value, inner)


def _trim_any(message: Any, tree: Tree) -> None:
    try:
        held = message_class(type_name_of(message.type_url))()
    except KeyError as error:
        raise MaskError(message.type_url) from error
    held.ParseFromString(message.value)
    _check(held.DESCRIPTOR, tree)
    _trim(held, tree)
    message.value = held.SerializeToString()
