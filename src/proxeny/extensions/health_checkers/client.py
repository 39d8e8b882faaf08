"""The HTTP client of a check: one request at a time, over a connection of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from proxeny.upstream.health_check.contract import FailureType

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.upstream.health_check.contract import ProbeOwner


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


class ClientProbe:
    """The checks of one host over a client that is kept from one to the next where ``prober.reuse_connection``."""

    __slots__ = ("_client", "_owner", "_prober")

    def __init__(self, prober: Any, owner: ProbeOwner) -> None:
        self._prober = prober
        self._owner = owner
        self._client: Any = None

    def on_failure(self, goes: bool) -> None:
        """The request came to nothing; ``goes``: so does the connection."""
        if goes or not self._prober.reuse_connection:
            self._hang_up()
        self._owner.failed(FailureType.NETWORK)

    def on_closed(self) -> None:
        """The connection is gone, between checks."""
        self._client = None

    def on_timeout(self) -> None:
        """Give the connection up."""
        self._hang_up()

    def _hang_up(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def close(self) -> None:
        """The host goes."""
        self._hang_up()
