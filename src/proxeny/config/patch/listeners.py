"""Patching a listener and its listener filters (Istio: ``listener_patch.go``).

The order is Istio's: the listener, its listener filters, then chain by chain the chain, its filters (first what adds,
moves and removes, then what merges) and the HTTP filters of its connection managers. Inline route configurations come
before all of these, since Istio patches routes before it puts them into a listener.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from proxeny.config.patch.extension_configs import give_configs
from proxeny.config.patch.filter_chains import patch_chains, patch_inline_routes
from proxeny.config.patch.match import listener_filter_matches, listener_matches
from proxeny.config.patch.merge import merge
from proxeny.config.patch.patch_set import PatchSet
from proxeny.config.patch.schema import ApplyTo, Context, Operation
from proxeny.config.patch.sequence import FilterList


def patch_listener(patches: PatchSet, listener: Any, context: Context | None = None) -> bool:
    """Patch a listener in place; False when it is removed. ``context``: where the message does not tell.

    Raises ConfigError naming the patch that cannot be applied.
    """
    if context is None:
        context = patches.proxy.listener_context(listener)
    place = f"listener '{listener.name or _address(listener)}'"
    patch_inline_routes(patches, listener, context)
    for patch in patches.select(ApplyTo.LISTENER, context):
        if patch.operation is Operation.ADD or not listener_matches(patch, listener):
            continue
        if patch.operation is Operation.REMOVE:
            patches.record(patch, True, f"removed {place}")
            return False
        patches.record(patch, merge(listener, patch.value, patch.replaces_lists), place)
    _patch_listener_filters(patches, listener, context, place)
    patch_chains(patches, listener, context, place)
    return True


def added_listeners(patches: PatchSet) -> list[Any]:
    """The listeners that patches add."""
    return patches.added(ApplyTo.LISTENER)


def _address(listener: Any) -> str:
    """What a listener without a name is called."""
    address = listener.address.socket_address
    return f"{address.address}:{address.port_value}"


def _patch_listener_filters(patches: PatchSet, listener: Any, context: Context, place: str) -> None:
    place = f"the listener filters of {place}"
    filters = FilterList(listener.listener_filters, ApplyTo.LISTENER_FILTER, place)
    for patch in patches.select(ApplyTo.LISTENER_FILTER, context):
        if listener_matches(patch, listener):
            matches = partial(listener_filter_matches, patch)
            if patch.operation is Operation.MERGE:
                filters.merge(patches, patch, matches)
            else:
                filters.edit(patches, patch, matches)
    give_configs(patches, listener.listener_filters, context, place)
