"""Which host a request or a connection is for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from proxeny.network.connection import Connection
    from proxeny.network.stream_info import StreamInfo
    from proxeny.upstream.cluster_info import ClusterInfo
    from proxeny.upstream.load_balancer.context import LbContext

HOST_KEY: Final = "envoy.upstream.dynamic_host"
PORT_KEY: Final = "envoy.upstream.dynamic_port"
"""Filter state by which filters name host and port."""
PLAIN_PORT: Final = 80
SECURE_PORT: Final = 443
LARGEST_PORT: Final = 65535


def wanted_host(context: LbContext) -> bytes:
    """By filter state, the request's authority, or the server name that the client asked for; b"" without any."""
    named = state_of(context.request_stream_info, context.downstream_connection, HOST_KEY)
    if named is not None:
        return str(named).encode("utf-8", "surrogateescape")
    headers = context.downstream_headers
    if headers is not None:
        return headers.get(b":authority") or b""
    connection = context.downstream_connection
    return b"" if connection is None else connection.connection_info.requested_server_name.encode("latin-1")


def default_port(info: ClusterInfo) -> int:
    """Of hosts that name none: as the cluster's connections are secure or not."""
    return SECURE_PORT if info.transport_socket.factory.secure else PLAIN_PORT


def wanted_port(context: LbContext, default: int) -> int:
    """Where the host names no port: by filter state, or the cluster's default."""
    return state_port(context.request_stream_info, context.downstream_connection) or default


def state_port(info: StreamInfo | None, connection: Connection | None) -> int:
    """The port that filter state names; 0: none."""
    port = state_of(info, connection, PORT_KEY)
    return port if isinstance(port, int) and 0 < port <= LARGEST_PORT else 0


def state_of(info: StreamInfo | None, connection: Connection | None, key: str) -> Any:
    """An object of the request's filter state, or else of its connection's."""
    value = None
    if info is not None and info.filter_state_map is not None:
        value = info.filter_state_map.get(key)
    if value is None and connection is not None and connection.stream_info.filter_state_map is not None:
        value = connection.stream_info.filter_state_map.get(key)
    return value
