"""The criteria of ``FilterChainMatch``: what a chain asks for, what a connection has, which value fits best."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError
from proxeny.matcher.cidr import LongestPrefix, Range, parse_range

if TYPE_CHECKING:
    from proxeny.network.address import Address
    from proxeny.network.stream_info import ConnectionInfo

Choice = tuple[Any, Any] | None
"""The value that was taken and what lies behind it; None when no value fits."""

SOURCE_ANY, SOURCE_LOCAL, SOURCE_EXTERNAL = 0, 1, 2
SOURCE_TYPES: Final = ("ANY", "SAME_IP_OR_LOOPBACK", "EXTERNAL")
NO_ADDRESS: Final = b"\xff\xff\xff\xff"
"""What a unix socket counts as where chains ask for addresses: 255.255.255.255, as in Envoy."""


class MatchError(ConfigError):
    """An error that Envoy reports with the listener's addresses in front."""


class Level:
    """One criterion."""

    name = ""
    anything: Any = ""
    """The value of a chain that does not ask."""

    def values(self, match: Any) -> list[Any]:
        """What a FilterChainMatch message asks for; ConfigError in Envoy's words."""
        raise NotImplementedError

    def table(self, by_value: dict[Any, Any]) -> Any:
        """What ``choose`` looks into."""
        return by_value

    def choose(self, table: Any, info: ConnectionInfo) -> Choice:
        """The most specific value that fits the connection."""
        raise NotImplementedError

    def actual(self, info: ConnectionInfo) -> str:
        """What the connection has, for people."""
        raise NotImplementedError

    def show(self, value: Any) -> str:
        """A value that a chain asks for, for people."""
        return "any" if value == self.anything else str(value)

    def fits(self, values: Iterable[Any], info: ConnectionInfo) -> bool:
        """Whether one of ``values`` would do for the connection, were there no other chains."""
        return self.choose(self.table(dict.fromkeys(values, True)), info) is not None

    def __repr__(self) -> str:
        return f"<Level {self.name}>"


class DestinationPort(Level):
    """``destination_port``."""

    name = "destination port"
    anything = 0

    def values(self, match: Any) -> list[Any]:
        """One port."""
        return [match.destination_port.value]

    def choose(self, table: Any, info: ConnectionInfo) -> Choice:
        """The port itself, else any."""
        return _exact_or(table, info.local_address.port, 0)

    def actual(self, info: ConnectionInfo) -> str:
        """The local port."""
        return _port_text(info.local_address)


class SourcePort(Level):
    """``source_ports``."""

    name = "source port"
    anything = 0

    def values(self, match: Any) -> list[Any]:
        """Ports."""
        return list(match.source_ports) or [0]

    def choose(self, table: Any, info: ConnectionInfo) -> Choice:
        """The port itself, else any."""
        return _exact_or(table, info.remote_address.port, 0)

    def actual(self, info: ConnectionInfo) -> str:
        """The remote port."""
        return _port_text(info.remote_address)


class Prefix(Level):
    """Address ranges of one of the connection's addresses."""

    anything = None

    def __init__(self, name: str, field: str, select: Callable[[ConnectionInfo], Address]) -> None:
        self.name = name
        self._field = field
        self._select = select

    def values(self, match: Any) -> list[Any]:
        """Ranges."""
        return [parse_range(message) for message in getattr(match, self._field)] or [None]

    def table(self, by_value: dict[Any, Any]) -> Any:
        """By longest prefix; chains that do not ask come last, behind those that ask for a prefix of no bits."""
        items = []
        if None in by_value:
            rest = (None, by_value[None])
            items = [(Range(4, 0, 0), rest), (Range(16, 0, 0), rest)]
        items += [(value, (value, below)) for value, below in by_value.items() if value is not None]
        return LongestPrefix(items)

    def choose(self, table: Any, info: ConnectionInfo) -> Choice:
        """The longest prefix."""
        found: Choice = table.get(self._select(info).packed or NO_ADDRESS)
        return found

    def actual(self, info: ConnectionInfo) -> str:
        """The address."""
        address = self._select(info)
        return address.ip or "a unix socket"


class ServerName(Level):
    """``server_names``: a name, or ``*.`` and a domain, kept as ``.domain``: what is left without the first label."""

    name = "server name"

    def values(self, match: Any) -> list[Any]:
        """Names in lower case."""
        return [_server_name(name) for name in match.server_names] or [""]

    def choose(self, table: Any, info: ConnectionInfo) -> Choice:
        """The name itself, then its domains from the longest on, then any."""
        name = info.requested_server_name
        if name in table:
            return name, table[name]
        last = len(name) - 1
        dot = name.find(".", 1)
        while 0 < dot < last:
            domain = name[dot:]
            if domain in table:
                return domain, table[domain]
            dot = name.find(".", dot + 1)
        return ("", table[""]) if "" in table else None

    def actual(self, info: ConnectionInfo) -> str:
        """The name that the client asked for."""
        return info.requested_server_name or "none"

    def show(self, value: Any) -> str:
        """As it was configured."""
        return f"*{value}" if value.startswith(".") else super().show(value)


class TransportProtocol(Level):
    """``transport_protocol``."""

    name = "transport protocol"

    def values(self, match: Any) -> list[Any]:
        """One protocol."""
        return [match.transport_protocol]

    def choose(self, table: Any, info: ConnectionInfo) -> Choice:
        """The protocol itself, else any."""
        return _exact_or(table, info.transport_protocol, "")

    def actual(self, info: ConnectionInfo) -> str:
        """What the listener filters found."""
        return info.transport_protocol


class ApplicationProtocol(Level):
    """``application_protocols``."""

    name = "application protocol"

    def values(self, match: Any) -> list[Any]:
        """Protocols."""
        return list(match.application_protocols) or [""]

    def choose(self, table: Any, info: ConnectionInfo) -> Choice:
        """The first of the client's protocols that some chain asks for, else any."""
        for protocol in info.requested_application_protocols:
            if protocol in table:
                return protocol, table[protocol]
        return ("", table[""]) if "" in table else None

    def actual(self, info: ConnectionInfo) -> str:
        """The protocols that the client offered."""
        return ", ".join(info.requested_application_protocols) or "none"


class SourceType(Level):
    """``source_type``."""

    name = "source type"
    anything = SOURCE_ANY

    def values(self, match: Any) -> list[Any]:
        """One type."""
        return [match.source_type]

    def choose(self, table: Any, info: ConnectionInfo) -> Choice:
        """The connection's own type, else any."""
        return _exact_or(table, self._of(info), SOURCE_ANY)

    def _of(self, info: ConnectionInfo) -> int:
        return SOURCE_LOCAL if is_local_connection(info) else SOURCE_EXTERNAL

    def actual(self, info: ConnectionInfo) -> str:
        """By the connection's addresses."""
        return SOURCE_TYPES[self._of(info)]

    def show(self, value: Any) -> str:
        """Envoy's name of the type."""
        return SOURCE_TYPES[value]


LEVELS: Final[tuple[Level, ...]] = (
    DestinationPort(),
    Prefix("destination address", "prefix_ranges", lambda info: info.local_address),
    ServerName(),
    TransportProtocol(),
    ApplicationProtocol(),
    Prefix("direct source address", "direct_source_prefix_ranges", lambda info: info.direct_remote_address),
    SourceType(),
    Prefix("source address", "source_prefix_ranges", lambda info: info.remote_address),
    SourcePort(),
)


def is_local_connection(info: ConnectionInfo) -> bool:
    """``SAME_IP_OR_LOOPBACK``: from a unix socket, from 127.0.0.1 or ::1, or from the address that it came to."""
    remote = info.remote_address
    return not remote.packed or remote.is_loopback or remote.packed == info.local_address.packed


def _exact_or(table: dict[Any, Any], value: Any, anything: Any) -> Choice:
    if value in table:
        return value, table[value]
    return (anything, table[anything]) if anything in table else None


def _port_text(address: Address) -> str:
    return "none (a unix socket)" if address.is_pipe else str(address.port)


def _server_name(name: str) -> str:
    if "*" in name and not name.startswith("*."):
        raise MatchError('partial wildcards are not supported in "server_names"')
    # Only ASCII has cases here: str.lower knows more of them than Envoy does.
    lowered = name.encode("utf-8", "surrogateescape").lower().decode("utf-8", "surrogateescape")
    return lowered[1:] if lowered.startswith("*.") else lowered
