"""What can be asked for, and what is refused."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

import pytest

from proxeny.intercept import config
from proxeny.intercept.config import ALL, InboundMode, InterceptConfig, InterceptError

NET = ipaddress.ip_network


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (config.ports, "", ()),
        (config.ports, "80, 443,,80", (80, 443)),
        (config.ports_or_all, "*", ALL),
        (config.ports_or_all, "8080", (8080,)),
        (config.cidrs, "10.1.2.3/8,fd00::/8,1.2.3.4", (NET("10.0.0.0/8"), NET("fd00::/8"), NET("1.2.3.4/32"))),
        (config.cidrs_or_all, "*", ALL),
        (config.addresses, "127.0.0.53,::1", (ipaddress.ip_address("127.0.0.53"), ipaddress.ip_address("::1"))),
        (config.interfaces, "eth0,net+,a.b@c-d:1", ("eth0", "net+", "a.b@c-d:1")),
        (config.users, "0,root,1337", (0, 1337)),
        (config.groups, "root,7", (0, 7)),
        (config.users_or_all, "*", ALL),
        (config.groups_or_all, "1", (1,)),
    ],
)
def test_lists(read: Callable[[str], Any], text: str, value: Any) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "text", "why"),
    [
        (config.port, "0", "'0' is not a port (1 to 65535)"),
        (config.port, "65536", "is not a port"),
        (config.port, "+80", "is not a port"),
        (config.port, "8_0", "is not a port"),
        (config.port, "٣", "is not a port"),
        (config.port, "9" * 5000, "is not a port"),
        (config.ports, "80,*", "'*' is not a port"),
        (config.ports, "80-90", "is not a port"),
        (config.cidrs, "10.0.0.0/33", "'10.0.0.0/33' is not a range of addresses (CIDR)"),
        (config.cidrs, "*", "is not a range"),
        (config.cidrs, "example.com", "is not a range"),
        (config.addresses, "1.2.3.4/32", "does not appear to be an IPv4 or IPv6 address"),
        (config.interfaces, "0123456789abcdef", "is not the name of a network device"),
        (config.interfaces, "eth0 -j ACCEPT", "is not the name of a network device"),
        (config.interfaces, 'a"b', "is not the name of a network device"),
        (config.interfaces, "-j", "is not the name of a network device"),
        (config.interfaces, "!", "is not the name of a network device"),
        (config.interfaces, "eth*", "is not the name of a network device"),
        (config.interfaces, "eth0\n-F", "is not the name of a network device"),
        (config.users, "no such user", "there is no user 'no such user'"),
        (config.users, "4294967295", "is not a user id"),
        (config.groups, "no-such-group", "there is no group 'no-such-group'"),
    ],
)
def test_refused(read: Callable[[str], Any], text: str, why: str) -> None:
    with pytest.raises(InterceptError) as error:
        read(text)
    assert why in str(error.value)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"envoy_port": 15006}, "must differ"),
        ({"inbound_tunnel_port": 15001}, "must differ"),
        ({"proxy_uids": (), "proxy_gids": ()}, "its own connections would be captured"),
        ({"inbound_ports": (80,), "exclude_inbound_ports": (81,)}, "only be excluded when all of them"),
        ({"owner_gids": (80,), "exclude_owner_gids": (81,)}, "groups can only be excluded"),
        ({"owner_uids": (80,), "exclude_owner_uids": (81,)}, "users can only be excluded"),
        ({"redirect_dns": True}, "no DNS servers to capture"),
        ({"dns_servers": ALL}, "only captured with --redirect-dns"),
        ({"tproxy_mark": 1338}, "mark 1338"),
    ],
)
def test_contradictions(options: dict[str, Any], why: str) -> None:
    with pytest.raises(InterceptError, match=why):
        InterceptConfig(**options).check()


def test_defaults_capture_all() -> None:
    asked = InterceptConfig().check()
    assert asked.inbound_ports is ALL and asked.outbound_cidrs is ALL
    assert asked.families == (4, 6) and not asked.is_tproxy
    assert InterceptConfig(ipv6=False).families == (4,)
    assert InterceptConfig(inbound_mode=InboundMode.TPROXY).is_tproxy
    assert not InterceptConfig(inbound_mode=InboundMode.TPROXY, inbound_ports=()).is_tproxy
