"""What an explanation asks about the server: a running one, or one of which only the configuration is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from proxeny.explain.connection import ListenerView
    from proxeny.network.factory_context import FactoryContext
    from proxeny.upstream.endpoints import HostEntry


class KnownCluster(NamedTuple):
    """A cluster and its hosts, as far as they are known."""

    message: Any
    hosts: list[HostEntry]
    assumed: bool = False
    """The hosts are names that nobody resolved, taken to have one address each."""


class World(Protocol):
    """The server that is asked about."""

    context: FactoryContext
    """What main compiles with."""

    def listeners(self) -> Sequence[ListenerView]:
        """All listeners that accept."""

    def cluster(self, name: str) -> KnownCluster | None:
        """A cluster with its hosts; None: there is none of this name."""
