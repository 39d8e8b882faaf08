"""The sections of /config_dump, in Envoy's order (``ConfigTracker`` sorts its keys).

The elements of lists are made when they are sent: a section refers to what was loaded at the moment of the request, and
costs next to nothing itself. ``error_state`` is there for every type, where Envoy has it for listeners alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from envoy.admin.v3 import config_dump_pb2, config_dump_shared_pb2
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2

from proxeny.admin.context import (
    AdminContext,
    DynamicListener,
    Packed,
    RefusedUpdate,
    Resource,
    ResourceState,
    ScopedRoutes,
)
from proxeny.admin.endpoint_dump import assignment_of
from proxeny.admin.field_mask import Tree, check, trim
from proxeny.admin.json_pieces import field_pieces, list_field, message_pieces, object_pieces
from proxeny.admin.proto_json import Secrets
from proxeny.admin.response import json_text
from proxeny.config.message_types import message_class, type_name_of
from proxeny.upstream.cluster_status import ClusterStatus

NameMatch = Callable[[str], bool]
Elements = Iterable[Any]

_HCM: Final = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_CLUSTER: Final = "envoy.config.cluster.v3.Cluster"
_ASSIGNMENT: Final = "envoy.config.endpoint.v3.ClusterLoadAssignment"
_ROUTES: Final = "envoy.config.route.v3.RouteConfiguration"
_SCOPE: Final = "envoy.config.route.v3.ScopedRouteConfiguration"
_SECRET: Final = "envoy.extensions.transport_sockets.tls.v3.Secret"
_EXTENSION: Final = "envoy.config.core.v3.TypedExtensionConfig"


class Section:
    """One message of the dump: ``head`` with its singular fields, and its lists by field name."""

    __slots__ = ("head", "lists")

    def __init__(self, head: Any, lists: Mapping[str, Elements] | None = None) -> None:
        self.head = head
        self.lists = dict(lists or {})

    def fields(self, depth: int) -> Iterator[tuple[str, Iterator[str]]]:
        """What its object has, made at ``depth``."""
        yield "@type", iter((json_text(f"type.googleapis.com/{self.head.DESCRIPTOR.full_name}"),))
        yield from field_pieces(self.head, Secrets.BLANKED, depth, {})
        for name, elements in self.lists.items():
            yield from list_field(name, (message_pieces(one, Secrets.BLANKED, depth + 1) for one in elements), depth)

    def cut(self, tree: Tree) -> None:
        """Keep what the mask names; MaskError when it does not fit."""
        check(self.head.DESCRIPTOR, tree)
        trim(self.head, tree)
        self.lists = {name: elements for name, elements in self.lists.items() if name in tree}


class _BootstrapSection(Section):
    """The bootstrap may be large: it is copied only to be cut."""

    __slots__ = ("_bootstrap", "_node")

    def __init__(self, resource: Resource, node: Any) -> None:
        super().__init__(config_dump_pb2.BootstrapConfigDump())
        self._bootstrap: Any = resource.message
        self._node = node
        _stamp(self.head.last_updated, resource.last_updated)

    def fields(self, depth: int) -> Iterator[tuple[str, Iterator[str]]]:
        """With the bootstrap behind the type, and in that the node as it goes to control planes."""
        fields = super().fields(depth)
        yield next(fields)
        if self._bootstrap is not None:
            others = field_pieces(self._bootstrap, Secrets.BLANKED, depth + 1, {})
            node = message_pieces(self._node, Secrets.BLANKED, depth + 1)
            whole = _chain((("node", node),), (one for one in others if one[0] != "node"))
            yield "bootstrap", object_pieces(whole, depth)
        yield from fields

    def cut(self, tree: Tree) -> None:
        """Likewise."""
        check(self.head.DESCRIPTOR, tree)
        if "bootstrap" in tree:
            self.head.bootstrap.CopyFrom(self._bootstrap)
            self.head.bootstrap.node.CopyFrom(self._node)
        self._bootstrap = None
        super().cut(tree)


def sections(context: AdminContext, matches: NameMatch, include_eds: bool) -> Iterator[Section]:
    """All of them."""
    listeners = list(context.static_listeners())
    dynamic = list(context.dynamic_listeners())
    yield _BootstrapSection(context.bootstrap(), context.node)
    yield _clusters(context, matches)
    yield from _extensions(context, matches)
    if include_eds:
        yield _endpoints(context, matches)
    yield _listeners(listeners, dynamic, context.listeners_version(), matches)
    managers = [*listeners, *_generations(dynamic)]
    if any(True for resource in managers for _ in _manager_configs(resource.message)):
        yield _scoped_routes(context, managers, matches)
        yield _routes(context, managers, matches)
    yield _secrets(context, matches)


# -- clusters and endpoints ------------------------------------------------------------------------------------


def _clusters(context: AdminContext, matches: NameMatch) -> Section:
    dynamic = context.dynamic_clusters()
    refused = context.refused(_CLUSTER)
    kind = config_dump_shared_pb2.ClustersConfigDump
    static = (
        _static(kind.StaticCluster, "cluster", one) for one in context.static_clusters() if matches(one.message.name)
    )
    active, warming = ([one for one in states if matches(one.name)] for states in (dynamic.active, dynamic.warming))
    known = {one.name for one in (*active, *warming)}
    return Section(
        kind(version_info=dynamic.version),
        {
            "static_clusters": static,
            "dynamic_active_clusters": _dynamic(kind.DynamicCluster, "cluster", active, refused),
            "dynamic_warming_clusters": _chain(
                _dynamic(kind.DynamicCluster, "cluster", warming, refused),
                _only_refused(kind.DynamicCluster, refused, known, matches),
            ),
        },
    )


def _endpoints(context: AdminContext, matches: NameMatch) -> Section:
    kind = config_dump_shared_pb2.EndpointsConfigDump
    refused = context.refused(_ASSIGNMENT)
    known: set[str] = set()

    def static(cluster: ClusterStatus) -> Any:
        entry = kind.StaticEndpointConfig()
        entry.endpoint_config.Pack(assignment_of(cluster))
        return entry

    def dynamic(cluster: ClusterStatus) -> Any:
        entry = kind.DynamicEndpointConfig()
        entry.endpoint_config.Pack(assignment_of(cluster))
        name = cluster.eds_service_name or cluster.name
        known.add(name)
        _put_error(entry, refused.get(name))
        return entry

    rest = _only_refused(kind.DynamicEndpointConfig, refused, known, matches)
    return Section(
        kind(),
        {
            "static_endpoint_configs": map(static, context.endpoints(matches, False)),
            "dynamic_endpoint_configs": _chain(map(dynamic, context.endpoints(matches, True)), rest),
        },
    )


# -- listeners -------------------------------------------------------------------------------------------------


def _listeners(static: list[Resource], dynamic: list[DynamicListener], version: str, matches: NameMatch) -> Section:
    kind = config_dump_shared_pb2.ListenersConfigDump
    return Section(
        kind(version_info=version),
        {
            "static_listeners": (
                _static(kind.StaticListener, "listener", one) for one in static if matches(one.message.name)
            ),
            "dynamic_listeners": (
                _dynamic_listener(kind.DynamicListener(name=one.name), one, matches(one.name))
                for one in dynamic
                if one.error is not None or matches(one.name)
            ),
        },
    )


def _dynamic_listener(entry: Any, one: DynamicListener, matches: bool) -> Any:
    """Refusals are shown whatever the name, as Envoy does."""
    for field, state in (
        (entry.active_state, one.active),
        (entry.warming_state, one.warming),
        (entry.draining_state, one.draining),
    ):
        if state is not None and matches:
            field.version_info = state.version
            _pack(field.listener, state.message)
            _stamp(field.last_updated, state.last_updated)
    _put_error(entry, one.error)
    return entry


def _generations(dynamic: list[DynamicListener]) -> Iterator[Resource]:
    for one in dynamic:
        for state in (one.active, one.warming, one.draining):
            if state is not None:
                yield Resource(state.message, state.last_updated)


# -- routes ----------------------------------------------------------------------------------------------------


def _manager_configs(listener: Any) -> Iterator[Any]:
    """The Anys of its HTTP connection managers."""
    for chain in (*listener.filter_chains, listener.default_filter_chain):
        for one in chain.filters:
            if type_name_of(one.typed_config.type_url) == _HCM:
                yield one.typed_config


def _scoped_routes(context: AdminContext, managers: list[Resource], matches: NameMatch) -> Section:
    kind = config_dump_shared_pb2.ScopedRoutesConfigDump
    scoped = [*_inline_scopes(managers), *context.scoped_routes()]
    refused = context.refused(_SCOPE)

    def entry(made: Any, one: Any) -> Any:
        for scope in one.scopes:
            if matches(scope.name):
                _pack(made.scoped_route_configs.add(), scope)
        _stamp(made.last_updated, one.last_updated)
        return made

    return Section(
        kind(),
        {
            "inline_scoped_route_configs": (
                entry(kind.InlineScopedRouteConfigs(name=one.name), one) for one in scoped if not one.is_dynamic
            ),
            "dynamic_scoped_route_configs": _chain(
                (
                    entry(kind.DynamicScopedRouteConfigs(name=one.name, version_info=one.version), one)
                    for one in scoped
                    if one.is_dynamic
                ),
                _only_refused(kind.DynamicScopedRouteConfigs, refused, frozenset(), matches),
            ),
        },
    )


def _routes(context: AdminContext, managers: list[Resource], matches: NameMatch) -> Section:
    kind = config_dump_shared_pb2.RoutesConfigDump
    dynamic = [one for one in context.dynamic_routes() if matches(one.name)]
    refused = context.refused(_ROUTES)
    known = {one.name for one in dynamic}
    return Section(
        kind(),
        {
            "static_route_configs": (
                _static(kind.StaticRouteConfig, "route_config", one)
                for one in _inline_routes(managers)
                if matches(one.message.name)
            ),
            "dynamic_route_configs": _chain(
                _dynamic(kind.DynamicRouteConfig, "route_config", dynamic, refused),
                _only_refused(kind.DynamicRouteConfig, refused, known, matches),
            ),
        },
    )


def _inline_scopes(managers: list[Resource]) -> Iterator[ScopedRoutes]:
    for resource in managers:
        for config in _manager_configs(resource.message):
            manager: Any = message_class(_HCM)()
            manager.ParseFromString(config.value)
            scoped = manager.scoped_routes
            if scoped.HasField("scoped_route_configurations_list"):
                scopes = scoped.scoped_route_configurations_list.scoped_route_configurations
                yield ScopedRoutes(scoped.name, "", list(scopes), resource.last_updated, is_dynamic=False)


def _inline_routes(managers: list[Resource]) -> Iterator[Resource]:
    for resource in managers:
        for config in _manager_configs(resource.message):
            manager: Any = message_class(_HCM)()
            manager.ParseFromString(config.value)
            if manager.WhichOneof("route_specifier") == "route_config":
                yield Resource(manager.route_config, resource.last_updated)


# -- secrets and extensions ------------------------------------------------------------------------------------


def _secrets(context: AdminContext, matches: NameMatch) -> Section:
    kind = config_dump_pb2.SecretsConfigDump
    refused = context.refused(_SECRET)
    static = [one for one in context.static_secrets() if matches(one.name)]
    dynamic = [one for one in context.dynamic_secrets() if matches(one.name)]
    known = {one.name for one in dynamic}

    def static_entry(secret: Any) -> Any:
        entry = kind.StaticSecret(name=secret.name)
        entry.secret.Pack(secret)
        return entry

    def dynamic_entry(one: Any) -> Any:
        entry = kind.DynamicSecret(name=one.name, version_info=one.version)
        _stamp(entry.last_updated, one.last_updated)
        shown: Any = secret_pb2.Secret(name=one.name)
        if one.message is not None:
            getattr(shown, one.kind).CopyFrom(one.message)
        entry.secret.Pack(shown)
        _put_error(entry, refused.get(one.name))
        return entry

    return Section(
        kind(),
        {
            "static_secrets": map(static_entry, static),
            "dynamic_active_secrets": (dynamic_entry(one) for one in dynamic if one.message is not None),
            "dynamic_warming_secrets": _chain(
                (dynamic_entry(one) for one in dynamic if one.message is None),
                _only_refused(kind.DynamicSecret, refused, known, matches),
            ),
        },
    )


def _extensions(context: AdminContext, matches: NameMatch) -> Iterator[Section]:
    kind = config_dump_shared_pb2.EcdsConfigDump
    refused = context.refused(_EXTENSION)
    for _, found in sorted(context.extension_configs(), key=lambda one: one[0]):
        states = [one for one in found if matches(one.name)]
        yield Section(kind(), {"ecds_filters": _dynamic(kind.EcdsFilterConfig, "ecds_filter", states, refused)})


# -- elements --------------------------------------------------------------------------------------------------


def _static(kind: Any, field: str, resource: Resource) -> Any:
    entry = kind()
    _pack(getattr(entry, field), resource.message)
    _stamp(entry.last_updated, resource.last_updated)
    return entry


def _dynamic(
    kind: Any, field: str, states: Iterable[ResourceState], refused: Mapping[str, RefusedUpdate]
) -> Iterator[Any]:
    for one in states:
        entry = kind(version_info=one.version)
        _pack(getattr(entry, field), one.message)
        _stamp(entry.last_updated, one.last_updated)
        _put_error(entry, refused.get(one.name))
        yield entry


def _only_refused(
    kind: Any, refused: Mapping[str, RefusedUpdate], known: Iterable[str], matches: NameMatch
) -> Iterator[Any]:
    """Elements for what never was taken; ``known``: what has an element already, once the others are made."""
    for name in sorted(set(refused).difference(known)):
        if matches(name):
            entry = kind()
            if "name" in kind.DESCRIPTOR.fields_by_name:
                entry.name = name
            _put_error(entry, refused[name])
            yield entry


def _chain(*parts: Iterable[Any]) -> Iterator[Any]:
    for part in parts:
        yield from part


def _put_error(entry: Any, refused: RefusedUpdate | None) -> None:
    if refused is None:
        return
    state = entry.error_state
    state.details = refused.details
    state.version_info = refused.version
    if refused.message is not None:
        _pack(state.failed_configuration, refused.message)
    if refused.last_attempt:
        _stamp(state.last_update_attempt, refused.last_attempt)


def _pack(field: Any, message: Any) -> None:
    if isinstance(message, Packed):
        field.type_url, field.value = f"type.googleapis.com/{message.type_name}", message.serialized
    else:
        field.Pack(message)


def _stamp(field: Any, seconds: float) -> None:
    field.FromMilliseconds(int(seconds * 1000))
