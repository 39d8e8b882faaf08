"""Where gRPC clients come from (Envoy: ``Grpc::AsyncClientManagerImpl``)."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from proxeny.config.errors import ConfigError
from proxeny.rpc.google_client import GOOGLE_GRPC, GoogleGrpcClient
from proxeny.rpc.google_credentials import GoogleCredentials
from proxeny.rpc.initial_metadata import check_initial_metadata, literal_metadata

if TYPE_CHECKING:
    import asyncio

    from proxeny.stats.store import Store
    from proxeny.xds.grpc_client import GrpcClient


class GrpcClientManager:
    """The clients of one process. ``make_envoy`` makes a client of a service that is a cluster."""

    def __init__(self, loop: asyncio.AbstractEventLoop, store: Store, make_envoy: Callable[[Any], GrpcClient]) -> None:
        self._loop = loop
        self._store = store
        self._make_envoy = make_envoy
        self._clients: weakref.WeakSet[Any] = weakref.WeakSet()

    def of(self, grpc_service: Any, stat_prefix: str = "") -> GrpcClient:
        """A client for a ``config.core.v3.GrpcService``, its caller's alone; ConfigError.

        ``stat_prefix``: what the statistics of a ``google_grpc`` stand below.
        """
        client = self._make(grpc_service, stat_prefix)
        self._clients.add(client)
        return client

    def _make(self, service: Any, stat_prefix: str) -> GrpcClient:
        kind = service.WhichOneof("target_specifier")
        if kind == "envoy_grpc":
            return self._make_envoy(service)
        if kind != "google_grpc":
            raise ConfigError("a gRPC service needs a target_specifier")
        return make_google(self._loop, service, self._store, stat_prefix)

    def close(self) -> None:
        """End all streams without callbacks."""
        for client in list(self._clients):
            client.close()


def make_google(loop: asyncio.AbstractEventLoop, service: Any, store: Store, stat_prefix: str) -> GoogleGrpcClient:
    """A client over grpcio; ConfigError."""
    check_initial_metadata(service)
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
        literal_metadata(service),
        service.timeout.ToMilliseconds(),
        store.block(GOOGLE_GRPC, f"{stat_prefix}grpc.{google.stat_prefix}."),
    )
