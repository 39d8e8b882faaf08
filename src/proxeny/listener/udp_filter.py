"""The UDP listener filter contract (Envoy: ``Network::UdpListenerReadFilter``).

A filter lives as long as its listener, one per address and worker, and sees every datagram. A *flow* says who sent a
datagram to whom: the raw sockaddr of the peer, then the one of the local address, both of one length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from proxeny.network.address import Address, from_sockaddr
from proxeny.network.filter import FilterStatus

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher


class UdpListenerCallbacks(Protocol):
    """What a filter may ask of its listener (Envoy: ``UdpReadFilterCallbacks``)."""

    @property
    def dispatcher(self) -> Dispatcher:
        """The worker's event loop."""

    def reply(self, flow: bytes, data: bytes) -> int:
        """Send a datagram to the peer of a flow, from the address that it wrote to; 0 or an errno."""


class UdpListenerFilter:
    """One UDP listener filter; subclasses override what they need."""

    def on_data(self, flow: bytes, data: bytes) -> FilterStatus:
        """A datagram came; CONTINUE shows it to the filter behind."""
        return FilterStatus.CONTINUE

    def on_receive_error(self, error: int) -> FilterStatus:
        """Reading the socket failed with an errno."""
        return FilterStatus.CONTINUE

    def close(self) -> None:
        """The listener stops: end what there is, nothing may be sent afterwards."""


class UdpListenerFilterFactory(Protocol):
    """Makes the filter of one address in one worker; compiled once per configuration."""

    name: str

    def create(self, callbacks: UdpListenerCallbacks) -> UdpListenerFilter:
        """A fresh filter."""


def peer_of(flow: bytes) -> Address:
    """Who sent it."""
    return from_sockaddr(flow[: len(flow) // 2])


def local_of(flow: bytes) -> Address:
    """The address that it was sent to."""
    return from_sockaddr(flow[len(flow) // 2 :])
