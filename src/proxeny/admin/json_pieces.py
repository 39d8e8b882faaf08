"""Large messages as JSON text in pieces, so that a dump of any size never holds main up for long.

Small messages are made whole. The text is that of ``response.json_text`` over ``proto_json``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Final

from proxeny.admin.proto_json import Secrets, field_to_json, message_to_json, plan_of, unpacked
from proxeny.admin.response import JSON, AdminResponse, json_text, respond_in_pieces

WHOLE: Final = 8 * 1024
"""Serialized bytes up to which a message is made whole."""
_ANY: Final = "google.protobuf.Any"


def array_pieces(elements: Iterable[Iterator[str]], depth: int) -> Iterator[str]:
    """An array whose elements are made at ``depth + 1``; ``[]`` when there are none."""
    opening = "["
    for pieces in elements:
        yield opening + _line(depth + 1)
        opening = ","
        yield from pieces
    yield "[]" if opening == "[" else _line(depth) + "]"


def list_field(name: str, elements: Iterable[Iterator[str]], depth: int) -> Iterator[tuple[str, Iterator[str]]]:
    """A field with an array made at ``depth``; none when it would be empty, as protobuf's printer has it."""
    pieces = array_pieces(elements, depth)
    first = next(pieces)
    if first != "[]":
        yield name, chain((first,), pieces)


def respond_json_list(name: str, elements: Iterable[Iterator[str]]) -> AdminResponse:
    """An object with one array, whose elements are made at depth 2."""
    return respond_in_pieces(chain(object_pieces(list_field(name, elements, 1), 0), ("\n",)), JSON)


def object_pieces(fields: Iterable[tuple[str, Iterator[str]]], depth: int) -> Iterator[str]:
    """An object whose values are made at ``depth + 1``; ``{}`` when there are none."""
    opening = "{"
    for name, pieces in fields:
        yield f"{opening}{_line(depth + 1)}{json_text(name)}: "
        opening = ","
        yield from pieces
    yield "{}" if opening == "{" else _line(depth) + "}"


def any_pieces(message: Any, depth: int) -> Iterator[str]:
    """A message as it looks inside an Any."""
    return message_pieces(message, Secrets.BLANKED, depth, {"@type": f"type.googleapis.com/{_full_name(message)}"})


def message_pieces(
    message: Any, secrets: Secrets, depth: int, head: Mapping[str, str] | None = None, is_large: bool = False
) -> Iterator[str]:
    """One message; ``head``: what stands before its fields; ``is_large``: it is known to be (finding out is dear)."""
    plan = plan_of(message)
    if plan is None:
        yield from _special_pieces(message, secrets, depth, head)
    elif secrets is Secrets.ALL_BLANKED or not (is_large or message.ByteSize() > WHOLE):
        yield json_text({**(head or {}), **message_to_json(message, secrets=secrets)}, depth)
    else:
        yield from object_pieces(field_pieces(message, secrets, depth + 1, head or {}), depth)


def _line(depth: int) -> str:
    return "\n" + " " * depth


def _full_name(message: Any) -> str:
    return str(message.DESCRIPTOR.full_name)


def _special_pieces(message: Any, secrets: Secrets, depth: int, head: Mapping[str, str] | None) -> Iterator[str]:
    if head is None and _full_name(message) == _ANY and len(message.value) > WHOLE:
        inner = unpacked(message)
        if inner is not None:
            yield ""
            yield from message_pieces(inner, secrets, depth, {"@type": message.type_url}, is_large=True)
            return
    value = message_to_json(message, secrets=secrets)
    yield json_text(value if head is None else {**head, "value": value}, depth)


def field_pieces(
    message: Any, secrets: Secrets, depth: int, head: Mapping[str, str]
) -> Iterator[tuple[str, Iterator[str]]]:
    """What is in ``head`` and the fields that are set, each with its value, made at ``depth``."""
    plan = plan_of(message) or {}
    for name, text in head.items():
        yield name, iter((json_text(text),))
    for descriptor, value in message.ListFields():
        field = plan[descriptor.number]
        if secrets is Secrets.BLANKED and field.is_sensitive:
            made = field_to_json(field, value, False, Secrets.ALL_BLANKED)
            if made is not None:
                yield field.name, iter((json_text(made, depth),))
        elif not field.is_message or field.entry is not None:
            yield field.name, iter((json_text(field_to_json(field, value, False, secrets), depth),))
        elif field.is_repeated:
            yield field.name, array_pieces((message_pieces(one, secrets, depth + 1) for one in value), depth)
        else:
            yield field.name, message_pieces(value, secrets, depth)
