"""``envoy.matching.inputs.*`` of connections: addresses, names and protocols as the unified matcher reads them.

They read ``connection_info`` and ``stream_info`` (None where no listener filter left one) of what is being matched. A
unix socket has no address and no port.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from proxeny.formatter.values import plain_filter_state
from proxeny.listener.filter_chain_levels import is_local_connection

if TYPE_CHECKING:
    from proxeny.network.address import Address
    from proxeny.network.factory_context import FactoryContext
    from proxeny.network.stream_info import ConnectionInfo, StreamInfo


class NetworkData(Protocol):
    """What can be matched on."""

    @property
    def connection_info(self) -> ConnectionInfo:
        """The connection's facts."""

    @property
    def stream_info(self) -> StreamInfo | None:
        """Its filter state."""


Reader = Callable[["ConnectionInfo"], bytes | None]


class ConnectionInput:
    """One fact of ConnectionInfo; its own factory, since there is nothing to configure."""

    __slots__ = ("_read", "name")

    def __init__(self, name: str, read: Reader) -> None:
        self.name = name
        self._read = read

    def get(self, data: NetworkData) -> bytes | None:
        """The fact as text."""
        return self._read(data.connection_info)

    def create_input(self, message: Any, context: FactoryContext) -> ConnectionInput:
        """Itself."""
        return self


class FilterStateInput:
    """A filter state object as text."""

    __slots__ = ("_key", "name")

    def __init__(self, key: str) -> None:
        self._key = key
        self.name = f"filter state '{key}'"

    def get(self, data: NetworkData) -> bytes | None:
        """The object's text; None where there is no such object or it has no text."""
        info = data.stream_info
        value = None if info is None else plain_filter_state(info.filter_state_map, self._key)
        return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value


class FilterStateFactory:
    """The registered factory."""

    def create_input(self, message: Any, context: FactoryContext) -> FilterStateInput:
        """By key."""
        return FilterStateInput(message.key)


def _ip(address: Address) -> bytes | None:
    return address.ip.encode() or None


def _port(address: Address) -> bytes | None:
    return None if address.is_pipe else b"%d" % address.port


def _application_protocols(info: ConnectionInfo) -> bytes | None:
    """All that the client offered, in quotes: ``'h2','http/1.1'``."""
    return ",".join([f"'{protocol}'" for protocol in info.requested_application_protocols]).encode() or None


DESTINATION_IP = ConnectionInput("destination IP", lambda info: _ip(info.local_address))
DESTINATION_PORT = ConnectionInput("destination port", lambda info: _port(info.local_address))
SOURCE_IP = ConnectionInput("source IP", lambda info: _ip(info.remote_address))
SOURCE_PORT = ConnectionInput("source port", lambda info: _port(info.remote_address))
DIRECT_SOURCE_IP = ConnectionInput("direct source IP", lambda info: _ip(info.direct_remote_address))
SOURCE_TYPE = ConnectionInput("source type", lambda info: b"local" if is_local_connection(info) else None)
SERVER_NAME = ConnectionInput("server name", lambda info: info.requested_server_name.encode() or None)
TRANSPORT_PROTOCOL = ConnectionInput("transport protocol", lambda info: info.transport_protocol.encode() or None)
APPLICATION_PROTOCOL = ConnectionInput("application protocols", _application_protocols)
NETWORK_NAMESPACE = ConnectionInput("network namespace", lambda info: None)
"""Accepted sockets do not know their listener's ``network_namespace_filepath``; those of Envoy 1.40 do not either."""
FILTER_STATE = FilterStateFactory()
