"""The address by which this machine is known (Envoy: ``Network::Utility::getLocalAddress``)."""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct

SIOCGIFADDR = 0x8915
"""Linux, netdevice(7): the first IPv4 address of an interface."""
IF_INET6 = "/proc/net/if_inet6"


def local_address(version: int) -> str:
    """The first address that is not loopback, in the order of the interfaces; without one, loopback's own."""
    found = _first_v6() if version == 6 else _first_v4()
    return found or ("::1" if version == 6 else "127.0.0.1")


def _first_v4() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                answer = fcntl.ioctl(probe.fileno(), SIOCGIFADDR, request)
            except OSError:
                continue  # An interface without an IPv4 address.
            address = ipaddress.IPv4Address(answer[20:24])
            if not address.is_loopback:
                return str(address)
    return ""


def _first_v6() -> str:
    try:
        with open(IF_INET6) as table:
            rows = [line.split() for line in table]
    except OSError:
        return ""
    for row in sorted(rows, key=lambda row: int(row[1], 16)):
        address = ipaddress.IPv6Address(bytes.fromhex(row[0]))
        if not address.is_loopback:
            return str(address)
    return ""
