"""Cuts messages down to the fields of a mask (Envoy: ``trimResourceMessage``)."""

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
    """The paths of ``a.b,c`` as a tree; an empty subtree keeps the whole field, empty paths do not count."""
    tree: Tree = {}
    for path in filter(None, text.split(",")):
        _add(tree, path.split("."))
    return tree


def _add(tree: Tree, names: list[str]) -> None:
    *parents, last = names
    for name in parents:
        if tree.get(name) == {}:
            return  # a shorter path keeps all of it
        tree = tree.setdefault(name, {})
    tree[last] = {}


def trim(message: Any, tree: Tree) -> None:
    """Clears every field that the tree does not name; MaskError leaves the message as it is."""
    check(message.DESCRIPTOR, tree)
    _trim(message, tree)


def check(descriptor: Any, tree: Tree) -> None:
    """MaskError for a path that messages of this type do not have."""
    for name, inner in tree.items():
        field = field_of(descriptor, name)
        if field is None:
            raise MaskError(name)
        if inner and (field.is_repeated or field.message_type is None):
            raise MaskError(name)
        if inner:
            check(field.message_type, inner)


def _trim(message: Any, tree: Tree) -> None:
    for field, value in message.ListFields():
        inner = tree.get(field.name)
        if inner is None:
            message.ClearField(field.name)
        elif inner:
            _trim(value, inner)


def trim_resource(message: Any, tree: Tree) -> None:
    """Likewise, for an element of a list of the dump: a path leads into the Any below it, and must, but no deeper."""
    outer = dict(tree)
    for name, inner in tree.items():
        if _is_any(field_of(message.DESCRIPTOR, name)):
            outer[name] = {}
            if not inner:
                raise MaskError(name)
            if message.HasField(name):
                _trim_any(getattr(message, name), inner)
    trim(message, outer)


def _is_any(field: Any) -> bool:
    return (
        field is not None
        and not field.is_repeated
        and field.message_type is not None
        and field.message_type.full_name == "google.protobuf.Any"
    )


def _trim_any(message: Any, tree: Tree) -> None:
    try:
        held = message_class(type_name_of(message.type_url))()
    except KeyError as error:
        raise MaskError(message.type_url) from error
    held.ParseFromString(message.value)
    trim(held, tree)
    message.value = held.SerializeToString()
