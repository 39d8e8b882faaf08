"""Bootstraps and resources of the xDS cases, as trees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

TYPES = "type.googleapis.com/envoy"
HCM = f"{TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = f"{TYPES}.extensions.filters.http.router.v3.Router"
HTTP_OPTIONS = f"{TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions"
PLANE = "control_plane"
"""The cluster of the bootstrap that leads to the control plane."""


@dataclass(frozen=True)
class Variant:
    """How resources are asked for: over one stream or many, as the state of the world or as differences."""

    name: str
    delta: bool
    aggregated: bool

    def grpc(self) -> list[Json]:
        """``grpc_services``; comes back within milliseconds."""
        back_off = {"base_interval": "0.01s", "max_interval": "0.05s"}
        return [{"envoy_grpc": {"cluster_name": PLANE, "retry_policy": {"retry_back_off": back_off}}}]

    def api(self, **more: Any) -> Json:
        """An ``ApiConfigSource`` of its own stream."""
        kind = "DELTA_GRPC" if self.delta else "GRPC"
        return {"api_type": kind, "transport_api_version": "V3", "grpc_services": self.grpc(), **more}

    def source(self, **more: Any) -> Json:
        """A ``ConfigSource``; ``more`` are its own fields."""
        if self.aggregated:
            return {"ads": {}, "resource_api_version": "V3", **more}
        return {"api_config_source": self.api(), "resource_api_version": "V3", **more}

    def bootstrap(self, port: int, **more: Any) -> Json:
        """A configuration that gets listeners and clusters from the control plane at ``port``; the rest replaces it."""
        dynamic = {"lds_config": self.source(), "cds_config": self.source()}
        if self.aggregated:
            api = self.api()
            api["api_type"] = "DELTA_GRPC" if self.delta else "GRPC"
            dynamic["ads_config"] = api
        return {
            "node": {"id": "test", "cluster": "test"},
            "admin": {"address": address(0)},
            "dynamic_resources": dynamic,
            "static_resources": {"clusters": [plane_cluster(port)]},
            **more,
        }


VARIANTS = (
    Variant("ads-sotw", delta=False, aggregated=True),
    Variant("ads-delta", delta=True, aggregated=True),
    Variant("separate-sotw", delta=False, aggregated=False),
    Variant("separate-delta", delta=True, aggregated=False),
)


def address(port: int) -> Json:
    """A local address."""
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def plane_cluster(port: int, name: str = PLANE) -> Json:
    """A cluster that speaks HTTP/2 to a control plane."""
    options = {"@type": HTTP_OPTIONS, "explicit_http_config": {"http2_protocol_options": {}}}
    return {
        "name": name,
        "load_assignment": assignment(name, port),
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
    }


def assignment(name: str, *ports: int, **more: Any) -> Json:
    """A ClusterLoadAssignment with these endpoints."""
    hosts = [{"endpoint": {"address": address(port)}} for port in ports]
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}] if hosts else [], **more}


def static(name: str, *ports: int, **more: Any) -> Json:
    """A static cluster."""
    return {"name": name, "load_assignment": assignment(name, *ports), **more}


def eds(name: str, source: Json, service_name: str = "", **more: Any) -> Json:
    """A cluster whose endpoints come from ``source``."""
    config: Json = {"eds_config": source}
    if service_name:
        config["service_name"] = service_name
    return {"name": name, "type": "EDS", "eds_cluster_config": config, **more}


def routes(name: str, *clusters: str, match: str = "path", **more: Any) -> Json:
    """A RouteConfiguration: ``/CLUSTER`` goes to that cluster; with ``=X`` for a cluster ``/say`` is answered X."""
    found = []
    for cluster in clusters:
        if cluster.startswith("="):
            action: Json = {"direct_response": {"status": 200, "body": {"inline_string": cluster[1:]}}}
            found.append({"match": {"path": "/say"}, **action})
        else:
            found.append({"match": {match: f"/{cluster}"}, "route": {"cluster": cluster}})
    return {"name": name, "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": found}], **more}


def listener(name: str, *, route_config: Json | None = None, rds: Json | None = None, **more: Any) -> Json:
    """An HTTP listener at a free port; ``rds`` is its ``Rds`` message."""
    manager: Json = {
        "@type": HCM,
        "stat_prefix": name,
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}}],
    }
    if rds is not None:
        manager["rds"] = rds
    else:
        manager["route_config"] = route_config or routes("local", f"={name}")
    network = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    return {"name": name, "address": address(0), "filter_chains": [{"filters": network}], **more}
