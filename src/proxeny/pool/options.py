"""What sets some of a host's upstream connections apart: pools are kept by it (Envoy: the pool's hash key)."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxeny.network.internal import Passthrough
    from proxeny.network.socket_options import SocketOption
    from proxeny.network.transport_socket import TransportSocketOptions


class PoolOptions:
    """How the connections of one pool are made, where that differs from what the cluster says."""

    __slots__ = ("key", "passthrough", "socket_options", "transport")

    def __init__(
        self, priority: int, socket_options: tuple[SocketOption, ...], extra: tuple[Hashable, ...] = ()
    ) -> None:
        self.socket_options = socket_options
        self.passthrough: Passthrough | None = None
        """What the connections bring an internal listener."""
        self.transport: TransportSocketOptions | None = None
        """What is asked of the transport sockets of the connections."""
        self.key: Hashable = (priority, tuple([option.key for option in socket_options]), *extra)
        """Under which the host keeps the pool; ``extra`` is what else tells it from others."""

    def __repr__(self) -> str:
        return f"PoolOptions({self.socket_options})"
