"""``proxeny intercept`` in the kernel: what its rules capture and what they leave alone, told by raw sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from tests.netns.ends import EchoDatagrams, ask, ask_datagram
from tests.netns.namespaces import Namespaces
from tests.netns.service import APP, FAMILIES, LOOPBACK, OTHER, PROXY, Net, intercept, traces, wire

from proxeny.intercept import command


def test_both_directions_are_captured(net: Net, backend: str) -> None:
    intercept(net.side, "install", "--backend", backend)
    for family in FAMILIES:
        assert net.outbound(family, uid=APP, gid=APP) == f"outbound {net.beyond(family)} 7000"
        assert net.inbound(family) == f"inbound {net.own(family)} 8080"


def test_traffic_of_the_proxy_is_left_alone(net: Net, backend: str) -> None:
    intercept(net.side, "install", "--backend", backend)
    for family in FAMILIES:
        for owner in ({"uid": PROXY}, {"gid": PROXY}, {"uid": PROXY, "gid": PROXY}):
            assert net.outbound(family, **owner) == f"upstream {net.beyond(family)} 7000"
        assert ask(net.side, LOOPBACK[family], 8080, uid=PROXY, gid=PROXY).startswith("app ")


def test_loopback_of_the_application_is_left_alone(net: Net, backend: str) -> None:
    intercept(net.side, "install", "--backend", backend)
    for family in FAMILIES:
        assert ask(net.side, LOOPBACK[family], 8080, uid=APP, gid=APP).startswith("app ")
        assert ask(net.side, net.own(family), 8080, uid=APP, gid=APP).startswith("app ")


def test_the_proxy_calling_its_own_service_meets_the_inbound_side(net: Net, backend: str) -> None:
    intercept(net.side, "install", "--backend", backend)
    for family, passthrough in (("v4", "127.0.0.6"), ("v6", "::6")):
        own = net.own(family)
        assert ask(net.side, own, 8080, uid=PROXY, gid=PROXY) == f"inbound {own} 8080 from {own}"
        # What the inbound side itself sends on to the application comes from its own address, and arrives.
        to_app = ask(net.side, own, 8080, uid=PROXY, gid=PROXY, source=passthrough)
        assert to_app == f"app {own} 8080 from {passthrough}"


def test_tunnel_port_is_left_alone(net: Net, backend: str) -> None:
    net.serve(net.side, "tunnel", 15008)
    intercept(net.side, "install", "--backend", backend)
    for family in FAMILIES:
        assert net.inbound(family, 15008) == f"tunnel {net.own(family)} 15008"


def test_excluded_ports(net: Net, backend: str) -> None:
    net.serve(net.side, "metrics", 9090)
    net.serve(net.upstream, "database", 3306)
    intercept(net.side, "install", "--backend", backend, "-d", "9090,9091", "-o", "3306,3307")
    for family in FAMILIES:
        assert net.inbound(family, 9090).startswith("metrics ")
        assert net.inbound(family, 8080).startswith("inbound ")
        assert net.outbound(family, 3306, uid=APP).startswith("database ")
        assert net.outbound(family, 7000, uid=APP).startswith("outbound ")


def test_included_ports(net: Net, backend: str) -> None:
    net.serve(net.side, "metrics", 9090)
    net.serve(net.upstream, "database", 3306)
    intercept(net.side, "install", "--backend", backend, "-b", "8080", "-i", "", "-q", "3306")
    for family in FAMILIES:
        assert net.inbound(family, 9090).startswith("metrics ")
        assert net.inbound(family, 8080).startswith("inbound ")
        assert net.outbound(family, 3306, uid=APP).startswith("outbound ")
        assert net.outbound(family, 7000, uid=APP).startswith("upstream ")


def test_no_inbound_capture(net: Net, backend: str) -> None:
    intercept(net.side, "install", "--backend", backend, "--inbound-ports", "")
    for family in FAMILIES:
        assert net.inbound(family).startswith("app ")
        assert net.outbound(family, uid=APP).startswith("outbound ")


def test_excluded_ranges(net: Net, backend: str) -> None:
    net.upstream.add_address("10.99.0.1/32")
    net.upstream.add_address("fd99::1/128")
    net.side.add_route("10.99.0.0/24", net.back.v4)
    net.side.add_route("fd99::/64", net.back.v6)
    intercept(net.side, "install", "--backend", backend, "-x", f"10.99.0.0/24,{net.back.v6}")
    assert net.outbound("v4", uid=APP).startswith("outbound ")
    assert ask(net.side, "10.99.0.1", 7000, uid=APP).startswith("upstream ")
    assert net.outbound("v6", uid=APP).startswith("upstream ")
    assert ask(net.side, "fd99::1", 7000, uid=APP).startswith("outbound fd99::1 7000")


def test_included_ranges(net: Net, backend: str) -> None:
    net.upstream.add_address("10.99.0.1/32")
    net.side.add_route("10.99.0.0/24", net.back.v4)
    intercept(net.side, "install", "--backend", backend, "--outbound-cidrs", "10.99.0.0/16")
    assert ask(net.side, "10.99.0.1", 7000, uid=APP).startswith("outbound 10.99.0.1 7000")
    assert net.outbound("v4", uid=APP).startswith("upstream ")
    assert net.outbound("v6", uid=APP).startswith("upstream ")


def test_a_loopback_range_is_captured_when_asked_for(net: Net, backend: str) -> None:
    net.serve(net.side, "app", 8081)
    intercept(net.side, "install", "--backend", backend, "-i", "127.1.2.3/32")
    assert ask(net.side, "127.1.2.3", 8081, uid=APP, gid=APP).startswith("outbound 127.1.2.3 8081")
    assert ask(net.side, "127.0.0.1", 8081, uid=APP, gid=APP).startswith("app ")


def test_excluded_and_included_owners(net: Net, backend: str) -> None:
    intercept(net.side, "install", "--backend", backend, "--exclude-owner-users", str(OTHER),
              "--exclude-owner-groups", "3000")  # fmt: skip
    for family in FAMILIES:
        assert net.outbound(family, uid=OTHER).startswith("upstream ")
        assert net.outbound(family, uid=APP, gid=3000).startswith("upstream ")
        assert net.outbound(family, uid=APP, gid=APP).startswith("outbound ")
    intercept(net.side, "install", "--backend", backend, "--owner-groups", "3000,3001")
    for family in FAMILIES:
        assert net.outbound(family, uid=APP, gid=3000).startswith("outbound ")
        assert net.outbound(family, uid=APP, gid=3001).startswith("outbound ")
        assert net.outbound(family, uid=APP, gid=APP).startswith("upstream ")


def test_several_owners_of_proxies(net: Net, backend: str) -> None:
    intercept(net.side, "install", "--backend", backend, "-u", f"{PROXY},{OTHER}", "-g", "")
    for family in FAMILIES:
        own = net.own(family)
        for uid in (PROXY, OTHER):
            assert net.outbound(family, uid=uid).startswith("upstream ")
            assert ask(net.side, own, 8080, uid=uid).startswith("inbound ")
        assert ask(net.side, own, 8080, uid=APP).startswith("app ")
        assert net.outbound(family, uid=APP).startswith("outbound ")


def test_excluded_interface(net: Net, backend: str) -> None:
    intercept(net.side, "install", "--backend", backend, "-c", net.back.device)
    for family in FAMILIES:
        assert net.outbound(family, uid=APP).startswith("upstream ")
        assert net.inbound(family).startswith("inbound ")
    intercept(net.side, "install", "--backend", backend, "-c", f"nosuch,{net.front.device[:-1]}+")
    for family in FAMILIES:
        assert net.outbound(family, uid=APP).startswith("upstream ")
        assert net.inbound(family).startswith("app ")


def test_traffic_of_a_virtual_machine_counts_as_outbound(net: Net, backend: str) -> None:
    net.side.forward()
    net.client.add_route("default", net.front.v4)
    net.client.add_route("default", net.front.v6)
    intercept(net.side, "install", "--backend", backend, "-k", net.front.device)
    for family in FAMILIES:
        assert ask(net.client, net.beyond(family), 7000).startswith(f"outbound {net.beyond(family)} 7000")


def test_ipv4_alone(net: Net, backend: str) -> None:
    intercept(net.side, "install", "--backend", backend, "--no-ipv6")
    assert net.outbound("v4", uid=APP).startswith("outbound ")
    assert net.inbound("v4").startswith("inbound ")
    assert net.outbound("v6", uid=APP).startswith("upstream ")
    assert net.inbound("v6").startswith("app ")


def test_ipv6_is_detected(net: Net, backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    net.side.sysctl("net.ipv6.conf.all.disable_ipv6", "1")
    intercept(net.side, "install", "--backend", backend)
    assert "; IPv4, by" in capsys.readouterr().out
    assert net.outbound("v4", uid=APP).startswith("outbound ")


# -- DNS -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def dns(net: Net) -> Net:
    # The proxy listens on loopback, to which queries are redirected: a wildcard socket would answer from elsewhere.
    for family, address in LOOPBACK.items():
        net.servers.enter_context(EchoDatagrams(net.side, "proxy", address, 15053, uid=PROXY))
        net.servers.enter_context(EchoDatagrams(net.upstream, "server", net.beyond(family), 53))
    net.serve(net.side, "proxy", 15053)
    net.serve(net.upstream, "server", 53)
    return net


@pytest.mark.parametrize("family", FAMILIES)
def test_dns_queries_are_captured(dns: Net, backend: str, family: str) -> None:
    server = dns.beyond(family)
    intercept(dns.side, "install", "--backend", backend, "--redirect-dns", "--dns-servers", server)
    # The answer comes from the address that was asked.
    assert ask_datagram(dns.side, server, 53, b"who", uid=APP) == ("proxy who", (server, 53))
    assert ask(dns.side, server, 53, uid=APP).startswith(f"proxy {server} 53")
    assert ask_datagram(dns.side, server, 53, b"who", uid=PROXY) == ("server who", (server, 53))
    assert ask(dns.side, server, 53, uid=PROXY).startswith(f"server {server} 53")


@pytest.mark.parametrize("family", FAMILIES)
def test_equal_ports_of_a_query_and_the_proxys_own(dns: Net, backend: str, family: str) -> None:
    """In one conntrack zone the two would be one entry, and the proxy would get its own query back."""
    server = dns.beyond(family)
    source = dns.side.ip("-json", f"-{family[1]}", "route", "get", server).split('"prefsrc":"')[1].split('"')[0]
    intercept(dns.side, "install", "--backend", backend, "--redirect-dns", "--capture-all-dns")
    for _ in range(2):
        for uid, name in ((APP, "proxy"), (PROXY, "server")):
            answer = ask_datagram(dns.side, server, 53, b"who", uid=uid, source=source, source_port=5300)
            assert answer == (f"{name} who", (server, 53))


def test_dns_servers_that_are_not_listed(dns: Net, backend: str) -> None:
    intercept(dns.side, "install", "--backend", backend, "--redirect-dns", "--dns-servers", "192.0.2.53")
    for family in FAMILIES:
        server = dns.beyond(family)
        assert ask_datagram(dns.side, server, 53, b"who", uid=APP) == ("server who", (server, 53))
        # TCP to port 53 is captured as any other connection.
        assert ask(dns.side, server, 53, uid=APP).startswith(f"outbound {server} 53")
    intercept(dns.side, "install", "--backend", backend)
    assert ask_datagram(dns.side, dns.back.v4, 53, b"who", uid=APP)[0] == "server who"


def test_dns_servers_of_resolv_conf(dns: Net, backend: str) -> None:
    with dns.side.resolv_conf(f"search x\nnameserver {dns.back.v4}\n#nameserver 1.1.1.1\n"):
        intercept(dns.side, "install", "--backend", backend, "--redirect-dns")
        assert ask_datagram(dns.side, dns.back.v4, 53, b"who", uid=APP)[0] == "proxy who"
        assert ask_datagram(dns.side, dns.back.v6, 53, b"who", uid=APP)[0] == "server who"
    with dns.side.resolv_conf("search x\n"):
        assert command.main(["install", "--namespace", dns.side.name, "--redirect-dns"]) == 1


def test_a_dns_server_on_loopback(dns: Net, backend: str) -> None:
    dns.servers.enter_context(EchoDatagrams(dns.side, "local", "127.0.0.53", 53))
    intercept(dns.side, "install", "--backend", backend, "--redirect-dns", "--dns-servers", "127.0.0.53")
    assert ask_datagram(dns.side, "127.0.0.53", 53, b"who", uid=APP) == ("proxy who", ("127.0.0.53", 53))
    assert ask_datagram(dns.side, "127.0.0.53", 53, b"who", uid=PROXY) == ("local who", ("127.0.0.53", 53))


# -- TPROXY --------------------------------------------------------------------------------------------------------


@pytest.fixture
def tproxy(namespaces: Namespaces) -> Iterator[Net]:
    with ExitStack() as servers:
        yield wire(namespaces, servers, transparent=True)


def test_tproxy_keeps_the_addresses(tproxy: Net, backend: str) -> None:
    before = traces(tproxy.side)
    tproxy.serve(tproxy.side, "metrics", 9090)
    tproxy.serve(tproxy.side, "tunnel", 15008)
    intercept(tproxy.side, "install", "--backend", backend, "-m", "TPROXY", "-d", "9090")
    for family in FAMILIES:
        own = tproxy.own(family)
        peer = own[:-1] + "1"
        assert ask(tproxy.client, own, 8080) == f"inbound {own} 8080 from {peer}"
        assert tproxy.inbound(family, 9090).startswith("metrics ")
        assert tproxy.inbound(family, 15008).startswith("tunnel ")
        assert tproxy.outbound(family, uid=APP).startswith("outbound ")
        assert tproxy.outbound(family, uid=PROXY, gid=PROXY).startswith("upstream ")
        assert ask(tproxy.side, own, 8080, uid=APP, gid=APP).startswith("app ")
        for owner in ({"uid": PROXY, "gid": PROXY}, {"gid": PROXY}):
            assert ask(tproxy.side, own, 8080, **owner) == f"inbound {own} 8080 from {own}"
        assert ask(tproxy.side, LOOPBACK[family], 8080, uid=PROXY, gid=PROXY).startswith("app ")
    intercept(tproxy.side, "remove")
    assert traces(tproxy.side) == before
    for family in FAMILIES:
        assert tproxy.inbound(family).startswith("app ")


def test_tproxy_of_listed_ports(tproxy: Net, backend: str) -> None:
    tproxy.serve(tproxy.side, "metrics", 9090)
    intercept(tproxy.side, "install", "--backend", backend, "-m", "tproxy", "-b", "8080", "-t", "77", "-r", "99")
    assert "0x4d lookup 99" in tproxy.side.ip("-4", "rule") and "0x4d lookup 99" in tproxy.side.ip("-6", "rule")
    for family in FAMILIES:
        assert tproxy.inbound(family).startswith("inbound ")
        assert tproxy.inbound(family, 9090).startswith("metrics ")
    intercept(tproxy.side, "remove")  # which finds the mark and the table by itself
    assert "99" not in tproxy.side.ip("-4", "rule") + tproxy.side.ip("-6", "rule")


@pytest.mark.parametrize("family", FAMILIES)
def test_tproxy_brings_answers_to_marked_connections_back(tproxy: Net, backend: str, family: str) -> None:
    """A proxy that calls its application from the client's address (original_src) gets the answers."""
    intercept(tproxy.side, "install", "--backend", backend, "-m", "TPROXY")
    own = tproxy.own(family)
    peer = own[:-1] + "1"
    connection = tproxy.side.socket(socket.AF_INET6 if family == "v6" else socket.AF_INET, uid=PROXY, gid=PROXY)
    with connection:
        level, transparent = (socket.IPPROTO_IPV6, 75) if family == "v6" else (socket.IPPROTO_IP, 19)
        connection.setsockopt(level, transparent, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 1337)
        connection.bind((peer, 0))
        connection.connect((own, 8080))
        assert connection.recv(200).decode() == f"app {own} 8080 from {peer}"
