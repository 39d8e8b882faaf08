"""/config_dump (Envoy: ConfigDumpHandler): the loaded configuration, in the messages of ``admin.v3.config_dump``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

from envoy.admin.v3 import config_dump_pb2, config_dump_shared_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2

from proxeny.admin.clusters import eds_health
from proxeny.admin.context import AdminContext, DynamicClusters, DynamicListener, DynamicSecret, Resource
from proxeny.admin.field_mask import MaskError, field_of, parse_mask, trim
from proxeny.admin.proto_json import any_to_json
from proxeny.admin.query import Query
from proxeny.admin.response import AdminResponse, respond, respond_json
from proxeny.admin.stats_params import compile_filter
from proxeny.config.message_types import message_class, type_name_of
from proxeny.upstream.cluster_status import ClusterStatus
from proxeny.upstream.endpoints import INTERNAL, PIPE

NameMatch = Callable[[str], bool]
_HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_PLAIN = b"text/plain"
_HEALTH = {"HEALTHY": 1, "UNHEALTHY": 2, "DRAINING": 3, "DEGRADED": 5}


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
        dumps = list(self._dumps(matches, "include_eds" in parameters))
        mask = parameters.get("mask", "")
        resource = parameters.get("resource", "")
        return _resource(dumps, resource, mask) if resource else _all(dumps, mask)

    def _dumps(self, matches: NameMatch, include_eds: bool) -> Iterator[Any]:
        # In the order of Envoy's keys: bootstrap, clusters, endpoints, listeners, route scopes, routes, secrets.
        context = self._context
        listeners = list(context.static_listeners())
        dynamic = list(context.dynamic_listeners())
        yield _bootstrap(context.bootstrap(), context.node)
        yield _clusters(context.static_clusters(), context.dynamic_clusters(), matches)
        if include_eds:
            yield _endpoints(context.clusters(), matches)
        yield _listeners(listeners, dynamic, context.listeners_version(), matches)
        routes = list(_static_routes([*listeners, *_resources(dynamic)]))
        if routes:
            yield config_dump_shared_pb2.ScopedRoutesConfigDump()
            yield _routes(routes, matches)
        yield _secrets(context.static_secrets(), context.dynamic_secrets(), matches)


def _name_match(text: str) -> NameMatch:
    if not text:
        return lambda name: True
    try:
        regex = compile_filter(text)
    except ValueError as error:
        raise ValueError(f"Error while parsing name_regex from {text}: {error}") from error
    return lambda name: regex.fullmatch(name) is not None


def _all(dumps: Sequence[Any], mask: str) -> AdminResponse:
    kept = list(dumps)
    if mask:
        kept = [dump for dump in dumps if _try_trim(dump, mask)]
        if not kept:
            return _refuse(f"FieldMask {mask} could not be successfully applied to any configs.", 400)
    return respond_json({"configs": [any_to_json(dump) for dump in kept]})


def _try_trim(dump: Any, mask: str) -> bool:
    try:
        trim(dump, parse_mask(mask))
    except MaskError:
        return False
    return True


def _resource(dumps: Sequence[Any], resource: str, mask: str) -> AdminResponse:
    for dump in dumps:
        field = field_of(dump.DESCRIPTOR, resource)
        if field is None:
            continue
        if not field.is_repeated:
            return _refuse(f"{resource} is not a repeated field. Use ?mask={resource} to get only this field", 400)
        found = list(getattr(dump, resource))
        for message in found:
            if mask and not _try_trim(message, mask):
                paths = "".join(f'paths: "{path}"\n' for path in mask.split(","))
                return _refuse(f"FieldMask {paths} could not be successfully used.", 400)
        return respond_json({"configs": [any_to_json(message) for message in found]} if found else {})
    return _refuse(f"{resource} not found in config dump", 404)


def _bootstrap(resource: Resource, node: Any) -> Any:
    dump = config_dump_pb2.BootstrapConfigDump()
    dump.bootstrap.CopyFrom(resource.message)
    dump.bootstrap.node.CopyFrom(node)
    _stamp(dump.last_updated, resource.last_updated)
    return dump


def _stamp(field: Any, seconds: float) -> None:
    field.FromMilliseconds(int(seconds * 1000))


def _clusters(clusters: Sequence[Resource], dynamic: DynamicClusters, matches: NameMatch) -> Any:
    dump = config_dump_shared_pb2.ClustersConfigDump(version_info=dynamic.version)
    for resource in clusters:
        if matches(resource.message.name):
            entry = dump.static_clusters.add()
            entry.cluster.Pack(resource.message)
            _stamp(entry.last_updated, resource.last_updated)
    for field, states in (
        (dump.dynamic_active_clusters, dynamic.active),
        (dump.dynamic_warming_clusters, dynamic.warming),
    ):
        for state in states:
            if matches(state.message.name):
                entry = field.add(version_info=state.version)
                entry.cluster.Pack(state.message)
                _stamp(entry.last_updated, state.last_updated)
    return dump


def _secrets(static: Sequence[Any], dynamic: Sequence[DynamicSecret], matches: NameMatch) -> Any:
    dump = config_dump_pb2.SecretsConfigDump()
    for secret in static:
        if matches(secret.name):
            dump.static_secrets.add(name=secret.name).secret.Pack(secret)
    for one in dynamic:
        if matches(one.name):
            field = dump.dynamic_warming_secrets if one.message is None else dump.dynamic_active_secrets
            entry = field.add(name=one.name, version_info=one.version)
            _stamp(entry.last_updated, one.last_updated)
            shown: Any = secret_pb2.Secret(name=one.name)
            if one.message is not None:
                getattr(shown, one.kind).CopyFrom(one.message)
            entry.secret.Pack(shown)
    return dump


def _listeners(static: Sequence[Resource], dynamic: Sequence[DynamicListener], version: str, matches: NameMatch) -> Any:
    dump = config_dump_shared_pb2.ListenersConfigDump(version_info=version)
    for resource in static:
        if matches(resource.message.name):
            entry = dump.static_listeners.add()
            entry.listener.Pack(resource.message)
            _stamp(entry.last_updated, resource.last_updated)
    for one in dynamic:
        if not one.name or matches(one.name):
            _dynamic_listener(dump.dynamic_listeners.add(name=one.name), one)
    return dump


def _dynamic_listener(entry: Any, one: DynamicListener) -> None:
    for field, state in (
        (entry.active_state, one.active),
        (entry.warming_state, one.warming),
        (entry.draining_state, one.draining),
    ):
        if state is not None:
            field.version_info = state.version
            field.listener.Pack(state.message)
            _stamp(field.last_updated, state.last_updated)
    if one.error is not None:
        entry.error_state.failed_configuration.Pack(one.error.message)
        entry.error_state.details = one.error.details
        if one.error.last_attempt:
            _stamp(entry.error_state.last_update_attempt, one.error.last_attempt)


def _resources(dynamic: Sequence[DynamicListener]) -> Iterator[Resource]:
    for one in dynamic:
        for state in (one.active, one.warming, one.draining):
            if state is not None:
                yield Resource(state.message, state.last_updated)


def _static_routes(listeners: Sequence[Resource]) -> Iterator[Resource]:
    for resource in listeners:
        listener = resource.message
        chains = [*listener.filter_chains, listener.default_filter_chain]
        for one in (one for chain in chains for one in chain.filters):
            if type_name_of(one.typed_config.type_url) != _HCM:
                continue
            manager: Any = message_class(_HCM)()
            manager.ParseFromString(one.typed_config.value)
            if manager.WhichOneof("route_specifier") == "route_config":
                yield Resource(manager.route_config, resource.last_updated)


def _routes(routes: Sequence[Resource], matches: NameMatch) -> Any:
    dump = config_dump_shared_pb2.RoutesConfigDump()
    for resource in routes:
        if matches(resource.message.name):
            entry = dump.static_route_configs.add()
            entry.route_config.Pack(resource.message)
            _stamp(entry.last_updated, resource.last_updated)
    return dump


def _endpoints(clusters: Sequence[ClusterStatus], matches: NameMatch) -> Any:
    dump = config_dump_shared_pb2.EndpointsConfigDump()
    for cluster in clusters:
        if matches(cluster.name):
            field = dump.dynamic_endpoint_configs if cluster.added_via_api else dump.static_endpoint_configs
            field.add().endpoint_config.Pack(_assignment(cluster))
    return dump


def _assignment(cluster: ClusterStatus) -> Any:
    assignment = endpoint_pb2.ClusterLoadAssignment(cluster_name=cluster.eds_service_name or cluster.name)
    policy = cluster.policy
    assignment.policy.overprovisioning_factor.value = policy.overprovisioning_factor
    if policy.drop_overload:
        share = assignment.policy.drop_overloads.add(category=policy.drop_category).drop_percentage
        share.numerator, share.denominator = round(policy.drop_overload * 1_000_000), 2

    def place(host: Any) -> tuple[int, str, str, str]:
        return host.priority, host.region, host.zone, host.sub_zone

    for (priority, region, zone, sub_zone), hosts in groupby(sorted(cluster.hosts, key=place), key=place):
        group = assignment.endpoints.add(priority=priority)
        group.locality.region, group.locality.zone, group.locality.sub_zone = region, zone, sub_zone
        group.load_balancing_weight.value = 0
        for host in hosts:
            entry = group.lb_endpoints.add(health_status=_HEALTH[eds_health(host)])
            entry.load_balancing_weight.value = host.weight
            endpoint = entry.endpoint
            endpoint.hostname = host.hostname
            endpoint.health_check_config.SetInParent()
            if host.port == PIPE:
                endpoint.address.pipe.path = host.address
            elif host.port == INTERNAL:
                endpoint.address.envoy_internal_address.server_listener_name = host.address
                endpoint.address.envoy_internal_address.endpoint_id = host.endpoint_id
            else:
                endpoint.address.socket_address.address = host.address
                endpoint.address.socket_address.port_value = host.port
    return assignment
