"""``envoy.http.stateful_session.header``: the host in a header, of requests and of responses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.extensions.http.stateful_session.base64 import decode_address, encode

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.factory_context import FactoryContext


class HeaderSessionState:
    """See SessionState."""

    __slots__ = ("_name", "address")

    def __init__(self, name: bytes, address: str) -> None:
        self._name = name
        self.address = address

    def on_update(self, address: str, headers: HeaderMap) -> bool:
        """The header names the new host."""
        if address == self.address:
            return False
        headers.set(self._name, encode(address))
        return True


class HeaderSessionStates:
    """See SessionStates."""

    __slots__ = ("_name",)

    def __init__(self, name: bytes) -> None:
        self._name = name

    def create(self, headers: HeaderMap) -> HeaderSessionState:
        """From the first header of the name."""
        value = headers.get(self._name)
        return HeaderSessionState(self._name, decode_address(value) if value else "")


class HeaderSessionStateFactory:
    """The registered factory."""

    def create_session_states(self, config: Any, context: FactoryContext) -> HeaderSessionStates:
        """From a HeaderBasedSessionState."""
        return HeaderSessionStates(config.name.lower().encode("utf-8"))


FACTORY = HeaderSessionStateFactory()
