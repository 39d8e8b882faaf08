"""What a pool reports to those who asked it for a stream or a connection (Envoy: ``ConnectionPool::Callbacks``)."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from proxeny.http.codec import RequestEncoder
    from proxeny.http.codec_client import CodecClient
    from proxeny.network.connection import ClientConnection
    from proxeny.upstream.host import Host


class PoolFailureReason(IntEnum):
    """Why there is no stream (Envoy: ``ConnectionPool::PoolFailureReason``)."""

    OVERFLOW = 0
    """A circuit breaker is open."""
    LOCAL_CONNECTION_FAILURE = 1
    """Our side closed the connection while it was connecting."""
    REMOTE_CONNECTION_FAILURE = 2
    """The peer refused or closed it while it was connecting."""
    TIMEOUT = 3
    """Cluster.connect_timeout."""
    NO_POOL = 4
    """The host has as many pools as it may (``max_connection_pools``), or there is no host to connect to after all (its
    name was not resolved): as if no host had been chosen. ``details`` is what the response is told, "" the usual."""


class CancelPolicy(IntEnum):
    """What becomes of a connection that was opened for a cancelled request."""

    DEFAULT = 0
    """Keep it for the next request."""
    CLOSE_EXCESS = 1
    """Close it when nobody else waits for it."""


class Cancellable(Protocol):
    """A request that waits for a connection."""

    def cancel(self, policy: CancelPolicy = CancelPolicy.DEFAULT) -> None:
        """Wait no longer; no callback comes afterwards."""


class HttpPoolCallbacks(Protocol):
    """Who asked for an HTTP stream."""

    def on_pool_ready(self, request_encoder: RequestEncoder, host: Host, codec_client: CodecClient) -> None:
        """Here it is: send the request."""

    def on_pool_failure(self, reason: PoolFailureReason, details: str, host: Host | None) -> None:
        """There is none; ``details`` is the transport's failure reason, ``host`` is None when the queue was full."""


class TcpPoolCallbacks(Protocol):
    """Who asked for a TCP connection."""

    def on_pool_ready(self, connection: ClientConnection, host: Host) -> None:
        """Here it is, connected; it belongs to the caller, who adds its filters and callbacks now."""

    def on_pool_failure(self, reason: PoolFailureReason, details: str, host: Host | None) -> None:
        """There is none."""
