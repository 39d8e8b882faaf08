"""The discovery services of single types (Envoy: ``type_to_endpoint.cc``)."""

from __future__ import annotations

from typing import Final, NamedTuple

from proxeny.config.errors import ConfigError


class DiscoveryMethods(NamedTuple):
    """Paths of the methods of one service; empty: it has none of that kind."""

    sotw: str
    delta: str
    rest: str


def _methods(package: str, service: str, what: str, *, delta_only: bool = False) -> DiscoveryMethods:
    path = f"/envoy.service.{package}.v3.{service}"
    if delta_only:
        return DiscoveryMethods("", f"{path}/Delta{what}", "")
    return DiscoveryMethods(f"{path}/Stream{what}", f"{path}/Delta{what}", f"{path}/Fetch{what}")


ADS: Final = DiscoveryMethods(
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources",
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
    "",
)

_BY_TYPE: Final = {
    "envoy.config.cluster.v3.Cluster": _methods("cluster", "ClusterDiscoveryService", "Clusters"),
    "envoy.config.core.v3.TypedExtensionConfig": _methods(
        "extension", "ExtensionConfigDiscoveryService", "ExtensionConfigs"
    ),
    "envoy.config.endpoint.v3.ClusterLoadAssignment": _methods("endpoint", "EndpointDiscoveryService", "Endpoints"),
    "envoy.config.endpoint.v3.LbEndpoint": _methods(
        "endpoint", "LocalityEndpointDiscoveryService", "LocalityEndpoints", delta_only=True
    ),
    "envoy.config.listener.v3.Listener": _methods("listener", "ListenerDiscoveryService", "Listeners"),
    "envoy.config.route.v3.RouteConfiguration": _methods("route", "RouteDiscoveryService", "Routes"),
    "envoy.config.route.v3.ScopedRouteConfiguration": _methods("route", "ScopedRoutesDiscoveryService", "ScopedRoutes"),
    "envoy.config.route.v3.VirtualHost": _methods(
        "route", "VirtualHostDiscoveryService", "VirtualHosts", delta_only=True
    ),
    "envoy.extensions.transport_sockets.tls.v3.Secret": _methods("secret", "SecretDiscoveryService", "Secrets"),
    "envoy.service.runtime.v3.Runtime": _methods("runtime", "RuntimeDiscoveryService", "Runtime"),
}


def methods_of(type_name: str) -> DiscoveryMethods:
    """The methods that deliver a type; ConfigError for one that no service delivers."""
    methods = _BY_TYPE.get(type_name)
    if methods is None:
        raise ConfigError(f"no discovery service delivers {type_name}")
    return methods


def method_of(type_name: str, *, delta: bool) -> str:
    """The path of the method that streams a type; ConfigError where there is none."""
    methods = methods_of(type_name)
    method = methods.delta if delta else methods.sotw
    if not method:
        raise ConfigError(f"{type_name} cannot be had over {'delta' if delta else 'state of the world'} gRPC")
    return method
