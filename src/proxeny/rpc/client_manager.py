"""Where gRPC clients come from (Envoy: ``Grpc::AsyncClientManagerImpl``)."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from proxeny.config.errors import ConfigError
from proxeny.rpc.envoy_client import EnvoyGrpcClient, retry_policy_of
from proxeny.rpc.google_client import GOOGLE_GRPC, GoogleGrpcClient
from proxeny.rpc.google_credentials import GoogleCredentials
from proxeny.rpc.initial_metadata import check_characters, for_grpcio, initial_metadata

if TYPE_CHECKING:
    import asyncio

    from proxeny.network.factory_context import FactoryContext
    from proxeny.stats.store import Store
    from proxeny.xds.grpc_client import GrpcClient


class GrpcClientManager:
    """The clients of one process (``GrpcClients``)."""

    def __init__(self, context: FactoryContext) -> None:
        self._context = context
        self._clients: weakref.WeakSet[Any] = weakref.WeakSet()

    def of(self, grpc_service: Any, stat_prefix: str = "") -> GrpcClient:
        """A client for a ``config.core.v3.GrpcService``, its caller's alone; ConfigError.

        Whether the cluster of an ``envoy_grpc`` is there is not looked at. ``stat_prefix``: what the statistics of a
        ``google_grpc`` stand below.
        """
        client = self._make(grpc_service, stat_prefix)
        self._clients.add(client)
        return client

    def check(self, grpc_service: Any) -> None:
        """ConfigError for a service that ``of`` would refuse; nothing is made or counted."""
        if grpc_service.HasField("google_grpc"):
            check_characters(grpc_service)
            GoogleCredentials(grpc_service.google_grpc)
        elif grpc_service.HasField("retry_policy"):
            retry_policy_of(grpc_service.retry_policy)
        initial_metadata(grpc_service)

    def _make(self, service: Any, stat_prefix: str) -> GrpcClient:
        kind = service.WhichOneof("target_specifier")
        if kind == "envoy_grpc":
            return EnvoyGrpcClient(service, self._context)
        if kind != "google_grpc":
            raise ConfigError("a gRPC service needs a target_specifier")
        return make_google(self._context.dispatcher, service, self._context.stats, stat_prefix)

    def close(self) -> None:
        """End all streams without callbacks."""
        for client in list(self._clients):
            client.close()


def make_google(
    loop: asyncio.AbstractEventLoop | None, service: Any, store: Store, stat_prefix: str
) -> GoogleGrpcClient:
    """A client over grpcio; ConfigError."""
    check_characters(service)
    google = service.google_grpc
    args: list[tuple[str, str | int]] = []
    for name, value in google.channel_args.args.items():
        integer = value.WhichOneof("value_specifier") == "int_value"
        args.append((name, value.int_value if integer else value.string_value))
    return GoogleGrpcClient(
        loop,
        google.target_uri,
        GoogleCredentials(google),
        tuple(args),
        for_grpcio(initial_metadata(service)),
        service.timeout.ToMilliseconds(),
        store.block(GOOGLE_GRPC, f"{stat_prefix}grpc.{google.stat_prefix}."),
    )
