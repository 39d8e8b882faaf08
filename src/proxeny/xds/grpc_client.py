"""The contract of gRPC clients, whoever moves the bytes (Envoy: ``Grpc::RawAsyncClient``, ``Grpc::RawAsyncStream``).

Messages are serialized protobuf, without the five bytes that frame them on the wire.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

Metadata = Sequence[tuple[str, str]]


class GrpcStreamCallbacks(Protocol):
    """Who uses a stream; called from the event loop, never from inside ``open`` or ``send``."""

    def on_message(self, data: bytes) -> None:
        """One message; raises DecodeError where it is none of the right kind: the stream ends with INTERNAL then."""

    def on_close(self, status: int, message: str) -> None:
        """The stream is over (a gRPC status code, -1: none of them, and a message); nothing is called afterwards."""


class GrpcStream(Protocol):
    """One stream that is open."""

    def send(self, data: bytes) -> None:
        """Send a message; what is sent on a stream that broke is lost, and ``on_close`` tells."""

    def half_close(self) -> None:
        """No more messages from here."""

    def reset(self) -> None:
        """Over, without another callback."""


class GrpcUnaryCallbacks(Protocol):
    """Who waits for one answer."""

    def on_success(self, data: bytes) -> None:
        """The answer."""

    def on_failure(self, status: int, message: str) -> None:
        """None came."""


class GrpcCall(Protocol):
    """A unary call on its way."""

    def cancel(self) -> None:
        """No callback any more."""


class GrpcClient(Protocol):
    """Makes streams and calls to one service, a ``config.core.v3.GrpcService``."""

    def open(self, method: str, callbacks: GrpcStreamCallbacks, metadata: Metadata = ()) -> GrpcStream | None:
        """A stream of ``/package.Service/Method``; None when there is nobody to connect to."""

    def unary(
        self, method: str, data: bytes, callbacks: GrpcUnaryCallbacks, timeout_ms: int = 0, metadata: Metadata = ()
    ) -> GrpcCall:
        """One call; ``timeout_ms`` 0: as the service's configuration says."""

    def close(self) -> None:
        """End its streams without callbacks."""


class GrpcClients(Protocol):
    """Where clients come from (Envoy: ``Grpc::AsyncClientManager``)."""

    def of(self, grpc_service: Any, stat_prefix: str) -> GrpcClient:
        """A client for a ``config.core.v3.GrpcService``; ConfigError."""

    def check(self, grpc_service: Any) -> None:
        """ConfigError for a service that ``of`` would refuse."""
