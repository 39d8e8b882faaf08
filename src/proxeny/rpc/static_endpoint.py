"""``envoy_grpc`` for clusters of static endpoints, in plain text over grpcio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from envoy.config.core.v3 import grpc_service_pb2

from proxeny.config.errors import ConfigError
from proxeny.rpc.client_manager import make_google

if TYPE_CHECKING:
    import asyncio

    from proxeny.rpc.google_client import GoogleGrpcClient
    from proxeny.stats.store import Store
    from proxeny.upstream.main_cluster_manager import MainClusterManager

_ARGS = {
    "grpc.max_receive_message_length": -1,
    "grpc.initial_reconnect_backoff_ms": 50,
    "grpc.min_reconnect_backoff_ms": 50,
    "grpc.max_reconnect_backoff_ms": 100,
}


def make_static(
    loop: asyncio.AbstractEventLoop, service: Any, store: Store, clusters: MainClusterManager
) -> GoogleGrpcClient:
    """A client for the first host of the cluster that ``service`` names; ConfigError."""
    name = service.envoy_grpc.cluster_name
    cluster = clusters.find(name)
    if cluster is None:
        raise ConfigError(f"Unknown gRPC client cluster '{name}'")
    hosts = cluster.config.hosts
    if not hosts:
        raise ConfigError(f"gRPC client cluster '{name}' is not static")
    over_google = grpc_service_pb2.GrpcService()
    over_google.CopyFrom(service)
    entry = hosts[0]
    google: Any = over_google.google_grpc
    google.target_uri = entry.address_text if entry.port >= 0 else f"unix:{entry.address}"
    google.stat_prefix = name
    for key, value in _ARGS.items():
        google.channel_args.args[key].int_value = value
    return make_google(loop, over_google, store, "")
