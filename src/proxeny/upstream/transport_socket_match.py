"""Which transport socket the connections to a host get (``transport_socket_matches``, by the metadata of endpoints).

(Envoy: ``TransportSocketMatcherImpl``.) The first match counts that the endpoint's own metadata fulfils, then the first
that its locality's does, then the cluster's ``transport_socket``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from envoy.config.core.v3 import base_pb2

from proxeny.network.transport_socket import PLAIN_UPSTREAM
from proxeny.upstream.stats import DEFAULT_TOTAL_MATCH_COUNT, TOTAL_MATCH_COUNT, TRANSPORT_SOCKET_MATCH

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxeny.kernel.stats import Block
    from proxeny.network.transport_socket import UpstreamTransportSocketFactory
    from proxeny.upstream.endpoints import HostEntry
    from proxeny.upstream.internal_upstream import InternalUpstream

NAMESPACE: Final = "envoy.transport_socket_match"


class ClusterSocket:
    """A compiled transport socket: what makes the transports, and what internal listeners are brought, if anything."""

    __slots__ = ("always_special", "factory", "internal", "special")

    def __init__(self, factory: UpstreamTransportSocketFactory, internal: InternalUpstream | None = None) -> None:
        self.factory = factory
        self.internal = internal
        self.special = internal is not None or factory.uses_options
        """Whether pools depend on what requests ask of connections."""
        self.always_special = internal is not None or factory.uses_addresses
        """Whether they do so even for requests without filter state."""


PLAIN: Final = ClusterSocket(PLAIN_UPSTREAM)


class SocketMatch:
    """One transport socket; what metadata must say; where its hosts count."""

    __slots__ = ("_labels", "_slot", "_stats", "socket")

    def __init__(self, labels: dict[str, Any], socket: ClusterSocket, stats: Block, slot: int) -> None:
        self._labels = labels
        self.socket = socket
        self._stats = stats
        self._slot = slot

    def fits(self, metadata: Any) -> bool:
        """Whether a core.v3.Metadata (None: there is none) has all labels."""
        if not self._labels:
            return True
        if metadata is None or NAMESPACE not in metadata.filter_metadata:
            return False
        fields = metadata.filter_metadata[NAMESPACE].fields
        return all([name in fields and fields[name] == value for name, value in self._labels.items()])

    def count(self) -> None:
        """One more host has it."""
        self._stats.inc(self._slot)


class TransportSockets:
    """All transport sockets of one cluster."""

    __slots__ = ("_default", "_matches", "always_special", "special", "supports_alpn")

    def __init__(self, matches: Iterable[SocketMatch], default: SocketMatch) -> None:
        self._matches = tuple(matches)
        self._default = default
        self.special = any([match.socket.special for match in (*self._matches, default)])
        """Whether some host's pools depend on what requests ask of its connections."""
        self.always_special = any([match.socket.always_special for match in (*self._matches, default)])
        """Whether they do so even for requests without filter state."""
        self.supports_alpn = all([match.socket.factory.supports_alpn for match in (*self._matches, default)])
        """Whether all connections agree on their protocol (Envoy: ``allMatchesSupportAlpn``)."""

    def resolve(self, entry: HostEntry) -> SocketMatch:
        """The one of a host."""
        for serialized in (entry.metadata, entry.locality_metadata):
            metadata = base_pb2.Metadata.FromString(serialized) if serialized else None
            for match in self._matches:
                if match.fits(metadata):
                    return match
        return self._default

    def resolve_metadata(self, metadata: Any) -> SocketMatch:
        """The one that a core.v3.Metadata asks for."""
        return next((match for match in self._matches if match.fits(metadata)), self._default)

    def count(self, entries: Iterable[HostEntry]) -> None:
        """Main counts what hosts have, as Envoy does when it makes them."""
        for entry in entries:
            self.resolve(entry).count()


def compile(
    messages: Iterable[tuple[Any, ClusterSocket]],
    default: ClusterSocket,
    stats: Block,
    prefix: str,
    store: Any,
) -> TransportSockets:
    """Of ``TransportSocketMatch`` messages, each with its compiled socket; ``default`` is the cluster's own one."""
    matches = []
    for message, socket in messages:
        block = store.block(TRANSPORT_SOCKET_MATCH, f"{prefix}{message.name}.")
        matches.append(SocketMatch(dict(message.match.fields.items()), socket, block, TOTAL_MATCH_COUNT))
    return TransportSockets(matches, SocketMatch({}, default, stats, DEFAULT_TOTAL_MATCH_COUNT))
