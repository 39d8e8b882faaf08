"""``envoy.transport_sockets.internal_upstream``: upstream connections bring metadata and filter state along.

They do so only to internal listeners of this proxy; to anybody else they are what the transport socket inside makes of
them. The pools of such a cluster are kept apart by what hashable objects are brought.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from google.protobuf.json_format import MessageToDict

from proxeny.config.errors import ConfigError
from proxeny.network.address import Address
from proxeny.network.filter_state import FilterState, HashableString
from proxeny.network.internal import Passthrough
from proxeny.network.transport_socket import compile_upstream
from proxeny.upstream.stats import INTERNAL_UPSTREAM, NO_METADATA

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext
    from proxeny.network.filter_state import Sharing
    from proxeny.upstream.host import Host
    from proxeny.upstream.load_balancer.context import LbContext

TYPE_NAME: Final = "envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport"

SharedState = dict[str, tuple[Any, "Sharing"]]
"""Filter state that travels: objects by name, and how they are shared over there."""


class InternalUpstream:
    """The compiled transport socket of one cluster."""

    __slots__ = ("_sources", "_stats", "inner")

    def __init__(self, message: Any, stat_prefix: str, context: FactoryContext) -> None:
        self.inner = compile_upstream(message.transport_socket, stat_prefix, context)
        """The transport socket inside, which makes the transports."""
        self._sources = tuple([(_kind(source), source.name) for source in message.passthrough_metadata])
        self._stats = context.stats.block(INTERNAL_UPSTREAM, f"{stat_prefix}internal_upstream.")

    def passthrough(self, host: Host, shared: SharedState) -> Passthrough:
        """What a connection to ``host`` brings, made on behalf of whose shared filter state is ``shared``."""
        metadata: dict[str, Any] = {}
        for kind, name in self._sources:
            source = host.metadata if kind == "host" else host.cluster.metadata
            if source is not None and name in source.filter_metadata:
                metadata[name] = MessageToDict(source.filter_metadata[name])
            else:
                self._stats.inc(NO_METADATA)
        return Passthrough(metadata, shared)


def _kind(source: Any) -> str:
    kind: str = source.kind.WhichOneof("kind")
    if kind not in ("host", "cluster"):
        raise ConfigError(f"metadata type is not supported: {kind}")
    return kind


def shared_state(context: LbContext | None) -> SharedState:
    """The objects of a request, and of its connection, that go along with upstream connections."""
    found: SharedState = {}
    if context is None:
        return found
    connection = context.downstream_connection
    for info in (None if connection is None else connection.stream_info, context.request_stream_info):
        state = None if info is None else info.filter_state_map
        if isinstance(state, FilterState) and state.shared:
            found.update(state.travelling())
    return found


def hash_key(shared: SharedState) -> tuple[tuple[str, str], ...]:
    """By which pools are kept apart: the hashable objects."""
    return tuple(
        [
            (name, value.as_string() if isinstance(value, Address) else str(value))
            for name, (value, _) in sorted(shared.items())
            if isinstance(value, Address | HashableString)
        ]
    )
