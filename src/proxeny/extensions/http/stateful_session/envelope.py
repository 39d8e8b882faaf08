"""``envoy.http.stateful_session.envelope``: a session header of the upstream's own, into which the host is packed on
the way to the client and out of which it is taken on the way back."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

from proxeny.extensions.http.stateful_session.base64 import decode, decode_address, encode

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.factory_context import FactoryContext

UPSTREAM_VALUE = b"UV:"


class EnvelopeSessionState:
    """See SessionState."""

    __slots__ = ("_name", "address")

    def __init__(self, name: bytes, address: str) -> None:
        self._name = name
        self.address = address

    def on_update(self, address: str, headers: HeaderMap) -> bool:
        """Where the upstream has a session it goes into the envelope, with the host."""
        values = headers.get_all(self._name)
        if len(values) == 1:
            headers.set(self._name, b"%b;%b%b" % (encode(address), UPSTREAM_VALUE, b64encode(values[0])))
        return address != self.address


class EnvelopeSessionStates:
    """See SessionStates."""

    __slots__ = ("_name",)

    def __init__(self, name: bytes) -> None:
        self._name = name

    def create(self, headers: HeaderMap) -> EnvelopeSessionState:
        """The upstream gets its value back; an envelope without one is passed on as it is."""
        return EnvelopeSessionState(self._name, self._open(headers))

    def _open(self, headers: HeaderMap) -> str:
        value = headers.get(self._name)
        parts = [part for part in (value or b"").split(b";") if part]
        inner = next((part[len(UPSTREAM_VALUE) :] for part in parts[1:] if part.startswith(UPSTREAM_VALUE)), b"")
        decoded = decode(inner)
        if not decoded:
            return ""
        headers.set(self._name, decoded)
        return decode_address(parts[0])


class EnvelopeSessionStateFactory:
    """The registered factory."""

    def create_session_states(self, config: Any, context: FactoryContext) -> EnvelopeSessionStates:
        """From an EnvelopeSessionState."""
        return EnvelopeSessionStates(config.header.name.lower().encode("utf-8"))


FACTORY = EnvelopeSessionStateFactory()
