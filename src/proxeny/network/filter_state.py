"""Filter state: objects by name that filters leave for those behind them (Envoy: ``StreamInfo::FilterState``).

Some of it goes along with upstream connections to internal listeners of this proxy (``internal_upstream``).
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from proxeny.network.address import Address


class Sharing(IntEnum):
    """How far an object travels (``FilterStateValue.SharedWithUpstream``)."""

    NONE = 0
    ONCE = 1
    """To the next connection."""
    TRANSITIVE = 2
    """And from there on."""


class FilterState(dict[str, Any]):
    """The objects; ``shared`` says of those that travel how far."""

    __slots__ = ("kept", "read_only", "shared")

    def __init__(self) -> None:
        super().__init__()
        self.shared: dict[str, Sharing] = {}
        self.read_only: set[str] = set()
        """Names that may not be set again."""
        self.kept: set[str] = set()
        """Names of what belongs to the request, not to its filters: it stays when the request begins anew."""

    def copy(self) -> FilterState:
        """The same objects: what a request begins with."""
        made = FilterState()
        made.update(self)
        made.shared.update(self.shared)
        made.read_only.update(self.read_only)
        return made

    def keep(self, name: str, value: Any) -> None:
        """Set an object of the request."""
        self[name] = value
        self.kept.add(name)

    def share(self, name: str, value: Any, sharing: Sharing) -> None:
        """Set an object that travels."""
        self[name] = value
        if sharing is Sharing.NONE:
            self.shared.pop(name, None)
        else:
            self.shared[name] = sharing

    def travelling(self) -> dict[str, tuple[Any, Sharing]]:
        """What goes along with an upstream connection: objects, and how they are shared over there."""
        return {
            name: (self[name], Sharing.TRANSITIVE if sharing is Sharing.TRANSITIVE else Sharing.NONE)
            for name, sharing in self.shared.items()
            if name in self
        }


class HashableString(str):
    """A string by which upstream connections are told apart (Envoy: ``envoy.hashable_string``)."""

    __slots__ = ()


class UpstreamAddress:
    """Where a request is about to go (Envoy: ``envoy.stream.upstream_address``); logs do not show it."""

    __slots__ = ("address",)

    KEY = "envoy.stream.upstream_address"

    def __init__(self, address: Address) -> None:
        self.address = address

    def serialize_as_string(self) -> None:
        """It has no text."""

    def serialize_as_proto(self) -> None:
        """Nor a message."""
