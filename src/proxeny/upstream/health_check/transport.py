"""Through what the connections of health checks speak: the host's transport socket, with what a check says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from envoy.config.core.v3 import base_pb2

from proxeny.network.address import ip_address, pipe_address
from proxeny.network.transport_socket import TransportSocketOptions
from proxeny.upstream.endpoints import INTERNAL, PIPE
from proxeny.upstream.transport_socket_match import NAMESPACE, PLAIN

if TYPE_CHECKING:
    from proxeny.network.address import Address
    from proxeny.network.connection import ClientConnection
    from proxeny.upstream.cluster_info import ClusterInfo
    from proxeny.upstream.endpoints import HostEntry
    from proxeny.upstream.transport_socket_match import ClusterSocket


class CheckedHost:
    """A host as transport sockets ask about it (``network.transport_socket.UpstreamHost``)."""

    __slots__ = ("_entry", "hostname")

    def __init__(self, entry: HostEntry) -> None:
        self._entry = entry
        self.hostname = entry.hostname

    @property
    def address(self) -> Address:
        """Where it is."""
        entry = self._entry
        return pipe_address(entry.address) if entry.port == PIPE else ip_address(entry.address, entry.port)

    @property
    def metadata(self) -> Any:
        """Its metadata."""
        return _metadata(self._entry.metadata)

    @property
    def locality_metadata(self) -> Any:
        """That of its locality; None: there is none."""
        return _metadata(self._entry.locality_metadata)


def _metadata(serialized: bytes) -> Any:
    return base_pb2.Metadata.FromString(serialized) if serialized else None


class CheckTransport:
    """What one health check says: ``tls_options`` and ``transport_socket_match_criteria``."""

    __slots__ = ("_criteria", "_options")

    def __init__(self, message: Any) -> None:
        self._options: TransportSocketOptions | None = None
        """What is asked of the transport socket."""
        if message.HasField("tls_options"):
            self._options = TransportSocketOptions(alpn_override=tuple(message.tls_options.alpn_protocols))
        self._criteria: Any = None
        """Metadata by which the socket is chosen, in place of the host's own."""
        if message.HasField("transport_socket_match_criteria"):
            self._criteria = base_pb2.Metadata()
            self._criteria.filter_metadata[NAMESPACE].CopyFrom(message.transport_socket_match_criteria)

    def socket_of(self, entry: HostEntry, info: ClusterInfo) -> ClusterSocket:
        """The transport socket of a host's checks."""
        sockets = info.transport_sockets
        if sockets is None:
            return info.transport_socket
        if self._criteria is None:
            return sockets.resolve(entry).socket
        match = sockets.resolve_metadata(self._criteria)
        match.count()
        return match.socket

    def is_secure(self, entry: HostEntry, info: ClusterInfo) -> bool:
        """Whether checks of a host are encrypted."""
        return self.socket_of(entry, info).factory.secure

    def apply(self, connection: ClientConnection, entry: HostEntry, info: ClusterInfo) -> None:
        """Give a connection to a host its transport."""
        socket = self.socket_of(entry, info)
        if socket is not PLAIN and entry.port != INTERNAL:
            connection.set_transport(socket.factory.create(connection, self._options, CheckedHost(entry)))
