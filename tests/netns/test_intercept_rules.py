"""``proxeny intercept`` in the kernel: what its rules capture and what they leave alone, told by raw sockets."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.netns.ends import EchoDatagrams, TellingServer, ask, ask_datagram
from tests.netns.namespaces import TIMEOUT_S, Link, Namespace, Namespaces

from proxeny.intercept import command

APP, PROXY, OTHER = 1000, 1337, 2000
"""Users: the application's, the proxy's, one more."""

FAMILIES = ("v4", "v6")
LOOPBACK = {"v4": "127.0.0.1", "v6": "::1"}


@dataclass(slots=True)
class Net:
    """client -- side (a service and its sidecar) -- upstream; all servers but DNS answer on both IP versions."""

    client: Namespace
    side: Namespace
    upstream: Namespace
    front: Link
    back: Link
    servers: ExitStack

    def own(self, family: str) -> str:
        """The service's address."""
        return str(getattr(self.front, family))

    def beyond(self, family: str) -> str:
        """The upstream's address."""
        return str(getattr(self.back, family))

    def outbound(self, family: str, port: int = 7000, **options: object) -> str:
        """Who answers a connection of the service to the upstream: ``outbound`` is the capture."""
        return ask(self.side, self.beyond(family), port, **options).split(" from ")[0]

    def inbound(self, family: str, port: int = 8080) -> str:
        """Who answers a connection from the client to the service: ``inbound`` is the capture."""
        return ask(self.client, self.own(family), port).split(" from ")[0]

    def serve(self, namespace: Namespace, name: str, port: int, transparent: bool = False) -> None:
        for address in ("0.0.0.0", "::"):
            self.servers.enter_context(TellingServer(namespace, name, address, port, transparent))


def wire(namespaces: Namespaces, servers: ExitStack, transparent: bool) -> Net:
    """The namespaces and the servers that every test has."""
    client, side, upstream = (namespaces.add(label) for label in ("client", "side", "upstream"))
    front = namespaces.link(client, side)[1]
    back = namespaces.link(side, upstream)[1]
    made = Net(client, side, upstream, front, back, servers)
    made.serve(side, "outbound", 15001)
    made.serve(side, "inbound", 15006, transparent)
    made.serve(side, "app", 8080)
    made.serve(upstream, "upstream", 7000)
    return made


@pytest.fixture
def net(namespaces: Namespaces) -> Iterator[Net]:
    with ExitStack() as servers:
        yield wire(namespaces, servers, transparent=False)


def intercept(namespace: Namespace, *args: str) -> None:
    what, *rest = args
    assert command.main([what, "--namespace", namespace.name, *rest]) == 0


def shown(namespace: Namespace, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    command.main(["show", "--namespace", namespace.name])
    return capsys.readouterr().out


def traces(namespace: Namespace) -> str:
    """All that an installation could leave behind."""
    rules = namespace.run("iptables-save").stdout + namespace.run("ip6tables-save").stdout
    rules = "\n".join(line for line in rules.split("\n") if line.startswith("-A") or line.startswith(":ISTIO"))
    native = "".join(line for line in namespace.run("nft", "list", "tables", "inet").stdout)
    routing = "".join(namespace.ip(f"-{family}", "rule") for family in (4, 6))
    routing += "".join(
        f"{address['local']}\n"
        for device in json.loads(namespace.ip("-json", "address", "show", "dev", "lo"))
        for address in device["addr_info"]
    )
    tables = "".join(
        namespace.run("ip", f"-{family}", "route", "show", "table", "133", check=False).stdout for family in (4, 6)
    )
    return rules + native + routing + tables


@pytest.fixture(params=["nft", "iptables"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


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


def test_remove_restores_direct_traffic(net: Net, backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = traces(net.side)
    intercept(net.side, "install", "--backend", backend, "--redirect-dns", "--capture-all-dns", "--drop-invalid")
    assert traces(net.side) != before
    intercept(net.side, "remove")
    assert traces(net.side) == before
    assert shown(net.side, capsys) == "nothing is installed\n"
    for family in FAMILIES:
        assert net.outbound(family, uid=APP).startswith("upstream ")
        assert net.inbound(family).startswith("app ")
    intercept(net.side, "remove")
    assert capsys.readouterr().out == "nothing was installed\n"


def test_installed_twice_is_installed_once(net: Net, backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (
        "install",
        "--backend",
        backend,
        "--redirect-dns",
        "--dns-servers",
        "10.0.0.53,fd00::53",
        "-m",
        "TPROXY",
    )
    intercept(net.side, *arguments)
    first, once = shown(net.side, capsys), traces(net.side)
    intercept(net.side, *arguments)
    assert shown(net.side, capsys) == first and traces(net.side) == once
    intercept(net.side, "install")
    assert "TPROXY" not in shown(net.side, capsys) and "lookup 133" not in traces(net.side)


def test_a_change_of_backend_leaves_one(net: Net, capsys: pytest.CaptureFixture[str]) -> None:
    intercept(net.side, "install", "--backend", "iptables")
    assert "# nftables" not in shown(net.side, capsys)
    intercept(net.side, "install", "--backend", "nft")
    assert "# iptables" not in shown(net.side, capsys)
    assert net.outbound("v4", uid=APP).startswith("outbound ")


def test_rules_of_others_stay(net: Net, backend: str) -> None:
    for family in ("iptables", "ip6tables"):
        net.side.run(family, "-t", "nat", "-A", "OUTPUT", "-p", "tcp", "--dport", "7", "-j", "RETURN")
        net.side.run(family, "-t", "nat", "-N", "THEIRS")
        net.side.run(family, "-t", "nat", "-A", "OUTPUT", "-j", "THEIRS")
    net.side.run("nft", "add table inet theirs; add chain inet theirs istio-output")
    before = traces(net.side)
    assert "THEIRS" in before and "theirs" in before
    for _ in range(2):
        intercept(net.side, "install", "--backend", backend)
    intercept(net.side, "remove")
    assert traces(net.side) == before


def test_connections_survive_a_replacement(net: Net, backend: str) -> None:
    """Only new ones meet new rules: conntrack remembers where the others go."""
    listener = net.servers.enter_context(net.side.listen("127.0.0.1", 19001))
    intercept(net.side, "install", "--backend", backend, "-p", "19001")
    client = net.servers.enter_context(net.side.connect(net.back.v4, 7777, uid=APP))
    captured = net.servers.enter_context(listener.accept()[0])
    captured.settimeout(TIMEOUT_S)
    other = "nft" if backend == "iptables" else "iptables"
    for change in ("-p", "15001"), ("-m", "TPROXY"), ("--backend", other, "-p", "19002"), ("-o", "7777"):
        intercept(net.side, "install", *change)
        client.sendall(b"still here")
        assert captured.recv(100) == b"still here"


def test_several_at_once_install_one(net: Net, backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    intercept(net.side, "install", "--backend", backend, "-o", "3306")
    once = traces(net.side)
    with ThreadPoolExecutor(4) as several:
        arguments = ["install", "--namespace", net.side.name, "--backend", backend, "-o", "3306"]
        assert list(several.map(command.main, [arguments] * 8)) == [0] * 8
    assert traces(net.side) == once


def test_loopback_that_is_down_is_told(namespaces: Namespaces, capsys: pytest.CaptureFixture[str]) -> None:
    bare = namespaces.add("bare")
    bare.ip("link", "set", "lo", "down")
    intercept(bare, "install")
    assert "lo is down" in capsys.readouterr().err
    bare.ip("link", "set", "lo", "up")
    intercept(bare, "install")
    assert capsys.readouterr().err == ""


def test_iptables_legacy(net: Net, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The older kernel interface, where that is what ``iptables-restore`` is."""
    for name in ("iptables-save", "iptables-restore", "ip6tables-save", "ip6tables-restore"):
        legacy = shutil.which(name.replace("tables", "tables-legacy"), path="/usr/sbin:/sbin")
        assert legacy is not None
        (tmp_path / name).symlink_to(legacy)
    monkeypatch.setattr("proxeny.intercept.system._PATH", f"{tmp_path}:{os.environ['PATH']}:/usr/sbin:/sbin")
    before = net.side.run("iptables-legacy-save").stdout
    for mode in ("REDIRECT", "TPROXY", "REDIRECT"):
        intercept(net.side, "install", "--backend", "iptables", "-m", mode)
    assert "ISTIO_REDIRECT" in net.side.run("ip6tables-legacy-save").stdout
    assert "ISTIO" not in net.side.run("iptables-nft-save").stdout
    for family in FAMILIES:
        assert net.outbound(family, uid=APP).startswith("outbound ")
        assert net.inbound(family).startswith("inbound ")
    intercept(net.side, "remove")
    assert "ISTIO" not in net.side.run("iptables-legacy-save").stdout + before
    assert net.inbound("v6").startswith("app ")


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


# -- the command ---------------------------------------------------------------------------------------------------


def test_namespace_by_path_and_by_process(net: Net) -> None:
    assert command.main(["install", "--namespace", net.side.path]) == 0
    assert net.inbound("v4").startswith("inbound ")
    with net.side.popen("sleep", "60") as sleeper:
        try:
            assert command.main(["remove", "--namespace", f"pid:{sleeper.pid}"]) == 0
        finally:
            sleeper.kill()
    assert net.inbound("v4").startswith("app ")


def test_the_command_inside_the_namespace(net: Net) -> None:
    run = [sys.executable, "-m", "proxeny", "intercept"]
    assert "IPv4 and IPv6" in net.side.run(*run, "install").stdout
    assert net.inbound("v6").startswith("inbound ")
    net.side.run(*run, "remove")
    assert net.inbound("v6").startswith("app ")


def test_what_a_dry_run_prints_is_a_script_that_does_it(
    net: Net, backend: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = traces(net.side)
    capsys.readouterr()
    arguments = ["--namespace", net.side.name, "--dry-run"]
    assert command.main(["install", *arguments, "--backend", backend, "-m", "TPROXY"]) == 0
    script = capsys.readouterr().out
    assert traces(net.side) == before
    assert subprocess.run(["sh", "-e"], input=script, text=True).returncode == 0
    by_script = traces(net.side)
    intercept(net.side, "install", "--backend", backend, "-m", "TPROXY")
    assert traces(net.side) == by_script != before
    capsys.readouterr()
    assert command.main(["remove", *arguments]) == 0
    assert subprocess.run(["sh", "-e"], input=capsys.readouterr().out, text=True).returncode == 0
    assert traces(net.side) == before


@pytest.mark.parametrize("broken", ["ip6tables-restore", "nft"])
@pytest.mark.parametrize("earlier", [(), ("-m", "TPROXY", "-o", "3306")])
def test_a_failure_undoes_what_was_done(
    net: Net, broken: str, earlier: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    backend = "nft" if broken == "nft" else "iptables"
    if earlier:
        intercept(net.side, "install", "--backend", backend, *earlier)
    before = traces(net.side)
    real = subprocess.run(["which", broken], capture_output=True, text=True).stdout.strip()
    # It fails when it is to install what was asked for, and works when it is to undo it.
    fake = tmp_path / broken
    fake.write_text(
        f'#!/bin/sh\ncase "$*" in *list*) exec {real} "$@";; esac\ninput=$(cat)\n'
        f'case "$input" in *19001*) echo "no memory" >&2; exit 1;; esac\necho "$input" | {real} "$@"\n'
    )
    fake.chmod(0o755)
    monkeypatch.setattr("proxeny.intercept.system._PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}:/usr/sbin:/sbin")
    capsys.readouterr()
    assert command.main(["install", "--namespace", net.side.name, "--backend", backend, "-p", "19001"]) == 1
    error = capsys.readouterr().err
    assert "no memory" in error and error.endswith("what was done has been undone\n")
    assert traces(net.side) == before


def test_without_the_right_to(net: Net) -> None:
    run = [sys.executable, "-m", "proxeny", "intercept"]
    done = net.side.run("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "--inh-caps=+dac_read_search",
                        "--ambient-caps=+dac_read_search", *run, "install", check=False)  # fmt: skip
    assert done.returncode == 1
    assert "root or CAP_NET_ADMIN is needed" in done.stderr and done.stderr.startswith("proxeny intercept: ")
    dry = net.side.run("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "--inh-caps=+dac_read_search",
                       "--ambient-caps=+dac_read_search", *run, "install", "--dry-run")  # fmt: skip
    assert dry.stdout.startswith("# What is installed cannot be read; taken for nothing.")
    assert "istio-proxy-nat" in dry.stdout
