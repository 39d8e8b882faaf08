"""Resource types and the services that serve them (Envoy: api/envoy/service/*/v3/*ds.proto)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LDS: Final = "envoy.config.listener.v3.Listener"
CDS: Final = "envoy.config.cluster.v3.Cluster"
RDS: Final = "envoy.config.route.v3.RouteConfiguration"
SRDS: Final = "envoy.config.route.v3.ScopedRouteConfiguration"
VHDS: Final = "envoy.config.route.v3.VirtualHost"
EDS: Final = "envoy.config.endpoint.v3.ClusterLoadAssignment"
SDS: Final = "envoy.extensions.transport_sockets.tls.v3.Secret"
RTDS: Final = "envoy.service.runtime.v3.Runtime"
ECDS: Final = "envoy.config.core.v3.TypedExtensionConfig"

SHORT_NAMES: Final = {
    LDS: "LDS", CDS: "CDS", RDS: "RDS", SRDS: "SRDS", VHDS: "VHDS", EDS: "EDS", SDS: "SDS", RTDS: "RTDS", ECDS: "ECDS",
}  # fmt: skip
"""By message type, the name that people use; for texts."""

WILDCARD: Final = "*"
_PREFIX: Final = "type.googleapis.com/"
_NAME_FIELDS: Final = {EDS: "cluster_name"}


@dataclass(frozen=True, slots=True)
class Method:
    """One streaming method: ``delta`` is the incremental protocol, ``type_name`` is empty for ADS."""

    path: str
    delta: bool
    type_name: str


def _methods() -> dict[str, Method]:
    services = (
        ("envoy.service.discovery.v3.AggregatedDiscoveryService", "AggregatedResources", ""),
        ("envoy.service.listener.v3.ListenerDiscoveryService", "Listeners", LDS),
        ("envoy.service.cluster.v3.ClusterDiscoveryService", "Clusters", CDS),
        ("envoy.service.route.v3.RouteDiscoveryService", "Routes", RDS),
        ("envoy.service.route.v3.ScopedRoutesDiscoveryService", "ScopedRoutes", SRDS),
        ("envoy.service.route.v3.VirtualHostDiscoveryService", "VirtualHosts", VHDS),
        ("envoy.service.endpoint.v3.EndpointDiscoveryService", "Endpoints", EDS),
        ("envoy.service.secret.v3.SecretDiscoveryService", "Secrets", SDS),
        ("envoy.service.runtime.v3.RuntimeDiscoveryService", "Runtime", RTDS),
        ("envoy.service.extension.v3.ExtensionConfigDiscoveryService", "ExtensionConfigs", ECDS),
    )
    found = {}
    for service, what, type_name in services:
        for kind, delta in (("Stream", False), ("Delta", True)):
            if delta or type_name != VHDS:  # VHDS is incremental only
                path = f"/{service}/{kind}{what}"
                found[path] = Method(path, delta, type_name)
    return found


METHODS: Final = _methods()
"""By path."""


def type_url(type_name: str) -> str:
    """How requests and responses name a message type."""
    return _PREFIX + type_name


def type_name_of(url: str) -> str:
    """The message type of a type URL, whatever its prefix."""
    return url.rpartition("/")[2]


def short_name(type_name: str) -> str:
    """``CDS`` and the like; the message type itself where there is none."""
    return SHORT_NAMES.get(type_name, type_name)


def name_field_of(type_name: str) -> str:
    """The field that holds a resource's name."""
    return _NAME_FIELDS.get(type_name, "name")
