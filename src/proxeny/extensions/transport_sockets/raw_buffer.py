"""``envoy.transport_sockets.raw_buffer``: plain bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.network.transport_socket import PLAIN_DOWNSTREAM, PLAIN_UPSTREAM

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext
    from proxeny.network.transport_socket import DownstreamTransportSocketFactory, UpstreamTransportSocketFactory


class RawBuffer:
    """There is nothing to configure."""

    __slots__ = ()

    def create_downstream(self, message: Any, context: FactoryContext) -> DownstreamTransportSocketFactory:
        """Connections read and write their sockets."""
        return PLAIN_DOWNSTREAM

    def create_upstream(self, message: Any, scope: str, context: FactoryContext) -> UpstreamTransportSocketFactory:
        """Likewise."""
        return PLAIN_UPSTREAM


FACTORY: Final = RawBuffer()
