"""Patching filter chains and their network filters (Istio: ``patchFilterChains``, ``patchNetworkFilters``)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from proxeny.config.errors import ConfigError
from proxeny.config.patch.envoy_filter import Patch
from proxeny.config.patch.extension_configs import give_configs
from proxeny.config.patch.http_filters import open_manager, patch_http_filters
from proxeny.config.patch.match import chain_matches, listener_matches, network_filter_matches
from proxeny.config.patch.merge import merge_with_transport_socket, pack
from proxeny.config.patch.patch_set import PatchSet, blamed
from proxeny.config.patch.routes import ROUTE_KINDS, patch_routes
from proxeny.config.patch.schema import ApplyTo, Context, Operation
from proxeny.config.patch.sequence import FilterList

_KINDS: Final = (ApplyTo.FILTER_CHAIN, ApplyTo.NETWORK_FILTER, ApplyTo.HTTP_FILTER, ApplyTo.EXTENSION_CONFIG)


def patch_inline_routes(patches: PatchSet, listener: Any, context: Context) -> None:
    """Patch the route configurations that are written inside of a listener's connection managers."""
    if not any(patches.select(kind, context) for kind in ROUTE_KINDS):
        return
    port = listener.address.socket_address.port_value
    for _, chain in _chains(listener):
        for one in chain.filters:
            manager = open_manager(one)
            has_routes = manager is not None and manager.HasField("route_config")
            if has_routes and patch_routes(patches, manager.route_config, context, port):
                pack(one.typed_config, manager)


def patch_chains(patches: PatchSet, listener: Any, context: Context, place: str) -> None:
    """Patch all filter chains of a listener and what is in them."""
    if not any(patches.select(kind, context) for kind in _KINDS):
        return
    removed = [
        index
        for index, (name, chain) in enumerate(_chains(listener))
        if not _patch_chain(patches, listener, chain, context, f"{name} of {place}")
    ]
    count = len(listener.filter_chains)
    for patch in patches.select(ApplyTo.FILTER_CHAIN, context):
        if patch.operation is Operation.ADD and listener_matches(patch, listener):
            listener.filter_chains.append(patch.value)
            patches.record(patch, True, f"added to the filter chains of {place}")
    for index in reversed(removed):
        if index < count:
            del listener.filter_chains[index]
        else:
            listener.ClearField("default_filter_chain")


def _chains(listener: Any) -> Iterator[tuple[str, Any]]:
    """All chains, each with what it is called; the default one last."""
    for index, chain in enumerate(listener.filter_chains):
        yield f"filter chain '{chain.name}'" if chain.name else f"filter chain {index}", chain
    if listener.HasField("default_filter_chain"):
        yield "the default filter chain", listener.default_filter_chain


def _patch_chain(patches: PatchSet, listener: Any, chain: Any, context: Context, place: str) -> bool:
    """Patch one chain; False when it is removed."""
    for patch in patches.select(ApplyTo.FILTER_CHAIN, context):
        if (
            patch.operation is Operation.ADD
            or not listener_matches(patch, listener)
            or not chain_matches(patch, listener, chain)
        ):
            continue
        if patch.operation is Operation.REMOVE:
            patches.record(patch, True, f"removed {place}")
            return False
        _merge_chain(patches, patch, chain, place)
    _patch_network_filters(patches, listener, chain, context, f"the network filters of {place}")
    for one in chain.filters:
        patch_http_filters(patches, listener, chain, one, context, place)
    give_configs(patches, chain.filters, context, f"the network filters of {place}")
    return True


def _merge_chain(patches: PatchSet, patch: Patch, chain: Any, place: str) -> None:
    try:
        patches.record(patch, merge_with_transport_socket(chain, patch.value, patch.replaces_lists), place)
    except ConfigError as error:
        raise blamed(error, patch, f"the transport socket of {place}") from error.__cause__


def _patch_network_filters(patches: PatchSet, listener: Any, chain: Any, context: Context, place: str) -> None:
    """First what adds, moves and removes, then what merges."""
    filters = FilterList(chain.filters, ApplyTo.NETWORK_FILTER, place)
    merging = []
    for patch in patches.select(ApplyTo.NETWORK_FILTER, context):
        if listener_matches(patch, listener) and chain_matches(patch, listener, chain):
            if patch.operation is Operation.MERGE:
                merging.append(patch)
            else:
                filters.edit(patches, patch, partial(network_filter_matches, patch))
    for patch in merging:
        filters.merge(patches, patch, partial(network_filter_matches, patch))
