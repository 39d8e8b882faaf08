"""Which listener of a worker owns an address (Envoy: ``ConnectionHandlerImpl::getBalancedHandlerByAddress``).

Connections whose original destination was restored are handed to the listener of that address: first the one with
exactly this ip:port, then the one on the wildcard of that port. Both are one look-up in a map, whatever the number of
listeners. A listener that was stopped is not in it.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

from proxeny.network.address import V4_MAPPED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxeny.listener.listen_address import ListenAddress
    from proxeny.network.address import Address

V4_ANY = bytes(4)
V6_ANY = bytes(20)


def address_key(address: Address) -> bytes:
    """Port and IP address: 6 bytes for IPv4 (and v4-mapped), 22 for IPv6 with scope; empty for anything else."""
    raw = address.sockaddr
    if address.family == socket.AF_INET:
        return raw[2:8]
    if address.family == socket.AF_INET6:
        return raw[2:4] + raw[20:24] if raw[8:20] == V4_MAPPED else raw[2:4] + raw[8:28]
    return b""


class ListenerLookup:
    """Address to listener; the newest generation of a listener is the one that is found."""

    __slots__ = ("_compatible", "_exact", "_keys")

    def __init__(self) -> None:
        self._exact: dict[bytes, list[Any]] = {}
        """The newest one last: where a worker refuses that, its predecessor is found again."""
        self._compatible: dict[bytes, list[Any]] = {}
        """IPv4 wildcards served by dual-stack listeners, where no IPv4 listener has the port."""
        self._keys: dict[Any, list[bytes]] = {}
        """By listener."""

    def add(self, listener: Any, addresses: Iterable[tuple[ListenAddress, Address]]) -> None:
        """Have a listener found at its addresses: (as configured, as bound) pairs."""
        keys = self._keys.setdefault(listener, [])
        for listen, bound in addresses:
            key = address_key(bound)
            if not key:
                continue
            space = os.fsencode(listen.address.network_namespace)
            keys.append(key + space)
            self._exact.setdefault(key + space, []).append(listener)
            if listen.ipv4_compat and key[2:] == V6_ANY:
                keys.append(key[:2] + V4_ANY + space)
                self._compatible.setdefault(key[:2] + V4_ANY + space, []).append(listener)

    def remove(self, listener: Any) -> None:
        """Find it no more (a newer generation at the same addresses stays)."""
        for key in self._keys.pop(listener, ()):
            for table in (self._exact, self._compatible):
                owners = table.get(key, [])
                if listener in owners:
                    owners.remove(listener)
                    if not owners:
                        del table[key]

    def find(self, address: Address, namespace: str = "") -> Any:
        """The listener of an IP address of a network namespace (its path; empty: the process's own), or None."""
        key = address_key(address)
        if not key:
            return None
        space = os.fsencode(namespace)
        exact = self._exact
        owners = exact.get(key + space)
        if owners is None:
            if len(key) == 6:
                wildcard = key[:2] + V4_ANY + space
                owners = exact.get(wildcard) or self._compatible.get(wildcard)
            else:
                owners = exact.get(key[:2] + V6_ANY + space)
        return owners[-1] if owners else None
