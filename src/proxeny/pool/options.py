"""What sets some of a host's upstream connections apart: pools are kept by it (Envoy: the pool's hash key)."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxeny.network.socket_options import SocketOption


class PoolOptions:
    """How the connections of one pool are made, where that differs from what the cluster says."""

    __slots__ = ("key", "socket_options")

    def __init__(self, priority: int, socket_options: tuple[SocketOption, ...]) -> None:
        self.socket_options = socket_options
        self.key: Hashable = (priority, *[option.key for option in socket_options])
        """Under which the host keeps the pool."""

    def __repr__(self) -> str:
        return f"PoolOptions({self.socket_options})"
