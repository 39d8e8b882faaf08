"""The contract of the requests that subscriptions make over HTTP (Envoy: ``Http::AsyncClient::send``)."""

from __future__ import annotations

from typing import Protocol


class HttpCallbacks(Protocol):
    """Who waits for one response; never called from inside ``post``."""

    def on_response(self, status: int, body: bytes) -> None:
        """A response, which may be the proxy's own (503 where there is nobody to ask)."""

    def on_failure(self) -> None:
        """It was cut short."""


class HttpRequest(Protocol):
    """One on its way."""

    def cancel(self) -> None:
        """No callback any more."""


class HttpClient(Protocol):
    """Makes requests to clusters of this proxy."""

    def post(self, cluster: str, path: str, body: bytes, timeout_ms: int, callbacks: HttpCallbacks) -> HttpRequest:
        """Send JSON; ``timeout_ms`` 0 = none."""
