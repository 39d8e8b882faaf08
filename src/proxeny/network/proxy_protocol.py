"""What a PROXY protocol header said, kept for those behind (Envoy: ``Network::ProxyProtocolFilterState``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from proxeny.network.address import Address

PROXY_PROTOCOL_OPTIONS: Final = "envoy.network.proxy_protocol_options"
"""The filter state's name of a connection's ``ProxyProtocolData``."""


class ProxyProtocolData:
    """The addresses and TLVs to pass on to upstreams that want a header too."""

    __slots__ = ("destination", "source", "tlvs")

    def __init__(self, source: Address, destination: Address, tlvs: tuple[tuple[int, bytes], ...] = ()) -> None:
        self.source = source
        self.destination = destination
        self.tlvs = tlvs

    def __repr__(self) -> str:
        return f"ProxyProtocolData({self.source.as_string()}, {self.destination.as_string()}, {len(self.tlvs)} TLVs)"
