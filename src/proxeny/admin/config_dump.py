"""/config_dump (Envoy: ConfigDumpHandler): the loaded configuration, in the messages of ``admin.v3.config_dump``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Final

from proxeny.admin.config_sections import NameMatch, Section, sections
from proxeny.admin.context import AdminContext
from proxeny.admin.field_mask import MaskError, Tree, field_of, parse_mask, trim_resource
from proxeny.admin.json_pieces import any_pieces, object_pieces, respond_json_list
from proxeny.admin.query import Query
from proxeny.admin.response import AdminResponse, respond
from proxeny.admin.stats_params import compile_filter

_PLAIN: Final = b"text/plain"
_DEPTH: Final = 2
"""Of an element of ``configs``."""


def _refuse(words: str, status: int) -> AdminResponse:
    # Envoy's handler adds a header here that its filter then adds again.
    response = respond(words, status, _PLAIN)
    response.headers.insert(0, (b"x-content-type-options", b"nosniff"))
    return response


class ConfigDumpHandler:
    """The /config_dump page."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context

    def config_dump(self, query: Query, body: bytes) -> AdminResponse:
        """`resource` lists a repeated field, `mask` cuts fields, `name_regex` chooses, `include_eds` adds endpoints."""
        parameters = query.parameters
        try:
            matches = _name_match(parameters.get("name_regex", ""))
        except ValueError as error:
            return respond(f"INVALID_ARGUMENT: {error}", 400, _PLAIN)
        found = list(sections(self._context, matches, "include_eds" in parameters))
        mask = parameters.get("mask", "")
        resource = parameters.get("resource", "")
        return _resource(found, resource, mask) if resource else _all(found, mask)


def _name_match(text: str) -> NameMatch:
    if not text:
        return lambda name: True
    try:
        regex = compile_filter(text)
    except ValueError as error:
        raise ValueError(f"Error while parsing name_regex from {text}: {error}") from error
    return lambda name: regex.fullmatch(name) is not None


def _all(found: Sequence[Section], mask: str) -> AdminResponse:
    tree = parse_mask(mask)
    kept = [one for one in found if _cut(one, tree)] if tree else found
    if not kept:
        return _refuse(f"FieldMask {mask} could not be successfully applied to any configs.", 400)
    return respond_json_list("configs", (object_pieces(one.fields(_DEPTH + 1), _DEPTH) for one in kept))


def _cut(section: Section, tree: Tree) -> bool:
    """Whether the mask fits the section, which then has no more than it names."""
    try:
        section.cut(tree)
    except MaskError:
        return False
    return True


def _resource(found: Sequence[Section], resource: str, mask: str) -> AdminResponse:
    for section in found:
        field = field_of(section.head.DESCRIPTOR, resource)
        if field is None:
            continue
        if not field.is_repeated:
            return _refuse(f"{resource} is not a repeated field. Use ?mask={resource} to get only this field", 400)
        try:
            elements = _cut_elements(section.lists[resource], parse_mask(mask))
        except MaskError:
            paths = "".join(f'paths: "{path}"\n' for path in mask.split(",") if path)
            return _refuse(f"FieldMask {paths} could not be successfully used.", 400)
        return respond_json_list("configs", (any_pieces(one, _DEPTH) for one in elements))
    return _refuse(f"{resource} not found in config dump", 404)


def _cut_elements(elements: Iterable[Any], tree: Tree) -> Iterator[Any]:
    """The elements, cut to the mask; MaskError if it does not fit the first, and so all: they are alike."""
    if not tree:
        return iter(elements)

    def cut(element: Any) -> Any:
        trim_resource(element, tree)
        return element

    made = map(cut, elements)
    first = next(made, None)
    return iter(()) if first is None else chain((first,), made)
