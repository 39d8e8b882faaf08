"""Transport sockets around TLS, and health checks over TLS: real sockets, a server of Python's own."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from tests.integration.configs import ADMIN

from proxeny.testing.certificates import Authority
from proxeny.testing.proxy import RunningProxy

ROOT = Authority("root")
SERVER = ROOT.issue("server", "DNS:server.test", "IP:127.0.0.1")
SOCKETS = "type.googleapis.com/envoy.extensions.transport_sockets"
FILTERS = "type.googleapis.com/envoy.extensions.filters"
SECONDS = 20.0

Start = Callable[..., RunningProxy]


class TlsServer:
    """Answers HTTP requests over TLS; what a connection begins with is read, and answered, as ``before`` says."""

    def __init__(self, folder: Path, before: bytes = b"", answer: bytes = b"") -> None:
        files = SERVER.write(folder)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(files.certificate_chain, files.private_key)
        self._context.set_alpn_protocols(["check", "http/1.1"])
        self._before, self._answer = before, answer
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.heard: list[bytes] = []
        self.protocols: list[str | None] = []
        self.paths: list[str] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        plain.settimeout(SECONDS)
        with plain:
            try:
                if self._before:
                    heard = b""
                    while not heard.endswith(self._before):
                        heard += plain.recv(1)
                    self.heard.append(heard)
                    plain.sendall(self._answer)
                    if b" 407 " in self._answer:
                        plain.recv(1)
                        return
                with self._context.wrap_socket(plain, server_side=True) as wrapped:
                    self.protocols.append(wrapped.selected_alpn_protocol())
                    while request := wrapped.recv(65536):
                        self.paths.append(request.split()[1].decode())
                        wrapped.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            except OSError:
                pass

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Callable[..., TlsServer]]:
    made: list[TlsServer] = []

    def make(**options: Any) -> TlsServer:
        made.append(TlsServer(tmp_path / "certificates", **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def tls(folder: Path) -> str:
    ca = folder / "certificates" / "server.ca"
    return (
        f'{{name: tls, typed_config: {{"@type": {SOCKETS}.tls.v3.UpstreamTlsContext, sni: server.test, '
        f'common_tls_context: {{validation_context: {{trusted_ca: {{filename: "{ca}"}}}}}}}}}}'
    )


def around(name: str, message: str, folder: Path) -> str:
    """A transport socket around TLS."""
    return f'{{name: {name}, typed_config: {{"@type": {SOCKETS}.{message}, transport_socket: {tls(folder)}}}}}'


def through_proxy(port: int) -> str:
    """The metadata of an endpoint that is reached through a proxy."""
    return (
        ', metadata: {typed_filter_metadata: {envoy.http11_proxy_transport_socket.proxy_address: {"@type": '
        "type.googleapis.com/envoy.config.core.v3.Address, socket_address: {address: 127.0.0.1, port_value: "
        f"{port}}}}}}}}}"
    )


def bootstrap(port: int, transport: str, fields: str = "", metadata: str = "") -> str:
    endpoint = f"endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}{metadata}"
    return (
        ADMIN
        + f"""
static_resources:
  listeners:
  - name: web
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": {FILTERS}.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          route_config:
            virtual_hosts: [{{name: all, domains: ["*"], routes: [{{match: {{prefix: /}}, route: {{cluster: up}}}}]}}]
          http_filters: [{{name: router, typed_config: {{"@type": {FILTERS}.http.router.v3.Router}}}}]
  clusters:
  - name: up
    load_assignment: {{cluster_name: up, endpoints: [{{lb_endpoints: [{{{endpoint}}}]}}]}}
    transport_socket: {transport}
    {fields}
"""
    )


def get(proxy: RunningProxy, path: str = "/") -> tuple[int, str]:
    """The status of an answer, and who asked."""
    client = HTTPConnection("127.0.0.1", proxy.port("web"), timeout=SECONDS)
    client.connect()
    source = client.sock.getsockname()[1]
    client.request("GET", path)
    answer = client.getresponse()
    answer.read()
    client.close()
    return answer.status, str(source)


def test_a_header_goes_before_tls(proxy: Start, server: Callable[..., TlsServer], tmp_path: Path) -> None:
    there = server(before=b"\r\n")
    socket = around("pp", "proxy_protocol.v3.ProxyProtocolUpstreamTransport", tmp_path)
    running = proxy(bootstrap(there.port, socket))
    asked = [get(running) for _ in range(2)]
    assert [status for status, _ in asked] == [200, 200]
    # Another client is another connection.
    web = running.port("web")
    assert there.heard == [f"PROXY TCP4 127.0.0.1 127.0.0.1 {source} {web}\r\n".encode() for _, source in asked]


def test_a_tunnel_goes_before_tls(proxy: Start, server: Callable[..., TlsServer], tmp_path: Path) -> None:
    there = server(before=b"\r\n\r\n", answer=b"HTTP/1.1 200 OK\r\n\r\n")
    socket = around("proxy", "http_11_proxy.v3.Http11ProxyUpstreamTransport", tmp_path)
    running = proxy(bootstrap(443, socket, metadata=through_proxy(there.port)))
    assert get(running)[0] == 200
    assert there.heard == [b"CONNECT 127.0.0.1:443 HTTP/1.1\r\nHost: 127.0.0.1:443\r\n\r\n"]


def test_a_tunnel_that_is_refused(proxy: Start, server: Callable[..., TlsServer], tmp_path: Path) -> None:
    there = server(before=b"\r\n\r\n", answer=b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
    socket = around("proxy", "http_11_proxy.v3.Http11ProxyUpstreamTransport", tmp_path)
    running = proxy(bootstrap(443, socket, metadata=through_proxy(there.port)))
    assert get(running)[0] == 503
    assert running.stat("cluster.up.upstream_cx_connect_fail") == 1


def test_statistics_of_tcp_around_tls(proxy: Start, server: Callable[..., TlsServer], tmp_path: Path) -> None:
    there = server()
    socket = around("stats", "tcp_stats.v3.Config, update_period: 0.01s", tmp_path)
    running = proxy(bootstrap(there.port, socket))
    assert get(running)[0] == 200
    running.wait_for_stat("cluster.up.tcp_stats.cx_rx_bytes_received", 500)
    assert running.stat("cluster.up.tcp_stats.cx_tx_data_segments") > 1
    assert there.protocols == ["http/1.1"]


CHECK = (
    "health_checks: [{timeout: 30s, interval: 0.02s, no_traffic_interval: 0.02s, unhealthy_threshold: 1, "
    "healthy_threshold: 1, tls_options: {alpn_protocols: [check]}, http_health_check: {path: /check}%s}]"
)


def test_health_checks_speak_tls(proxy: Start, server: Callable[..., TlsServer], tmp_path: Path) -> None:
    there = server()
    running = proxy(bootstrap(there.port, tls(tmp_path), CHECK % ""))
    running.wait_for_stat("cluster.up.membership_healthy", 1)
    assert set(there.paths) == {"/check"}
    assert set(there.protocols) == {"check"}
    assert get(running, "/other")[0] == 200
    assert "http/1.1" in there.protocols


def test_health_checks_choose_a_transport_socket(
    proxy: Start, server: Callable[..., TlsServer], tmp_path: Path
) -> None:
    there = server()
    plain = f'{{name: raw, typed_config: {{"@type": {SOCKETS}.raw_buffer.v3.RawBuffer}}}}'
    matches = f"[{{name: secure, match: {{checked: true}}, transport_socket: {tls(tmp_path)}}}]"
    matches = f"\n    transport_socket_matches: {matches}"
    criteria = ", transport_socket_match_criteria: {checked: true}"
    running = proxy(bootstrap(there.port, plain, CHECK % criteria + matches))
    running.wait_for_stat("cluster.up.membership_healthy", 1)
    assert set(there.protocols) == {"check"}
    assert running.stat("cluster.up.secure.total_match_count") >= 1


def test_tlvs_of_a_tcp_proxy(proxy: Start) -> None:
    """Of a client without a header of its own."""
    typed = f'{{"@type": {FILTERS}.network.tcp_proxy.v3.TcpProxy, stat_prefix: t, cluster: up, proxy_protocol_tlvs: ['
    text = "format_string: {text_format_source: {inline_string: '%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%'}}"
    around = (
        f"{SOCKETS}.proxy_protocol.v3.ProxyProtocolUpstreamTransport, config: {{version: V2, pass_through_tlvs: {{}}}}"
    )
    raw = f'{{name: raw, typed_config: {{"@type": {SOCKETS}.raw_buffer.v3.RawBuffer}}}}'
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(SECONDS)
        config = (
            ADMIN
            + f"""
static_resources:
  listeners:
  - name: tcp
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters: [{{name: tcp, typed_config: {typed}{{type: 241, {text}}}, {{type: 240, value: YQ==}}]}}}}]
  clusters:
  - name: up
    load_assignment:
      cluster_name: up
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {server.getsockname()[1]}}}}}}}
    transport_socket: {{name: pp, typed_config: {{"@type": {around}, transport_socket: {raw}}}}}
"""
        )
        running = proxy(config)
        with socket.create_connection(("127.0.0.1", running.port("tcp")), timeout=SECONDS) as client:
            accepted, _ = server.accept()
            with accepted, accepted.makefile("rb") as stream:
                head = stream.read(28)
                source = client.getsockname()[1]
                addresses = b"\x7f\x00\x00\x01" * 2 + source.to_bytes(2, "big") + running.port("tcp").to_bytes(2, "big")
                tlvs = b"\xf0\x00\x01a\xf1\x00\x09127.0.0.1"
                assert head == b"\r\n\r\n\x00\r\nQUIT\n!\x11" + (12 + len(tlvs)).to_bytes(2, "big") + addresses
                assert stream.read(len(tlvs)) == tlvs
