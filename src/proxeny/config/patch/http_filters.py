"""Patching the HTTP filters of a connection manager (Istio: ``patchHTTPFilters``)."""

from __future__ import annotations

from functools import partial
from typing import Any

from proxeny.config.anys import open_any
from proxeny.config.errors import ConfigError
from proxeny.config.patch.extension_configs import give_configs
from proxeny.config.patch.match import (
    HCM_TYPE,
    chain_matches,
    http_filter_matches,
    listener_matches,
    network_filter_matches,
)
from proxeny.config.patch.merge import pack
from proxeny.config.patch.patch_set import PatchSet
from proxeny.config.patch.schema import ApplyTo, Context, Operation
from proxeny.config.patch.sequence import FilterList


def open_manager(network_filter: Any) -> Any:
    """The HTTP connection manager that a network filter is; None when it is another filter (or is malformed: the checks
    of the whole configuration have the words for that).
    """
    if not network_filter.HasField("typed_config"):
        return None
    try:
        message = open_any(network_filter.typed_config)
    except ConfigError:
        return None
    return message if message.DESCRIPTOR.full_name == HCM_TYPE else None


def patch_http_filters(
    patches: PatchSet, listener: Any, chain: Any, network_filter: Any, context: Context, place: str
) -> None:
    """Patch the HTTP filters of a connection manager: first what adds, moves and removes, then what merges."""
    wanted = [
        patch
        for patch in patches.select(ApplyTo.HTTP_FILTER, context)
        if listener_matches(patch, listener)
        and chain_matches(patch, listener, chain)
        and network_filter_matches(patch, network_filter)
    ]
    if not wanted and not patches.select(ApplyTo.EXTENSION_CONFIG, context):
        return
    manager = open_manager(network_filter)
    if manager is None:
        return
    before = patches.changes
    place = f"the HTTP filters of {place}"
    filters = FilterList(manager.http_filters, ApplyTo.HTTP_FILTER, place)
    for patch in wanted:
        if patch.operation is not Operation.MERGE:
            filters.edit(patches, patch, partial(http_filter_matches, patch))
    for patch in wanted:
        if patch.operation is Operation.MERGE:
            filters.merge(patches, patch, partial(http_filter_matches, patch))
    give_configs(patches, manager.http_filters, context, place)
    if patches.changes != before:
        pack(network_filter.typed_config, manager)
