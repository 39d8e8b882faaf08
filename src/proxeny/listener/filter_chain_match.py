"""Which filter chain a connection gets (Envoy: ``FilterChainManagerImpl``).

The criteria are looked at one after the other, each by its most specific value: destination port, destination address,
server name, transport protocol, application protocol, direct source address, source type, source address, source port.
A decision is final: once a destination port matched, chains without one are out. So the chains compile into a tree with
one level per criterion, and matching is one look-up per level.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from google.protobuf import json_format

from proxeny.config.errors import ConfigError

if TYPE_CHECKING:
    from proxeny.network.address import Address
    from proxeny.network.stream_info import ConnectionInfo

ANY: Any = None
SOURCE_ANY, SOURCE_LOCAL, SOURCE_EXTERNAL = 0, 1, 2
RAW_BUFFER = "raw_buffer"
LEVELS = 9
IP_LEVELS = (1, 5, 7)
SOURCE_TYPE_LEVEL = 6

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class PrefixMap:
    """Longest-prefix match of IP addresses: by version, then prefix lengths from long to short."""

    __slots__ = ("_any", "_lengths")

    def __init__(self, by_network: dict[Network | None, Any]) -> None:
        self._any = by_network.get(ANY)
        lengths: dict[int, dict[int, dict[int, Any]]] = {4: {}, 6: {}}
        for network, value in by_network.items():
            if network is not None:
                addresses = lengths[network.version].setdefault(network.max_prefixlen - network.prefixlen, {})
                addresses[int(network.network_address) >> (network.max_prefixlen - network.prefixlen)] = value
        self._lengths = {version: sorted(shifts.items()) for version, shifts in lengths.items()}

    def get(self, address: Address) -> Any:
        """The value of the longest prefix that holds ``address``, else of "any", else None."""
        ip = address.ip
        if ip and (self._lengths[4] or self._lengths[6]):
            parsed = ipaddress.ip_address(ip.partition("%")[0])
            number = int(parsed)
            for shift, values in self._lengths[parsed.version]:
                found = values.get(number >> shift)
                if found is not None:
                    return found
        return self._any


def _networks(ranges: Iterable[Any]) -> list[Network | None]:
    found: list[Network | None] = []
    for cidr in ranges:
        length = f"/{cidr.prefix_len.value}" if cidr.HasField("prefix_len") else ""
        try:
            found.append(ipaddress.ip_network(f"{cidr.address_prefix}{length}", strict=False))
        except ValueError:
            raise ConfigError(f"malformed IP address: {cidr.address_prefix}") from None
    return found or [ANY]


def _server_names(names: Iterable[str]) -> list[str]:
    found = []
    for name in names:
        lowered = name.lower()
        if "*" in lowered[1:] or (lowered.startswith("*") and not lowered.startswith("*.")):
            raise ConfigError('partial wildcards are not supported in "server_names"')
        # "*.example.com" is kept as ".example.com": what is left of a name when its first label goes.
        found.append(lowered[1:] if lowered.startswith("*.") else lowered)
    return found or [""]


def _criteria(match: Any) -> list[list[Any]]:
    """The values of one chain, level by level."""
    if match.address_suffix or match.HasField("suffix_len"):
        raise ConfigError("filter chain match on address_suffix and suffix_len is not implemented")
    return [
        [match.destination_port.value],
        _networks(match.prefix_ranges),
        _server_names(match.server_names),
        [match.transport_protocol],
        list(match.application_protocols) or [""],
        _networks(match.direct_source_prefix_ranges),
        [match.source_type],
        _networks(match.source_prefix_ranges),
        list(match.source_ports) or [0],
    ]


class FilterChainMatcher:
    """All chains of a listener; ``default`` is taken when none matches."""

    __slots__ = ("_default", "_tree", "only")

    def __init__(self, chains: Iterable[tuple[Any, Any]], default: Any = None) -> None:
        """``chains``: pairs of FilterChainMatch message and chain object (with ``name``). Raises ConfigError."""
        pairs = list(chains)
        self._default = default
        self.only: Any = None
        """The one chain that takes every connection, where there is such a one."""
        tree: dict[Any, Any] = {}
        for match, chain in pairs:
            _insert(tree, _criteria(match), chain, match)
        if len(pairs) == 1 and not pairs[0][0].ListFields():
            self.only = pairs[0][1]
        self._tree = _freeze(tree, 0)

    def find(self, info: ConnectionInfo) -> Any:
        """The chain for a connection, or None."""
        if self.only is not None:
            return self.only
        found = self._find(info)
        return self._default if found is None else found

    def _find(self, info: ConnectionInfo) -> Any:
        local = info.local_address
        node = self._tree.get(local.port) or self._tree.get(0)
        node = node and node.get(local)
        node = node and _by_server_name(node, info.requested_server_name)
        node = node and (node.get(info.transport_protocol) or node.get(""))
        node = node and _by_application_protocol(node, info.requested_application_protocols)
        node = node and node.get(info.direct_remote_address)
        if node is None:
            return None
        below = None
        if SOURCE_LOCAL in node or SOURCE_EXTERNAL in node:
            below = node.get(SOURCE_LOCAL if _is_local_connection(info) else SOURCE_EXTERNAL)
        return _by_source(node.get(SOURCE_ANY) if below is None else below, info)


def _by_server_name(node: dict[str, Any], name: str) -> Any:
    if name:
        found = node.get(name)
        dot = name.find(".")
        while found is None and dot >= 0:
            found = node.get(name[dot:])
            dot = name.find(".", dot + 1)
        if found is not None:
            return found
    return node.get("")


def _by_application_protocol(node: dict[str, Any], protocols: tuple[str, ...]) -> Any:
    for protocol in protocols:
        found = node.get(protocol)
        if found is not None:
            return found
    return node.get("")


def _by_source(node: Any, info: ConnectionInfo) -> Any:
    if node is None:
        return None
    ports = node.get(info.remote_address)
    if ports is None:
        return None
    return ports.get(info.remote_address.port) or ports.get(0)


def _is_local_connection(info: ConnectionInfo) -> bool:
    """``SAME_IP_OR_LOOPBACK``: from this machine to itself."""
    remote, local = info.remote_address, info.local_address
    return remote.is_pipe or remote.is_loopback or remote.ip == local.ip


def _insert(tree: dict[Any, Any], criteria: list[list[Any]], chain: Any, match: Any) -> None:
    first, rest = criteria[0], criteria[1:]
    for value in first:
        if rest:
            _insert(tree.setdefault(value, {}), rest, chain, match)
        elif value in tree:
            raise ConfigError(
                f"filter chain '{chain.name}' has the same matching rules defined as '{tree[value].name}'. "
                f"duplicate matcher is: {_as_json(match)}"
            )
        else:
            tree[value] = chain


def _as_json(match: Any) -> str:
    fields = json_format.MessageToDict(match, preserving_proto_field_name=True)
    return json.dumps(fields, separators=(",", ":"))


def _freeze(tree: dict[Any, Any], level: int) -> Any:
    if level < LEVELS - 1:
        tree = {value: _freeze(below, level + 1) for value, below in tree.items()}
    return PrefixMap(tree) if level in IP_LEVELS else tree
