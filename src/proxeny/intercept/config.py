"""What ``proxeny intercept`` is asked to capture, checked. Defaults are those of Istio's sidecar injection."""

from __future__ import annotations

import grp
import ipaddress
import pwd
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

LOOPBACK: Final = {4: "127.0.0.1/32", 6: "::1/128"}
PASSTHROUGH: Final = {4: "127.0.0.6/32", 6: "::6/128"}
"""The source address of a sidecar's own connections to its application: they are never captured again."""

OUTBOUND_MARK: Final = 1338
"""TPROXY: set on what the proxy sends over loopback to the service's own address (Istio: OutboundMark)."""


class InterceptError(Exception):
    """What was asked for cannot be done; the text says why, for people."""


class InboundMode(Enum):
    """How inbound connections reach the proxy: with the original address in conntrack, or as the socket's own."""

    REDIRECT = "REDIRECT"
    TPROXY = "TPROXY"


class All(Enum):
    """``*``: no restriction."""

    ALL = "*"


ALL: Final = All.ALL


@dataclass(frozen=True, slots=True)
class InterceptConfig:
    """What to capture. ``ALL`` stands for Istio's ``*``; an empty tuple captures nothing of its kind."""

    envoy_port: int = 15001
    inbound_capture_port: int = 15006
    inbound_tunnel_port: int = 15008
    proxy_uids: tuple[int, ...] = (1337,)
    proxy_gids: tuple[int, ...] = (1337,)
    inbound_mode: InboundMode = InboundMode.REDIRECT
    tproxy_mark: int = 1337
    tproxy_route_table: int = 133
    inbound_ports: tuple[int, ...] | All = ALL
    exclude_inbound_ports: tuple[int, ...] = ()
    outbound_cidrs: tuple[Network, ...] | All = ALL
    exclude_outbound_cidrs: tuple[Network, ...] = ()
    outbound_ports: tuple[int, ...] = ()
    exclude_outbound_ports: tuple[int, ...] = ()
    exclude_interfaces: tuple[str, ...] = ()
    virtual_interfaces: tuple[str, ...] = ()
    owner_uids: tuple[int, ...] | All = ALL
    exclude_owner_uids: tuple[int, ...] = ()
    owner_gids: tuple[int, ...] | All = ALL
    exclude_owner_gids: tuple[int, ...] = ()
    redirect_dns: bool = False
    dns_port: int = 15053
    dns_servers: tuple[Address, ...] | All = ()
    drop_invalid: bool = False
    ipv6: bool = True

    @property
    def families(self) -> tuple[int, ...]:
        """The IP versions that are captured."""
        return (4, 6) if self.ipv6 else (4,)

    @property
    def is_tproxy(self) -> bool:
        """Whether inbound connections are captured by TPROXY."""
        return self.inbound_mode is InboundMode.TPROXY and self.inbound_ports != ()

    def check(self) -> InterceptConfig:
        """Itself. Raises InterceptError when the parts contradict each other."""
        ports = (self.envoy_port, self.inbound_capture_port, self.inbound_tunnel_port)
        if len({*ports}) < len(ports):
            raise InterceptError("the outbound, inbound and tunnel ports must differ")
        if not self.proxy_uids and not self.proxy_gids:
            raise InterceptError("without a uid or gid of the proxy its own connections would be captured")
        if self.exclude_inbound_ports and self.inbound_ports is not ALL:
            raise InterceptError("inbound ports can only be excluded when all of them (*) are captured")
        for what, included, excluded in (
            ("users", self.owner_uids, self.exclude_owner_uids),
            ("groups", self.owner_gids, self.exclude_owner_gids),
        ):
            if excluded and included is not ALL:
                raise InterceptError(f"{what} can only be excluded when all of them (*) are captured")
        if self.redirect_dns and self.dns_servers == ():
            raise InterceptError("no DNS servers to capture: give --dns-servers or --capture-all-dns")
        if self.dns_servers and not self.redirect_dns:
            raise InterceptError("DNS servers are only captured with --redirect-dns")
        if self.tproxy_mark == OUTBOUND_MARK:
            raise InterceptError(f"mark {OUTBOUND_MARK} is what the proxy's own packets carry")
        return self


def number(text: str, low: int, high: int, what: str) -> int:
    """A plain decimal number within bounds."""
    if not (text.isascii() and text.isdigit()) or not low <= int(text[:20]) <= high:
        raise InterceptError(f"{text!r} is not {what} ({low} to {high})")
    return int(text)


def port(text: str) -> int:
    """A port."""
    return number(text, 1, 65535, "a port")


def items(text: str) -> tuple[str, ...]:
    """The parts of a comma-separated list; empty ones do not count."""
    return tuple(part for part in (part.strip(" ") for part in text.split(",")) if part)


def ports(text: str) -> tuple[int, ...]:
    """A comma-separated list of ports."""
    return tuple(dict.fromkeys(port(part) for part in items(text)))


def ports_or_all(text: str) -> tuple[int, ...] | All:
    """``*`` or a list of ports."""
    return ALL if text == "*" else ports(text)


def cidrs(text: str) -> tuple[Network, ...]:
    """A comma-separated list of CIDRs; an address alone is its own range, and host bits are dropped."""
    found = []
    for part in items(text):
        try:
            found.append(ipaddress.ip_network(part, strict=False))
        except ValueError:
            raise InterceptError(f"{part!r} is not a range of addresses (CIDR)") from None
    return tuple(dict.fromkeys(found))


def cidrs_or_all(text: str) -> tuple[Network, ...] | All:
    """``*`` or a list of CIDRs."""
    return ALL if text == "*" else cidrs(text)


def addresses(text: str) -> tuple[Address, ...]:
    """A comma-separated list of IP addresses."""
    try:
        return tuple(dict.fromkeys(ipaddress.ip_address(part) for part in items(text)))
    except ValueError as error:
        raise InterceptError(str(error)) from None


def interfaces(text: str) -> tuple[str, ...]:
    """A comma-separated list of network devices."""
    for name in items(text):
        # IFNAMSIZ is 16 with its NUL; a last "+" stands for any rest, as in iptables.
        if not re.fullmatch(r"[\w.:@][\w.:@-]{0,14}\+?", name, re.ASCII) or len(name) > 15:
            raise InterceptError(f"{name!r} is not the name of a network device")
    return items(text)


def _owners(text: str, what: str, look_up: Callable[[str], int]) -> tuple[int, ...]:
    found = []
    for part in items(text):
        if part.isascii() and part.isdigit():
            found.append(number(part, 0, 2**32 - 2, f"a {what} id"))
            continue
        try:
            found.append(look_up(part))
        except KeyError:
            raise InterceptError(f"there is no {what} {part!r}") from None
    return tuple(dict.fromkeys(found))


def users(text: str) -> tuple[int, ...]:
    """A comma-separated list of users by number or name."""
    return _owners(text, "user", lambda name: pwd.getpwnam(name).pw_uid)


def groups(text: str) -> tuple[int, ...]:
    """A comma-separated list of groups by number or name."""
    return _owners(text, "group", lambda name: grp.getgrnam(name).gr_gid)


def users_or_all(text: str) -> tuple[int, ...] | All:
    """``*`` or a list of users."""
    return ALL if text == "*" else users(text)


def groups_or_all(text: str) -> tuple[int, ...] | All:
    """``*`` or a list of groups."""
    return ALL if text == "*" else groups(text)


def of_family(values: Sequence[Network] | Sequence[Address], family: int) -> tuple[str, ...]:
    """The texts of the values of one IP version, as ranges."""
    return tuple(
        str(value) if isinstance(value, Network) else f"{value}/{value.max_prefixlen}"
        for value in values
        if value.version == family
    )
