"""What differs between two messages of one type, field by field, as lines for people.

Equal parts are passed over by protobuf's own comparison; only what differs is looked into and written. Elements of
lists are matched by their names where they have different ones; else what is equal at both ends is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import count, takewhile
from typing import Any, Final

from proxeny.admin.proto_json import REDACTED, FieldPlan, Secrets, field_to_json, message_to_json, plan_of, unpacked

LONGEST_VALUE: Final = 400
"""Characters that are shown of a value."""
_ABSENT: Final = object()


def differences(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """``+ path: value``, ``- path: value`` and ``~ path: old -> new``."""
    if before == after:
        return
    plan = plan_of(before)
    if plan is None:
        yield from _of_special(before, after, path)
        return
    old = {field.number: value for field, value in before.ListFields()}
    new = {field.number: value for field, value in after.ListFields()}
    for number in sorted(old.keys() | new.keys()):
        field = plan[number]
        yield from _of_field(field, old.get(number, _ABSENT), new.get(number, _ABSENT), _join(path, field.name))


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _of_special(before: Any, after: Any, path: str) -> Iterator[str]:
    if before.DESCRIPTOR.full_name == "google.protobuf.Any" and before.type_url == after.type_url:
        inner = unpacked(before), unpacked(after)
        if inner[0] is not None and inner[1] is not None:
            yield from differences(*inner, path)
            return
    yield f"~ {path}: {_text(message_to_json(before))} -> {_text(message_to_json(after))}"


def _of_field(field: FieldPlan, old: Any, new: Any, path: str) -> Iterator[str]:
    if old is _ABSENT or new is _ABSENT:
        sign, value = ("+", new) if old is _ABSENT else ("-", old)
        if field.is_repeated and field.entry is None:
            yield from (_only(sign, field, one, f"{path}[{key}]") for key, one in _keyed(field, value))
        else:
            yield _only(sign, field, value, path, whole=True)
    elif field.is_sensitive:
        if old != new:
            yield f"~ {path}: {REDACTED}"
    elif field.entry is not None:
        yield from _of_map(field.entry, old, new, path)
    elif field.is_repeated:
        yield from _of_list(field, old, new, path)
    elif field.is_message:
        yield from differences(old, new, path)
    elif old != new:
        yield f"~ {path}: {_text(field.scalar(old))} -> {_text(field.scalar(new))}"


def _of_map(entry: FieldPlan, old: Any, new: Any, path: str) -> Iterator[str]:
    for key in sorted({*old, *new}):
        yield from _of_field(entry, old.get(key, _ABSENT), new.get(key, _ABSENT), f"{path}[{key}]")


def _of_list(field: FieldPlan, old: Sequence[Any], new: Sequence[Any], path: str) -> Iterator[str]:
    before, after = _keyed(field, old), _keyed(field, new)
    if not (_is_named(before) and _is_named(after)):
        yield from _of_positions(field, old, new, path)
        return
    there = dict(after)
    yield from (_only("-", field, one, f"{path}[{key}]") for key, one in before if key not in there)
    had = dict(before)
    for key, one in after:
        if key in had:
            yield from differences(had[key], one, f"{path}[{key}]")
        else:
            yield _only("+", field, one, f"{path}[{key}]")
    kept = [key for key, _ in before if key in there]
    if kept != [key for key, _ in after if key in had]:
        yield f"~ {path}: in another order"


def _of_positions(field: FieldPlan, old: Sequence[Any], new: Sequence[Any], path: str) -> Iterator[str]:
    shorter = min(len(old), len(new))
    first = sum(1 for _ in takewhile(lambda at: old[at] == new[at], range(shorter)))
    same = sum(1 for _ in takewhile(lambda at: old[-1 - at] == new[-1 - at], range(shorter - first)))
    before, after = old[first : len(old) - same], new[first : len(new) - same]
    if len(before) == len(after):
        for at, one, other in zip(count(first), before, after, strict=False):
            yield from _of_element(field, one, other, f"{path}[{at}]")
        return
    yield from (_only("-", field, one, f"{path}[{at}]") for at, one in enumerate(before, first))
    yield from (_only("+", field, one, f"{path}[{at}]") for at, one in enumerate(after, first))


def _of_element(field: FieldPlan, old: Any, new: Any, path: str) -> Iterator[str]:
    if field.is_message:
        yield from differences(old, new, path)
    elif old != new:
        yield f"~ {path}: {_text(field.scalar(old))} -> {_text(field.scalar(new))}"


def _keyed(field: FieldPlan, values: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Elements by name, or by position where they have none, or not all of them another one."""
    if field.is_message and values:
        names = [getattr(one, "name", "") for one in values]
        if all(isinstance(name, str) and name for name in names) and len(set(names)) == len(names):
            return list(zip(names, values, strict=True))
    return list(enumerate(values))


def _is_named(keyed: Sequence[tuple[Any, Any]]) -> bool:
    return not keyed or isinstance(keyed[0][0], str)


def _only(sign: str, field: FieldPlan, value: Any, path: str, whole: bool = False) -> str:
    if field.is_sensitive:
        return f"{sign} {path}: {REDACTED}"
    if whole:
        return f"{sign} {path}: {_text(field_to_json(field, value, False, Secrets.BLANKED))}"
    shown = message_to_json(value) if field.is_message else field.scalar(value)
    return f"{sign} {path}: {_text(shown)}"


def _text(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}... ({len(text)} characters)"
