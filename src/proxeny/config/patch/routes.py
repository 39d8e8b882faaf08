"""Patching a route configuration, its virtual hosts and routes (Istio: ``rc_patch.go``)."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from proxeny.config.patch.checks import selects
from proxeny.config.patch.envoy_filter import Patch
from proxeny.config.patch.match import route_matches, routes_match, virtual_host_matches
from proxeny.config.patch.merge import merge
from proxeny.config.patch.patch_set import PatchSet
from proxeny.config.patch.schema import ApplyTo, Context, Operation
from proxeny.config.patch.sequence import edit

ROUTE_KINDS: Final = (ApplyTo.ROUTE_CONFIGURATION, ApplyTo.VIRTUAL_HOST, ApplyTo.HTTP_ROUTE)


def patch_routes(patches: PatchSet, routes: Any, context: Context | None = None, listener_port: int = 0) -> bool:
    """Patch a RouteConfiguration in place; whether anything changed. ``context``: that of its listener, where known."""
    if context is None:
        context = patches.proxy.route_context(routes.name)
    before = patches.changes
    place = f"route configuration '{routes.name}'"
    for patch in patches.select(ApplyTo.ROUTE_CONFIGURATION, context):
        if routes_match(patch, routes, context, listener_port):
            patches.record(patch, merge(routes, patch.value, patch.replaces_lists), place)
    on_hosts = _matching(patches, ApplyTo.VIRTUAL_HOST, routes, context, listener_port)
    on_routes = _matching(patches, ApplyTo.HTTP_ROUTE, routes, context, listener_port)
    removed = [
        index
        for index, host in enumerate(routes.virtual_hosts)
        if not _patch_virtual_host(patches, on_hosts, on_routes, host, f"virtual host '{host.name}' of {place}")
    ]
    for index in reversed(removed):
        del routes.virtual_hosts[index]
    for patch in on_hosts:
        if patch.operation is Operation.ADD:
            routes.virtual_hosts.append(patch.value)
            patches.record(patch, True, f"added virtual host '{patch.value.name}' to {place}")
    return patches.changes != before


def _matching(patches: PatchSet, kind: ApplyTo, routes: Any, context: Context, port: int) -> list[Patch]:
    return [patch for patch in patches.select(kind, context) if routes_match(patch, routes, context, port)]


def _patch_virtual_host(
    patches: PatchSet, on_hosts: list[Patch], on_routes: list[Patch], host: Any, place: str
) -> bool:
    """Patch one virtual host; False when it is removed."""
    for patch in on_hosts:
        if patch.operation is Operation.ADD or not virtual_host_matches(patch, host):
            continue
        if patch.operation is Operation.REMOVE:
            patches.record(patch, True, f"removed {place}")
            return False
        if patch.operation is Operation.REPLACE:
            host.CopyFrom(patch.value)
            patches.record(patch, True, f"in place of {place}")
        else:
            patches.record(patch, merge(host, patch.value, patch.replaces_lists), place)
    _patch_http_routes(patches, [patch for patch in on_routes if virtual_host_matches(patch, host)], host, place)
    return True


def _patch_http_routes(patches: PatchSet, on_routes: list[Patch], host: Any, place: str) -> None:
    """First what merges and removes, route by route, then what adds."""
    if not on_routes:
        return
    removed = [
        index for index, route in enumerate(host.routes) if not _patch_http_route(patches, on_routes, route, place)
    ]
    for index in reversed(removed):
        del host.routes[index]
    for patch in on_routes:
        if not patch.merges and patch.operation is not Operation.REMOVE:
            _add_http_route(patches, patch, host, f"the routes of {place}")


def _add_http_route(patches: PatchSet, patch: Patch, host: Any, place: str) -> None:
    matches = partial(route_matches, patch)
    selective = selects(ApplyTo.HTTP_ROUTE, patch.match)
    if patch.operation is Operation.INSERT_FIRST and selective and not any(map(matches, host.routes)):
        return
    did = edit(host.routes, patch, matches, selective)
    if did:
        patches.record(patch, True, f"{did} {place}")


def _patch_http_route(patches: PatchSet, on_routes: list[Patch], route: Any, place: str) -> bool:
    """Patch one route; False when it is removed."""
    for patch in on_routes:
        if not (patch.merges or patch.operation is Operation.REMOVE) or not route_matches(patch, route):
            continue
        title = f"route '{route.name}' of {place}"
        if patch.operation is Operation.REMOVE:
            patches.record(patch, True, f"removed {title}")
            return False
        patches.record(patch, merge(route, patch.value, patch.replaces_lists), title)
    return True
