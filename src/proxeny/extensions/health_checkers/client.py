"""The HTTP client of a check: one request at a time, over a connection of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap


class CheckClientOwner(Protocol):
    """Who sends the requests. After ``CheckClient.close`` it hears nothing more."""

    def on_response(self, headers: HeaderMap, body: bytes, trailers: HeaderMap | None, reusable: bool) -> None:
        """A response is complete; ``body`` as far as it was wanted. Not ``reusable``: the client is of no more use."""

    def on_failure(self, goes: bool) -> None:
        """The request was reset; ``goes``: the client is of no more use."""

    def on_closed(self) -> None:
        """The connection is gone, and no request waited for it."""


class CheckClient(Protocol):
    """A client that is connecting, or connected."""

    def request(self, headers: HeaderMap, body: bytes) -> None:
        """Send a request, once connected."""

    def close(self) -> None:
        """Close the connection at once."""
