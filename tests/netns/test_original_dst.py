"""Original destination and original source under real redirection, in Envoy and in Proxeny alike.

``client`` and ``server`` talk over ``side``, which is their router and where the proxy runs. Both proxies go through
the same steps in namespaces of the same kind; what client and server saw, the access log and the statistics are
compared, and the test states its own expectation besides.
"""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.differential.proxies import envoy_binary
from tests.netns.namespaces import Link, Namespace, Namespaces

from proxeny.testing import RunningProxy

TYPE = "type.googleapis.com/envoy.extensions"
PORT = 7000
MARK = 77
LOG = (
    "%RESPONSE_CODE% %RESPONSE_FLAGS% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_LOCAL_ADDRESS% "
    "%UPSTREAM_HOST% %UPSTREAM_CLUSTER%\\n"
)
STATS = r"^(cluster[.]|listener[.][^a].*_cx_|tcp[.]|http[.]in[.]downstream_rq)"
VOLATILE = re.compile(r"_bytes_|_ms|worker_|bytes_buffered|circuit|assignment|upstream_rq_pending|lb_recalc")

CONFIG = """
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}
static_resources:
  listeners:
  - name: in
    address: {{socket_address: {{address: "{bind}", port_value: 15001, ipv4_compat: {compat}}}}}
    {listener}
    filter_chains:
    - filters: [{chain}]{more}
  clusters:
  - {{name: destination, type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, connect_timeout: 2s, {cluster}}}
"""

ORIGINAL_DST = f'{{name: dst, typed_config: {{"@type": {TYPE}.filters.listener.original_dst.v3.OriginalDst}}}}'
ORIGINAL_SRC = (
    f'{{name: src, typed_config: {{"@type": {TYPE}.filters.listener.original_src.v3.OriginalSrc, mark: {MARK}}}}}'
)


def access_log(path: Path) -> str:
    return (
        f'access_log: [{{name: file, typed_config: {{"@type": {TYPE}.access_loggers.file.v3.FileAccessLog, '
        f'path: "{path}", log_format: {{text_format_source: {{inline_string: "{LOG}"}}}}}}}}]'
    )


def tcp_proxy(log: Path) -> str:
    return (
        f'{{name: tcp, typed_config: {{"@type": {TYPE}.filters.network.tcp_proxy.v3.TcpProxy, '
        f"stat_prefix: in, cluster: destination, {access_log(log)}}}}}"
    )


def http(log: Path, filters: str = "") -> str:
    kind = f"{TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager"
    return (
        f'{{name: hcm, typed_config: {{"@type": {kind}, '
        f"stat_prefix: in, {access_log(log)}, route_config: {{virtual_hosts: [{{name: all, domains: ['*'], "
        f"routes: [{{match: {{prefix: /}}, route: {{cluster: destination}}}}]}}]}}, http_filters: [{filters}"
        f'{{name: router, typed_config: {{"@type": {TYPE}.filters.http.router.v3.Router}}}}]}}}}'
    )


class World:
    """Three namespaces in a row, and a proxy in the middle."""

    def __init__(self, kind: str, folder: Path, namespaces: Namespaces, stack: ExitStack) -> None:
        self.kind = kind
        self.log = folder / f"{kind}.log"
        self.seen: list[str] = []
        self.requests = 0
        self._stack = stack
        self.client, self.side, self.server = (namespaces.add(label) for label in ("client", "side", "server"))
        self.near, self.gateway = namespaces.link(self.client, self.side)
        self.other_gateway, self.far = namespaces.link(self.side, self.server)
        self.side.forward()
        for end, via in ((self.client, self.gateway), (self.server, self.other_gateway)):
            end.add_route("default", via.v4)
            end.add_route("default", via.v6)

    def start(
        self, chain: Callable[[Path], str], listener: str, bind: str = "0.0.0.0", cluster: str = "",
        uid: int | None = None, more: str = "",
    ) -> None:  # fmt: skip
        config = CONFIG.format(
            bind=bind, compat="true" if bind == "::" else "false", listener=listener, chain=chain(self.log),
            cluster=cluster, more=more,
        )  # fmt: skip
        binary = [str(envoy_binary())] if self.kind == "envoy" else [sys.executable, "-m", "proxeny"]
        args = ("--file-flush-interval-msec", "10")
        self.proxy = RunningProxy(config, args, namespace=self.side.name, binary=binary, uid=uid)
        self._stack.callback(self.proxy.close)

    def serve(self, address: str, port: int = PORT) -> socket.socket:
        listener = self.server.listen(address, port)
        self._stack.callback(listener.close)
        return listener

    def note(self, text: str) -> None:
        """A line of the transcript; addresses get their names."""
        for number, name in sorted(self._names().items(), key=lambda item: -len(item[0])):
            text = text.replace(number, name)
        self.seen.append(text)

    def _names(self) -> dict[str, str]:
        ends: dict[str, Link] = {
            "<client>": self.near, "<gateway>": self.gateway, "<side>": self.other_gateway, "<server>": self.far
        }  # fmt: skip
        return {address: name for name, link in ends.items() for address in (link.v4, link.v6)}

    def connect(self, address: str, port: int = PORT, source: str | None = None) -> socket.socket:
        made = self.client.connect(address, port, source)
        self._stack.callback(made.close)
        return made

    def exchange(self, listener: socket.socket, client: socket.socket) -> None:
        """A word each way; the server says who it talks to."""
        client.sendall(b"ping")
        accepted, peer = listener.accept()
        with accepted:
            accepted.settimeout(10)
            assert accepted.recv(4) == b"ping"
            accepted.sendall(b"pong")
            assert client.recv(4) == b"pong"
            self.note(f"server talks to {peer[0]}")
            client.close()
            assert accepted.recv(1) == b""

    def request(self, listener: socket.socket, client: socket.socket, *fields: str) -> None:
        """A request whose connection ends with it."""
        head = "".join(f"{field}\r\n" for field in ("Host: a.test", "Connection: close", *fields))
        client.sendall(f"GET / HTTP/1.1\r\n{head}\r\n".encode())
        accepted, peer = listener.accept()
        with accepted:
            accepted.settimeout(10)
            while b"\r\n\r\n" not in accepted.recv(65536):
                pass
            accepted.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            self.note(f"server talks to {peer[0]}")
            answer = b""
            while data := client.recv(65536):
                answer += data
            self.note(f"client got {answer.splitlines()[0].decode()}")
        # The proxy keeps the connection to the server until it sees it end: statistics differ before and after.
        self.requests += 1
        self.proxy.wait_for_stat("cluster.destination.upstream_cx_destroy", self.requests)

    def settle(self, logged: int) -> None:
        """Wait for the log; note it and the statistics."""
        for _ in range(2000):
            lines = self.log.read_text().splitlines() if self.log.exists() else []
            if len(lines) >= logged:
                break
            self.proxy.admin("/ready")
        for line in lines:
            self.note(f"log {line}")
        for line in self.proxy.admin(f"/stats?usedonly&type=Counters&filter={STATS}").splitlines():
            if not VOLATILE.search(line):
                self.note(re.sub(r"(listener[.]).*?([.]downstream)", r"\1<in>\2", line))

    def packets_marked(self, family: str) -> int:
        """How many packets left with our mark."""
        rules = self.side.run(f"{tables(family)}", "-t", "mangle", "-nvxL", "OUTPUT").stdout
        return int(re.search(r"^\s*(\d+) .*mark match", rules, re.MULTILINE).group(1))  # type: ignore[union-attr]


def tables(family: str) -> str:
    return "iptables" if family == "v4" else "ip6tables"


def redirect(side: Namespace, family: str) -> None:
    side.run(
        tables(family), "-t", "nat", "-A", "PREROUTING", "-p", "tcp", "--dport", str(PORT), "-j", "REDIRECT",
        "--to-ports", "15001",
    )  # fmt: skip


def deliver_marked(side: Namespace, family: str) -> None:
    """Packets with mark 1 are ours whatever their address."""
    side.ip(f"-{family[1]}", "rule", "add", "fwmark", "1", "lookup", "100")
    side.ip(f"-{family[1]}", "route", "add", "local", "default", "dev", "lo", "table", "100")


def tproxy(side: Namespace, family: str) -> None:
    deliver_marked(side, family)
    side.run(
        tables(family), "-t", "mangle", "-A", "PREROUTING", "-p", "tcp", "--dport", str(PORT), "-j", "TPROXY",
        "--on-port", "15001", "--tproxy-mark", "1",
    )  # fmt: skip


def return_path(side: Namespace, family: str) -> None:
    """What comes back for the sockets that are bound to clients' addresses is theirs; and count marked packets."""
    deliver_marked(side, family)
    side.run(
        tables(family), "-t", "mangle", "-A", "PREROUTING", "-p", "tcp", "-m", "socket", "--transparent", "-j", "MARK",
        "--set-mark", "1",
    )  # fmt: skip
    side.run(tables(family), "-t", "mangle", "-A", "OUTPUT", "-m", "mark", "--mark", str(MARK), "-j", "ACCEPT")


@pytest.fixture
def both(tmp_path: Path, namespaces: Namespaces) -> Iterator[Callable[[Callable[[World], None]], list[str]]]:
    """Runs a scenario with Envoy and with Proxeny; the transcript, once it is known to be the same."""

    def run(scenario: Callable[[World], None]) -> list[str]:
        transcripts = []
        for kind in ("envoy", "proxeny"):
            with ExitStack() as stack:
                world = World(kind, tmp_path, namespaces, stack)
                # The second pair of links has other numbers; names make them equal.
                scenario(world)
                transcripts.append(world.seen)
        assert transcripts[1] == transcripts[0]
        return transcripts[1]

    yield run


Both = Callable[[Callable[[World], None]], list[str]]
FAMILIES = pytest.mark.parametrize("family", ["v4", "v6"])


def wildcard(family: str) -> str:
    return "0.0.0.0" if family == "v4" else "::"


def host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


@FAMILIES
def test_redirected_tcp_goes_on_to_where_it_was_going(both: Both, family: str) -> None:
    def scenario(world: World) -> None:
        redirect(world.side, family)
        world.start(tcp_proxy, f"listener_filters: [{ORIGINAL_DST}]", wildcard(family))
        far = getattr(world.far, family)
        world.exchange(world.serve(far), world.connect(far))
        world.settle(1)

    seen = both(scenario)
    server = "<server>" if family == "v4" else "[<server>]"
    assert "server talks to <side>" in seen
    assert f"log 0 - <client> {server}:{PORT} {server}:{PORT} destination" in seen
    assert "cluster.destination.membership_change: 1" in seen


def test_ipv4_on_a_dual_stack_listener(both: Both) -> None:
    def scenario(world: World) -> None:
        redirect(world.side, "v4")
        world.start(tcp_proxy, f"listener_filters: [{ORIGINAL_DST}]", "::")
        world.exchange(world.serve(world.far.v4), world.connect(world.far.v4))
        world.settle(1)

    assert f"log 0 - <client> <server>:{PORT} <server>:{PORT} destination" in both(scenario)


def test_use_original_dst_implies_the_filter(both: Both) -> None:
    def scenario(world: World) -> None:
        redirect(world.side, "v4")
        world.start(tcp_proxy, "use_original_dst: true")
        world.exchange(world.serve(world.far.v4), world.connect(world.far.v4))
        world.settle(1)

    assert f"log 0 - <client> <server>:{PORT} <server>:{PORT} destination" in both(scenario)


@FAMILIES
def test_tproxy(both: Both, family: str) -> None:
    """The local address of a transparent listener's sockets is where they were going."""

    def scenario(world: World) -> None:
        tproxy(world.side, family)
        world.start(tcp_proxy, f"transparent: true\n    listener_filters: [{ORIGINAL_DST}]", wildcard(family))
        far = getattr(world.far, family)
        world.exchange(world.serve(far), world.connect(far))
        world.settle(1)

    seen = both(scenario)
    assert "server talks to <side>" in seen
    assert any(f"]:{PORT} destination" in line or f"<server>:{PORT} destination" in line for line in seen)


def test_without_the_filter_there_is_no_destination(both: Both) -> None:
    def scenario(world: World) -> None:
        redirect(world.side, "v4")
        world.start(tcp_proxy, "")
        client = world.connect(world.far.v4)
        world.note(f"client got {client.recv(1)!r}")
        world.settle(1)

    seen = both(scenario)
    assert "log 0 UH <client> <gateway>:15001 - destination" in seen
    assert "cluster.destination.upstream_cx_none_healthy: 1" in seen


def test_unreachable_destination(both: Both) -> None:
    def scenario(world: World) -> None:
        redirect(world.side, "v4")
        world.start(tcp_proxy, f"listener_filters: [{ORIGINAL_DST}]")
        client = world.connect(world.far.v4)
        world.note(f"client got {client.recv(1)!r}")
        world.settle(1)

    seen = both(scenario)
    assert f"log 0 UF,URX <client> <server>:{PORT} <server>:{PORT} destination" in seen


def test_several_destinations(both: Both) -> None:
    """A host each; those that were seen before are not made again."""

    def scenario(world: World) -> None:
        redirect(world.side, "v4")
        world.server.add_address("10.99.0.1/32")
        world.server.add_address("10.99.0.2/32")
        world.side.add_route("10.99.0.0/24", world.far.v4)
        world.start(tcp_proxy, f"listener_filters: [{ORIGINAL_DST}]")
        listener = world.serve("0.0.0.0")
        for address in ("10.99.0.1", "10.99.0.2", "10.99.0.1"):
            world.exchange(listener, world.connect(address))
        world.settle(3)

    seen = both(scenario)
    assert "cluster.destination.membership_change: 2" in seen
    assert sum(f"10.99.0.1:{PORT} destination" in line for line in seen) == 2


@FAMILIES
def test_redirected_http(both: Both, family: str) -> None:
    def scenario(world: World) -> None:
        redirect(world.side, family)
        world.start(http, f"listener_filters: [{ORIGINAL_DST}]", wildcard(family))
        far = getattr(world.far, family)
        world.request(world.serve(far), world.connect(far))
        world.settle(1)

    assert "client got HTTP/1.1 200 OK" in both(scenario)


def test_the_header_wins_over_the_redirected_destination(both: Both) -> None:
    def scenario(world: World) -> None:
        redirect(world.side, "v4")
        config = "original_dst_lb_config: {use_http_header: true}"
        world.start(http, f"listener_filters: [{ORIGINAL_DST}]", cluster=config)
        listener = world.serve(world.far.v4, 7777)
        field = f"x-envoy-original-dst-host: {world.far.v4}:7777"
        world.request(listener, world.connect(world.far.v4), field)
        world.settle(1)

    assert f"log 200 - <client> <server>:{PORT} <server>:7777 destination" in both(scenario)


@FAMILIES
def test_original_src(both: Both, family: str) -> None:
    """The server sees the client; our packets carry the mark."""

    def scenario(world: World) -> None:
        redirect(world.side, family)
        return_path(world.side, family)
        world.start(tcp_proxy, f"listener_filters: [{ORIGINAL_DST}, {ORIGINAL_SRC}]", wildcard(family))
        far = getattr(world.far, family)
        world.exchange(world.serve(far), world.connect(far))
        world.settle(1)
        world.note(f"marked {world.packets_marked(family) > 0}")

    seen = both(scenario)
    assert "server talks to <client>" in seen and "marked True" in seen


def test_each_source_has_upstream_connections_of_its_own(both: Both) -> None:
    """Keep-alive connections are not shared between clients that the server must tell apart."""

    def scenario(world: World) -> None:
        redirect(world.side, "v4")
        return_path(world.side, "v4")
        world.client.add_address("10.88.0.1/32")
        world.side.add_route("10.88.0.0/24", world.near.v4)
        world.start(http, f"listener_filters: [{ORIGINAL_DST}, {ORIGINAL_SRC}]")
        listener = world.serve(world.far.v4)
        for source in ("10.88.0.1", world.near.v4):
            world.request(listener, world.connect(world.far.v4, source=source))
        world.settle(2)

    seen = both(scenario)
    assert "server talks to 10.88.0.1" in seen and "server talks to <client>" in seen


def test_the_source_goes_along_when_the_connection_is_handed_off(both: Both) -> None:
    """The listener that the redirection leads to has the filter; the one of the destination opens the connection."""

    def scenario(world: World) -> None:
        redirect(world.side, "v4")
        return_path(world.side, "v4")
        world.start(
            lambda log: "{name: nobody, typed_config: {" + f'"@type": {TYPE}.filters.network.echo.v3.Echo' + "}}",
            f"use_original_dst: true\n    listener_filters: [{ORIGINAL_SRC}]",
            more=f"""
  - name: seven
    address: {{socket_address: {{address: 0.0.0.0, port_value: {PORT}}}}}
    bind_to_port: false
    filter_chains: [{{filters: [{tcp_proxy(world.log)}]}}]""",
        )
        world.exchange(world.serve(world.far.v4), world.connect(world.far.v4))
        world.settle(1)
        world.note(f"marked {world.packets_marked('v4') > 0}")

    seen = both(scenario)
    assert "server talks to <client>" in seen and "marked True" in seen


def test_http_original_src(both: Both) -> None:
    """The client is whom x-forwarded-for names."""
    filters = (
        f'{{name: src, typed_config: {{"@type": {TYPE}.filters.http.original_src.v3.OriginalSrc, mark: {MARK}}}}}, '
    )

    def scenario(world: World) -> None:
        redirect(world.side, "v4")
        return_path(world.side, "v4")
        world.client.add_address("10.88.0.1/32")
        world.side.add_route("10.88.0.0/24", world.near.v4)
        world.start(lambda log: http(log, filters), f"listener_filters: [{ORIGINAL_DST}]")
        listener = world.serve(world.far.v4)
        for source in ("10.88.0.1", world.near.v4):
            world.request(listener, world.connect(world.far.v4), f"x-forwarded-for: {source}")
        world.settle(2)
        world.note(f"marked {world.packets_marked('v4') > 0}")

    seen = both(scenario)
    assert "server talks to 10.88.0.1" in seen and "server talks to <client>" in seen and "marked True" in seen


def test_a_source_without_permission_is_a_failure(both: Both) -> None:
    """Foreign addresses need CAP_NET_ADMIN: without it the upstream connection fails, and nothing else."""

    def scenario(world: World) -> None:
        redirect(world.side, "v4")
        world.log.touch()
        world.log.chmod(0o666)
        world.start(tcp_proxy, f"listener_filters: [{ORIGINAL_DST}, {ORIGINAL_SRC}]", uid=1337)
        client = world.connect(world.far.v4)
        world.note(f"client got {client.recv(1)!r}")
        world.settle(1)

    seen = both(scenario)
    assert "cluster.destination.upstream_cx_connect_fail: 1" in seen
