"""Where the filter ``stateful_session`` keeps a session's host (Envoy: ``Http::SessionStateFactory``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.factory_context import FactoryContext


class SessionState(Protocol):
    """That of one request."""

    address: str
    """The host of the session, "" where the request names none."""

    def on_update(self, address: str, headers: HeaderMap) -> bool:
        """The response comes from the host ``address``: tell the client in its ``headers``, if need be.

        Whether that is another host than the session's.
        """


class SessionStates(Protocol):
    """Compiled, by a registered factory (kind ``session_state``)."""

    def create(self, headers: HeaderMap) -> SessionState | None:
        """What a request's headers say; None: it can have no session."""


class SessionStateFactory(Protocol):
    """The registered factory."""

    def create_session_states(self, config: Any, context: FactoryContext) -> SessionStates:
        """Compile ``config``; ConfigError in Envoy's words."""
