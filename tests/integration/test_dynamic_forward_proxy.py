"""Dynamic forward proxies with several workers: one cache for all, what holds across them, and faults of names."""

from __future__ import annotations

import http.client
import http.server
import os
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest
from tests.integration.configs import ADMIN
from tests.name_server import Fault, NameServer

from proxeny.testing import FakeUpstream, RunningProxy
from proxeny.testing.certificates import Authority
from proxeny.testing.upstream import Answer

Start = Callable[..., RunningProxy]
TYPE = "type.googleapis.com/envoy.extensions"


@pytest.fixture
def names() -> Iterator[NameServer]:
    server = NameServer()
    yield server
    server.close()


SUB_CLUSTERS = """sub_clusters_config: {{sub_cluster_ttl: 2s}}
    dns_lookup_family: V4_ONLY
    typed_dns_resolver_config:
      name: cares
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig
        resolvers: [{{socket_address: {{address: 127.0.0.1, port_value: {}}}}}]
        dns_resolver_options: {{no_default_search_domain: true}}"""


def config(names: NameServer, cache: str = "") -> str:
    """A forward proxy ``web`` whose cache has these settings besides."""
    resolver = (
        f'{{name: cares, typed_config: {{"@type": {TYPE}.network.dns_resolver.cares.v3.CaresDnsResolverConfig, '
        f"resolvers: [{{socket_address: {{address: 127.0.0.1, port_value: {names.port}}}}}], "
        "dns_resolver_options: {no_default_search_domain: true}}}"
    )
    return (
        ADMIN
        + f"""
static_resources:
  listeners:
  - name: web
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": {TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          http_filters:
          - name: envoy.filters.http.dynamic_forward_proxy
            typed_config:
              "@type": {TYPE}.filters.http.dynamic_forward_proxy.v3.FilterConfig
              dns_cache_config: &cache
                {{name: names, dns_lookup_family: V4_ONLY, {cache} typed_dns_resolver_config: {resolver}}}
          - name: envoy.filters.http.router
            typed_config: {{"@type": {TYPE}.filters.http.router.v3.Router}}
          route_config:
            virtual_hosts:
            - {{name: all, domains: ["*"], routes: [{{match: {{prefix: /}}, route: {{cluster: names}}}}]}}
  clusters:
  - name: names
    lb_policy: CLUSTER_PROVIDED
    cluster_type:
      name: envoy.clusters.dynamic_forward_proxy
      typed_config:
        "@type": {TYPE}.clusters.dynamic_forward_proxy.v3.ClusterConfig
        dns_cache_config: *cache
"""
    )


def with_sub_clusters(names: NameServer) -> str:
    """The same with a cluster of its own for every host."""
    one = config(names)
    for cache in ("&cache", "*cache"):
        at = one.index(f"dns_cache_config: {cache}")
        end = one.index("\n          -" if cache == "&cache" else "\n", at)
        one = (
            one[:at] + ("sub_cluster_config: {}" if cache == "&cache" else SUB_CLUSTERS.format(names.port)) + one[end:]
        )
    return one


def get(port: int, host: str) -> tuple[int, bytes]:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", "/", headers={"host": host})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def get_until(port: int, host: str, status: int) -> None:
    """Ask until this is the answer."""
    deadline = time.monotonic() + 20
    while get(port, host)[0] != status:
        assert time.monotonic() < deadline


class SecureUpstream:
    """Answers one request per connection over TLS, and notes which name each client asked for."""

    def __init__(self, folder: Path) -> None:
        authority = Authority("root")
        files = authority.issue("a", "DNS:a.test").write(folder, "a")
        self.authority = files.authority
        self.asked: list[str | None] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.certificate_chain, files.private_key)
        context.sni_callback = lambda _sock, name, _context: self.asked.append(name)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), SecureUpstream.Answer)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        Thread(target=self._server.serve_forever, daemon=True).start()

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *what: object) -> None:
            pass

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[SecureUpstream]:
    made = SecureUpstream(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("sub_clusters", [False, True], ids=["cache", "sub_clusters"])
def test_connections_over_tls_ask_for_their_host_and_expect_it(
    proxy: Start, names: NameServer, secure: SecureUpstream, sub_clusters: bool
) -> None:
    names.records.update({"a.test": ["127.0.0.1"], "other.test": ["127.0.0.1"]})
    text = with_sub_clusters(names) if sub_clusters else config(names)
    context = (
        f'"@type": {TYPE}.transport_sockets.tls.v3.UpstreamTlsContext, '
        f"common_tls_context: {{validation_context: {{trusted_ca: {{filename: {secure.authority}}}}}}}"
    )
    running = proxy(text + f"    transport_socket: {{name: tls, typed_config: {{{context}}}}}\n")
    assert get(running.port("web"), f"a.test:{secure.port}")[0] == 200
    assert secure.asked == ["a.test"]
    assert get(running.port("web"), f"other.test:{secure.port}")[0] == 503
    assert secure.asked[1:] and set(secure.asked[1:]) == {"other.test"}


def test_one_resolution_serves_all_workers(
    proxy: Start, upstream: Callable[..., FakeUpstream], names: NameServer
) -> None:
    names.records["a.test"] = ["127.0.0.1"]
    running = proxy(config(names), concurrency=3)
    port, host = running.port("web"), f"a.test:{upstream().port}"
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: get(port, host)[0], range(60)))
    assert answers == [200] * 60
    assert len(names.queries) == running.stat("dns_cache.names.dns_query_attempt") == 1
    assert running.stat("dns_cache.names.circuit_breakers.rq_pending_remaining") == 1024


def test_a_worker_that_dies_is_told_again(
    proxy: Start, upstream: Callable[..., FakeUpstream], names: NameServer
) -> None:
    names.records["a.test"] = ["127.0.0.1"]
    running = proxy(config(names))
    port, host = running.port("web"), f"a.test:{upstream().port}"
    assert get(port, host)[0] == 200
    names.records["slow.test"] = Fault.SILENCE
    with socket.create_connection(("127.0.0.1", port)) as waiting:
        waiting.sendall(b"GET / HTTP/1.1\r\nHost: slow.test\r\n\r\n")
        names.asked("slow.test", 0)
        running.wait_for_stat("dns_cache.names.num_hosts", 2)
        (pid,) = running.worker_pids()
        os.kill(pid, signal.SIGKILL)
        running.wait_for_stat("server.worker_restarts", 1)
        with suppress(ConnectionError):
            assert waiting.recv(1) == b""
    names.records.clear()
    assert get(port, host)[0] == 200
    assert running.stat("dns_cache.names.dns_query_attempt") == 2
    deadline = time.monotonic() + 10
    while running.stat("dns_cache.names.circuit_breakers.rq_pending_remaining") != 1024:
        assert time.monotonic() < deadline


def test_limits_hold_across_workers(proxy: Start, names: NameServer) -> None:
    names.records["slow.test"] = Fault.SILENCE
    limit = "dns_query_timeout: 60s, dns_cache_circuit_breaker: {max_pending_requests: 3},"
    running = proxy(config(names, limit), concurrency=3)
    port = running.port("web")
    waiting = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
    for client in waiting:
        client.sendall(b"GET / HTTP/1.1\r\nHost: slow.test\r\n\r\n")
    running.wait_for_stat("dns_cache.names.circuit_breakers.rq_pending_open", 1)
    for _ in range(8):
        assert get(port, "other.test") == (503, b"Dynamic forward proxy pending request overflow")
    assert running.stat("dns_cache.names.dns_rq_pending_overflow") == 8
    for client in waiting:
        client.close()
    running.wait_for_stat("dns_cache.names.circuit_breakers.rq_pending_remaining", 3)
    assert get(port, "other.test") == (503, b"DNS resolution failure")


def test_the_cache_is_full_for_all_workers(
    proxy: Start, upstream: Callable[..., FakeUpstream], names: NameServer
) -> None:
    running = proxy(config(names, "max_hosts: 4,"), concurrency=3)
    port, service = running.port("web"), upstream()
    for number in range(4):
        names.records[f"a{number}.test"] = ["127.0.0.1"]
        assert get(port, f"a{number}.test:{service.port}")[0] == 200
    for _ in range(8):
        assert get(port, f"a5.test:{service.port}") == (503, b"DNS cache overflow")
        assert get(port, f"a1.test:{service.port}")[0] == 200
    assert running.stat("dns_cache.names.num_hosts") == 4


def test_a_host_in_use_anywhere_stays(proxy: Start, upstream: Callable[..., FakeUpstream], names: NameServer) -> None:
    names.records.update({"used.test": ["127.0.0.1"], "unused.test": ["127.0.0.1"]})
    names.ttl = 1
    running = proxy(config(names, "dns_min_refresh_rate: 1s, host_ttl: 0.9s,"), concurrency=3)
    port, service = running.port("web"), upstream()
    assert get(port, f"unused.test:{service.port}")[0] == 200
    deadline = time.monotonic() + 20
    while running.stat("dns_cache.names.host_removed") < 1:
        assert get(port, f"used.test:{service.port}")[0] == 200
        assert time.monotonic() < deadline
    clusters = running.admin("/clusters")
    assert "hostname::used.test" in clusters and "hostname::unused.test" not in clusters
    assert running.stat("cluster.names.membership_total") == 1


def test_names_that_fail_change_and_come_back(
    proxy: Start, upstream: Callable[..., FakeUpstream], names: NameServer
) -> None:
    names.records["a.test"] = Fault.SERVFAIL
    names.ttl = 1
    failures = "dns_failure_refresh_rate: {base_interval: 0.05s, max_interval: 0.05s}, dns_min_refresh_rate: 1s,"
    running = proxy(config(names, failures), concurrency=2)
    port, host = running.port("web"), f"a.test:{upstream().port}"
    assert get(port, host) == (503, b"DNS resolution failure")
    names.records["a.test"] = ["127.0.0.1"]
    get_until(port, host, 200)
    # What fails later does not take the address away.
    names.records["a.test"] = Fault.REFUSED
    running.wait_for_stat("dns_cache.names.dns_query_failure", running.stat("dns_cache.names.dns_query_failure") + 2)
    assert get(port, host)[0] == 200
    names.records["a.test"] = ["127.0.0.9"]
    running.wait_for_stat("dns_cache.names.host_address_changed", 2)
    assert f"names::127.0.0.9:{host.rpartition(':')[2]}::hostname::{host}" in running.admin("/clusters")


def test_one_host_is_ejected(proxy: Start, upstream: Callable[..., FakeUpstream], names: NameServer) -> None:
    names.records.update({"bad.test": ["127.0.0.1"], "good.test": ["127.0.0.1"]})
    ejection = """  clusters:
  - name: names
    outlier_detection: {consecutive_5xx: 1, max_ejection_percent: 100, base_ejection_time: 60s}"""
    running = proxy(config(names).replace("  clusters:\n  - name: names", ejection), concurrency=2)
    service = upstream(lambda request: Answer(500 if request.headers["host"].startswith("bad") else 200))
    port = running.port("web")
    for host in ("good", "bad"):
        assert get(port, f"{host}.test:{service.port}")[0] in (200, 500)
    get_until(port, f"bad.test:{service.port}", 503)
    assert get(port, f"good.test:{service.port}")[0] == 200
    shown = running.admin("/clusters").splitlines()
    flags = [line.rpartition("::")[2] for line in shown if "::health_flags::" in line]
    assert sorted(flags) == ["/failed_outlier_check", "healthy"]


def test_hostile_names(proxy: Start, names: NameServer) -> None:
    running = proxy(config(names, "dns_query_timeout: 1s, max_hosts: 64,"), concurrency=2)
    port = running.port("web")
    for host in (
        "." * 300,
        "a" * 70 + ".test",
        "a..test",
        "-",
        "a_b.test:0",
        "x:" + "9" * 5000,
        "%00.test",
        "[::1",
        "::1",
    ):
        assert get(port, host)[0] in (400, 503)
    assert running.stat("server.worker_restarts") == 0
    assert len(running.worker_pids()) == 2


def test_sub_clusters_serve_all_workers(proxy: Start, upstream: Callable[..., FakeUpstream], names: NameServer) -> None:
    names.records["a.test"] = ["127.0.0.1"]
    running = proxy(with_sub_clusters(names), concurrency=3)
    port, host = running.port("web"), f"a.test:{upstream().port}"
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: get(port, host)[0], range(48)))
    assert answers == [200] * 48
    assert running.stat("cluster_manager.cluster_added") == 2
    assert f"DFPCluster:{host}::added_via_api::true" in running.admin("/clusters")
    for worker in running.worker_pids():
        os.kill(worker, signal.SIGKILL)
    running.wait_for_stat("server.worker_restarts", 3, 30)
    assert get(port, host)[0] == 200
    # Nobody asks any more.
    running.wait_for_stat("cluster_manager.cluster_removed", 1, 30)
    assert get(port, host)[0] == 200
    running.wait_for_stat("cluster_manager.cluster_added", 3, 30)
