"""A service in a network namespace, captured by one command: examples/sidecar, real curl and raw TCP, both directions.

client -- side (service "app" and sidecar) -- upstream. The sidecar is Proxeny, and in its place the real Envoy: what
is right for one is right for the other.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.differential.proxies import envoy_binary
from tests.netns.ends import HttpServer, TellingServer, ask
from tests.netns.namespaces import TIMEOUT_S, Link, Namespace, Namespaces

from proxeny.intercept import command
from proxeny.testing import RunningProxy

EXAMPLE = Path(__file__).parents[2] / "examples" / "sidecar" / "envoy.yaml"
SERVICE_IP = "192.0.2.10"
"""The address of the service's instance in the example."""
APP, PROXY = 1000, 1337
FAMILIES = ("v4", "v6")
PASSTHROUGH = {"v4": "127.0.0.6", "v6": "::6"}


PROGRAMS = {"proxeny": (sys.executable, "-m", "proxeny"), "envoy": ()}
"""What runs as the sidecar; without words: the real Envoy."""


@dataclass(slots=True)
class Mesh:
    """The namespaces with their servers and the running sidecar."""

    client: Namespace
    side: Namespace
    upstream: Namespace
    entry: Link
    """The client's end of the link to the side."""
    front: Link
    exit: Link
    """The side's end of the link to the upstream."""
    back: Link
    app: dict[str, HttpServer]
    web: dict[str, HttpServer]
    proxy: RunningProxy

    def own(self, family: str) -> str:
        """The service's address, as the client knows it."""
        return str(getattr(self.front, family))

    def near(self, family: str) -> str:
        """Where the upstream sees the side come from."""
        return str(getattr(self.exit, family))

    def far(self, family: str) -> str:
        """The upstream's address."""
        return str(getattr(self.back, family))

    def curl(self, namespace: Namespace, host: str, *args: str, uid: int = 0) -> str:
        """What real curl prints of port 8080."""
        host = f"[{host}]" if ":" in host else host
        return namespace.run("curl", "-sg", *args, f"http://{host}:8080/", uid=uid).stdout

    def intercept(self, *args: str) -> None:
        assert command.main([args[0], "--namespace", self.side.name, *args[1:]]) == 0

    def wait_for_log(self, line: str) -> None:
        """Wait until an access log entry is there."""
        deadline = time.monotonic() + 10
        while f"\n{line}\n" not in f"\n{self.proxy.log()}":
            assert time.monotonic() < deadline, f"{line!r} is not in\n{self.proxy.log()}"
            time.sleep(0.01)


@contextmanager
def running_mesh(
    program: str, namespaces: Namespaces, proxy: Callable[..., RunningProxy], config: str,
    capabilities: tuple[str, ...] = (),
) -> Iterator[Mesh]:  # fmt: skip
    """Servers first, then the sidecar; the rules are the test's."""
    client, side, upstream = (namespaces.add(label) for label in ("client", "side", "upstream"))
    ends = (*namespaces.link(client, side), *namespaces.link(side, upstream))
    # The service is found at the address that the example gives its instance, too.
    side.add_address(f"{SERVICE_IP}/32")
    # Addresses of services are nobody's; a connection to one is captured where there is a route for it.
    side.add_route("240.240.0.0/16", ends[3].v4)
    with ExitStack() as servers:
        app, web = {}, {}
        for family, address in (("v4", "0.0.0.0"), ("v6", "::")):
            app[family] = servers.enter_context(HttpServer(side, "app", address, 8080))
            web[family] = servers.enter_context(HttpServer(upstream, "web", address, 8080))
            servers.enter_context(TellingServer(side, "app", address, 9000))
            servers.enter_context(TellingServer(upstream, "raw", address, 7000))
        running = proxy(
            config, ("--file-flush-interval-msec", "10"), namespace=side.name, uid=PROXY, capabilities=capabilities,
            concurrency=2, binary=PROGRAMS[program] or (str(envoy_binary()),),
        )  # fmt: skip
        yield Mesh(client, side, upstream, *ends, app, web, running)


@pytest.fixture(params=list(PROGRAMS))
def program(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def mesh(program: str, namespaces: Namespaces, proxy: Callable[..., RunningProxy]) -> Iterator[Mesh]:
    with running_mesh(program, namespaces, proxy, EXAMPLE.read_text()) as made:
        yield made


def test_both_directions(mesh: Mesh, backend: str) -> None:
    mesh.intercept("install", "--backend", backend)
    for family in FAMILIES:
        own, near, far = mesh.own(family), mesh.near(family), mesh.far(family)
        bracketed = f"[{far}]" if family == "v6" else far
        # Out, HTTP: handed to the listener of port 8080, which has no socket.
        assert mesh.curl(mesh.side, far, uid=APP) == f"web / from {near}\n"
        assert "x-request-id" in mesh.web[family].requests[-1][1]
        mesh.wait_for_log(f"outbound {bracketed}:8080 PassthroughCluster 200")
        # Out, any TCP: passes.
        assert ask(mesh.side, far, 7000, uid=APP) == f"raw {far} 7000 from {near}"
        mesh.wait_for_log(f"outbound {bracketed}:7000 PassthroughCluster {len(f'raw {far} 7000 from {near}')}")
        # In, HTTP and any TCP (here one in which the server speaks first).
        assert mesh.curl(mesh.client, own) == f"app / from {PASSTHROUGH[family]}\n"
        assert "x-request-id" in mesh.app[family].requests[-1][1]
        assert ask(mesh.client, own, 9000) == f"app {own} 9000 from {PASSTHROUGH[family]}"
    assert mesh.proxy.stat("http.outbound_0.0.0.0_8080.downstream_rq_2xx") == 2
    assert mesh.proxy.stat("tcp.PassthroughCluster.downstream_cx_total") == 2
    assert mesh.proxy.stat("http.InboundPassthroughCluster.downstream_rq_2xx") == 2
    assert mesh.proxy.stat("tcp.InboundPassthroughCluster.downstream_cx_total") == 2
    # Nothing that the proxy sent came back to it.
    assert mesh.proxy.stat("cluster.PassthroughCluster.upstream_cx_total") == 4
    assert mesh.proxy.stat("cluster.InboundPassthroughCluster.upstream_cx_total") == 2
    assert mesh.proxy.stat("cluster.InboundPassthroughClusterIpv6.upstream_cx_total") == 2
    assert mesh.proxy.stat("tcp.BlackHoleCluster.downstream_cx_total") == 0


def test_a_service_that_calls_its_own_name_meets_both_sides(mesh: Mesh, backend: str) -> None:
    mesh.intercept("install", "--backend", backend)
    answer = mesh.curl(mesh.side, "240.240.0.1", "-H", "Host: shop.mesh", uid=APP)
    assert answer == "app / from 127.0.0.6\n"
    mesh.wait_for_log("outbound 240.240.0.1:8080 outbound|8080||shop.mesh 200")
    mesh.wait_for_log(f"inbound {SERVICE_IP}:8080 InboundPassthroughCluster 200")
    # Its own address is its own affair.
    assert mesh.curl(mesh.side, SERVICE_IP, uid=APP) == f"app / from {SERVICE_IP}\n"
    assert mesh.proxy.stat("http.InboundPassthroughCluster.downstream_rq_total") == 1


def test_a_call_of_the_captures_port_does_not_loop(mesh: Mesh) -> None:
    mesh.intercept("install")
    for address in ("127.0.0.1", "::1", SERVICE_IP):
        with mesh.side.connect(address, 15001, uid=APP) as connection:
            assert read_to_end(connection) == b""
    assert mesh.proxy.wait_for_stat("tcp.BlackHoleCluster.downstream_cx_total", 3) == 3
    assert mesh.proxy.stat("cluster.PassthroughCluster.upstream_cx_total") == 0


def test_names_of_the_mesh_by_dns(mesh: Mesh, backend: str) -> None:
    """The resolver of the C library asks a server that does not exist; the sidecar answers in its stead."""
    curl = ("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "curl", "-s4", "http://shop.mesh:8080/dns")
    for family in FAMILIES:
        with mesh.side.resolv_conf(f"nameserver {mesh.far(family)}\n"):
            mesh.intercept("install", "--backend", backend, "--redirect-dns")
            done = subprocess.run(
                ["ip", "netns", "exec", mesh.side.name, *curl], capture_output=True, text=True, timeout=TIMEOUT_S
            )
        assert done.stdout == "app /dns from 127.0.0.6\n"
    mesh.wait_for_log("outbound 240.240.0.1:8080 outbound|8080||shop.mesh 200")


def test_excluded_traffic_is_direct(mesh: Mesh, backend: str) -> None:
    mesh.intercept("install", "--backend", backend, "-o", "7000", "-x", f"{mesh.far('v6')}/128", "-d", "9000")
    assert ask(mesh.side, mesh.far("v4"), 7000, uid=APP).startswith("raw ")
    assert mesh.curl(mesh.side, mesh.far("v6"), uid=APP).startswith("web ")
    assert ask(mesh.client, mesh.own("v4"), 9000).endswith(f" from {mesh.entry.v4}")
    assert mesh.curl(mesh.side, mesh.far("v4"), uid=PROXY).startswith("web ")
    assert "x-request-id" not in str(mesh.web["v4"].requests + mesh.web["v6"].requests)
    assert mesh.curl(mesh.side, mesh.far("v4"), uid=APP).startswith("web ")
    assert "x-request-id" in mesh.web["v4"].requests[-1][1]


def test_removal_restores_direct_traffic(mesh: Mesh, backend: str) -> None:
    mesh.intercept("install", "--backend", backend)
    assert mesh.curl(mesh.client, mesh.own("v4")) == "app / from 127.0.0.6\n"
    mesh.intercept("remove")
    for family in FAMILIES:
        assert mesh.curl(mesh.client, mesh.own(family)).startswith("app ")
        assert mesh.curl(mesh.side, mesh.far(family), uid=APP).startswith("web ")
        for server in (mesh.app, mesh.web):
            peer, headers = server[family].requests[-1]
            assert "x-request-id" not in headers and peer != PASSTHROUGH[family]


def test_tproxy(program: str, backend: str, namespaces: Namespaces, proxy: Callable[..., RunningProxy]) -> None:
    """The service sees the client's own address, and its answers find their way back through the sidecar."""
    config = EXAMPLE.read_text()
    for address in ("127.0.0.6", '"::6"'):
        config = config.replace(
            f"    upstream_bind_config: {{source_address: {{address: {address}, port_value: 0}}}}\n", ""
        )
    original_src = """    listener_filters:
    - name: envoy.filters.listener.original_src
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.listener.original_src.v3.OriginalSrc
        mark: 1337
"""
    config = config.replace("    listener_filters:\n", f"    transparent: true\n{original_src}", 1)
    with running_mesh(program, namespaces, proxy, config, ("net_admin",)) as mesh:
        mesh.intercept("install", "--backend", backend, "-m", "TPROXY")
        for family in FAMILIES:
            own = mesh.own(family)
            client = getattr(mesh.entry, family)
            assert mesh.curl(mesh.client, own) == f"app / from {client}\n"
            assert "x-request-id" in mesh.app[family].requests[-1][1]
            assert ask(mesh.client, own, 9000) == f"app {own} 9000 from {client}"
            assert mesh.curl(mesh.side, mesh.far(family), uid=APP) == f"web / from {mesh.near(family)}\n"
        mesh.intercept("remove")
        assert mesh.curl(mesh.client, mesh.own("v4")).startswith("app ")
        assert "x-request-id" not in mesh.app["v4"].requests[-1][1]


def read_to_end(connection: socket.socket) -> bytes:
    """What a peer sends until it closes or resets."""
    found = b""
    try:
        while part := connection.recv(4096):
            found += part
    except ConnectionResetError:
        pass
    return found
