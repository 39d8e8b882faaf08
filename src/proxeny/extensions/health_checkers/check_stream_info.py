"""What the formats of a check's request headers can ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.network.address import ip_address
from proxeny.network.stream_info import ConnectionInfo, StreamInfo

if TYPE_CHECKING:
    from proxeny.upstream.health_check.contract import ProbeOwner

_LOOPBACK: Final = ip_address("127.0.0.1", 0)


def check_stream_info(owner: ProbeOwner, protocol: str) -> StreamInfo:
    """As if the request came from the proxy's own loopback address (Envoy: ``onInterval``)."""
    dispatcher: Any = owner.dispatcher
    info = StreamInfo(ConnectionInfo(_LOOPBACK, _LOOPBACK, 0), dispatcher.system_time(), dispatcher.monotonic_ns())
    info.protocol = protocol
    info.upstream_host = owner
    return info
