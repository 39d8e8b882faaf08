"""An HTTP proxy to connect through, as filters ask for one (Envoy: ``Http11ProxyInfoFilterState``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxeny.network.address import Address


class Http11ProxyInfo:
    """The proxy's address, and the name of the host to ask it for."""

    __slots__ = ("address", "hostname")

    def __init__(self, hostname: str, address: Address) -> None:
        self.hostname = hostname
        self.address = address
