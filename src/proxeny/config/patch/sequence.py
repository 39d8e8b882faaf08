"""Changing lists of objects: filters of a chain, routes of a virtual host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from proxeny.config.errors import ConfigError
from proxeny.config.patch.checks import selects
from proxeny.config.patch.envoy_filter import Patch
from proxeny.config.patch.merge import merge_configured
from proxeny.config.patch.patch_set import PatchSet, blamed
from proxeny.config.patch.schema import ApplyTo, FilterClass, Operation

_AUTHN: Final = frozenset(("envoy.filters.http.jwt_authn", "istio_authn", "istio.authn"))
_AUTHZ: Final = frozenset(("envoy.filters.http.rbac", "envoy.filters.network.rbac"))
_STATS: Final = frozenset(("istio.stats",))
_BEHIND: Final = {FilterClass.AUTHN: _AUTHN, FilterClass.AUTHZ: _AUTHZ}


def edit(items: Any, patch: Patch, matches: Callable[[Any], bool], selective: bool) -> str:
    """Add, insert, remove or replace in the list ``items``; what was done, empty when nothing was.

    ``selective``: the patch names one item. The first that matches counts; a removal takes all that match.
    """
    operation = patch.operation
    if operation is Operation.REMOVE:
        return _remove(items, matches)
    if operation is Operation.ADD or (operation is Operation.INSERT_AFTER and not selective):
        items.append(patch.value)
        return "added to"
    if operation is Operation.INSERT_FIRST or (operation is Operation.INSERT_BEFORE and not selective):
        items.insert(0, patch.value)
        return "put first in"
    index = next((index for index, item in enumerate(items) if matches(item)), None)
    if index is None:
        return ""
    name = items[index].name
    if operation is Operation.REPLACE:
        items[index].CopyFrom(patch.value)
        return f"in place of '{name}' in"
    after = operation is Operation.INSERT_AFTER
    items.insert(index + after, patch.value)
    return f"{'behind' if after else 'before'} '{name}' in"


def _remove(items: Any, matches: Callable[[Any], bool]) -> str:
    found = [index for index, item in enumerate(items) if matches(item)]
    names = ", ".join(f"'{items[index].name}'" for index in found)
    for index in reversed(found):
        del items[index]
    return f"removed {names} from" if found else ""


class FilterList:
    """The filters of one list as patches change them; added filters of one class keep their order."""

    __slots__ = ("_filters", "_kind", "_last", "_place")

    def __init__(self, filters: Any, kind: ApplyTo, place: str) -> None:
        self._filters = filters
        self._kind = kind
        self._place = place
        self._last: dict[FilterClass, str] = {}

    def edit(self, patches: PatchSet, patch: Patch, matches: Callable[[Any], bool]) -> None:
        """Whatever a patch does but merge."""
        if patch.operation is Operation.ADD and patch.filter_class is not FilterClass.UNSPECIFIED:
            self._add_by_class(patch)
            did = "added to"
        else:
            did = edit(self._filters, patch, matches, selects(self._kind, patch.match))
        if did:
            patches.record(patch, True, f"{did} {self._place}")

    def merge(self, patches: PatchSet, patch: Patch, matches: Callable[[Any], bool]) -> None:
        """Merge a patch into all filters that match and have a configuration of their own."""
        for one in self._filters:
            if matches(one) and one.HasField("typed_config"):
                place = f"'{one.name}' of {self._place}"
                try:
                    patches.record(patch, merge_configured(one, patch.value), place)
                except ConfigError as error:
                    raise blamed(error, patch, place) from error.__cause__

    def _add_by_class(self, patch: Patch) -> None:
        """Behind the filters of authentication or authorization, before Istio's stats filter; without these before
        the last filter, which ends the chain.
        """
        names = [one.name for one in self._filters]
        filter_class = patch.filter_class
        before = {self._last[filter_class]} if filter_class in self._last else _BEHIND.get(filter_class, frozenset())
        position = max((index + 1 for index, name in enumerate(names) if name in before), default=-1)
        if position < 0 and filter_class is FilterClass.STATS:
            position = next((index for index, name in enumerate(names) if name in _STATS), -1)
        if position < 0:
            position = max(0, len(names) - 1)
        self._filters.insert(position, patch.value)
        self._last[filter_class] = patch.value.name
