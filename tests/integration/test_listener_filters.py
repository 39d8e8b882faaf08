"""Listener filters in the running proxy: hostile and slow clients, limits over all workers, what the upstream sees."""

from __future__ import annotations

import os
import random
import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.integration.configs import ECHO, http
from tests.unit.headers_of_proxies import V1, ipv4, tlv, v2
from tests.unit.hellos import hello, real_hello, server_name

from proxeny.testing import FakeUpstream, RunningProxy

OPTIONAL = "allow_requests_without_proxy_protocol: true"

Start = Callable[..., RunningProxy]
StartUpstream = Callable[..., FakeUpstream]

FILTERS = {
    "tls_inspector": "tls_inspector.v3.TlsInspector",
    "http_inspector": "http_inspector.v3.HttpInspector",
    "proxy_protocol": "proxy_protocol.v3.ProxyProtocol",
    "local_ratelimit": "local_ratelimit.v3.LocalRateLimit",
}


def filtered(config: str, *filters: str | tuple[str, str], more: str = "") -> str:
    """``config`` with listener filters (a name, or a name and its fields) in its listener."""
    lines = []
    for entry in filters:
        name, fields = entry if isinstance(entry, tuple) else (entry, "")
        kind = f'"@type": type.googleapis.com/envoy.extensions.filters.listener.{FILTERS[name]}'
        lines.append(f"    - {{name: envoy.filters.listener.{name}, typed_config: {{{kind}, {fields}}}}}")
    text = "\n".join([*([f"    {more}"] if more else []), "    listener_filters:", *lines, "    filter_chains:"])
    return config.replace("    filter_chains:", text)


def connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def read(connection: socket.socket, size: int) -> bytes:
    """As many bytes, or all before the end."""
    data = b""
    try:
        while len(data) < size and (more := connection.recv(size - len(data))):
            data += more
    except ConnectionResetError:
        pass
    return data


def served(port: int, sent: bytes) -> bool:
    """Whether a connection that sends these bytes is echoed."""
    with connect(port) as connection:
        try:
            connection.sendall(sent)
        except OSError:
            return False
        return read(connection, len(sent)) == sent


@pytest.mark.parametrize("concurrency", [1, 2])
def test_real_tls_passes_at_any_split(proxy: Start, concurrency: int) -> None:
    running = proxy(filtered(ECHO, "tls_inspector", "http_inspector"), concurrency=concurrency)
    port = running.port("echo")
    data = real_hello("a.test")
    for at in [*range(1, 60), *range(60, len(data), 37)]:
        with connect(port) as connection:
            connection.sendall(data[:at])
            connection.sendall(data[at:])
            assert read(connection, len(data)) == data
    splits = len([*range(1, 60), *range(60, len(data), 37)])
    assert running.wait_for_stat("tls_inspector.tls_found", splits) == splits
    assert running.stat("tls_inspector.sni_found") == splits
    assert running.stat("http_inspector.http_not_found") == 0


def test_slow_senders_hit_the_time_out_and_nobody_notices(proxy: Start) -> None:
    more = "stat_prefix: edge\n    listener_filters_timeout: 0.5s"
    running = proxy(filtered(ECHO, "proxy_protocol", "tls_inspector", more=more), concurrency=2)
    port = running.port("echo")
    slow = [connect(port) for _ in range(60)]
    for connection, start in zip(slow, (b"", V1[:9], V1 + b"\x16\x03\x01") * 20, strict=True):
        connection.sendall(start)
    stopped = threading.Event()

    def trickle() -> None:
        for byte in V1[9:]:
            for connection in slow[1::3]:
                try:
                    connection.sendall(bytes([byte]))
                except OSError:
                    pass
            if stopped.wait(0.05):
                return

    feeder = threading.Thread(target=trickle)
    feeder.start()
    try:
        for _ in range(20):
            with connect(port) as connection:
                connection.sendall(V1 + b"hello")
                assert read(connection, 5) == b"hello"
        # Single bytes do not put the time-out off.
        assert all(read(connection, 1) == b"" for connection in slow)
    finally:
        stopped.set()
        feeder.join()
        for connection in slow:
            connection.close()
    assert running.wait_for_stat("listener.edge.downstream_pre_cx_timeout", 60) == 60
    assert running.stat("listener.edge.downstream_pre_cx_active") == 0


def test_hostile_bytes_cost_no_worker(proxy: Start) -> None:
    more = "stat_prefix: edge\n    listener_filters_timeout: 5s"
    config = filtered(ECHO, ("proxy_protocol", OPTIONAL), "tls_inspector", "http_inspector", more=more)
    running = proxy(config, concurrency=2)
    port = running.port("echo")
    chance = random.Random(7)
    good = [
        real_hello(),
        hello(server_name(b"a.test")),
        V1 + b"GET / HTTP/1.1\r\n",
        v2(ipv4(), tlv(1, b"h2")) + hello(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ]

    def attack(seed: int) -> None:
        chance = random.Random(seed)
        data = bytearray(chance.choice(good))
        for _ in range(chance.choice((1, 2, 5))):
            data[chance.randrange(len(data))] = chance.randrange(256)
        at = chance.randrange(len(data))
        with connect(port) as connection:
            try:
                connection.sendall(data[:at])
                connection.sendall(data[at : chance.choice((at, len(data)))])
                if chance.random() < 0.5:
                    # RST instead of FIN.
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            except OSError:
                pass

    pids = running.worker_pids()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(attack, [chance.randrange(2**32) for _ in range(1500)]))
    assert served(port, b"hello\n")
    assert running.worker_pids() == pids
    assert running.stat("server.worker_restarts") == 0
    wait_until_zero(running, "listener.edge.downstream_pre_cx_active")
    wait_until_zero(running, "listener.edge.downstream_cx_active")
    assert "Traceback" not in running.log()


def wait_until_zero(running: RunningProxy, name: str) -> None:
    for _ in range(2000):
        if running.stat(name) == 0:
            return
    raise AssertionError(f"{name} stays {running.stat(name)}")


def test_a_rate_limit_holds_over_all_workers_and_their_deaths(proxy: Start) -> None:
    limit = "stat_prefix: all, token_bucket: {max_tokens: 40, fill_interval: 86400s}"
    running = proxy(filtered(ECHO, ("local_ratelimit", limit)), concurrency=3)
    port = running.port("echo")
    with ThreadPoolExecutor(12) as pool:
        first = sum(pool.map(lambda _: served(port, b"x"), range(30)))
        os.kill(running.worker_pids()[0], signal.SIGKILL)
        running.wait_for_stat("server.worker_restarts", 1)
        second = sum(pool.map(lambda _: served(port, b"x"), range(60)))
    # A connection may die with its worker, after its token was taken.
    assert first == 30
    assert 8 <= second <= 10
    assert running.wait_for_stat("listener_local_ratelimit.all.rate_limited", 49) >= 49


def test_the_runtime_turns_a_rate_limit_off(proxy: Start) -> None:
    limit = """stat_prefix: all, token_bucket: {max_tokens: 1, fill_interval: 86400s},
        runtime_enabled: {default_value: true, runtime_key: limit.on}"""
    layer = "layered_runtime: {layers: [{name: admin, admin_layer: {}}]}\n"
    running = proxy(layer + filtered(ECHO, ("local_ratelimit", limit)), concurrency=2)
    port = running.port("echo")
    assert [served(port, b"x") for _ in range(3)] == [True, False, False]
    running.admin("/runtime_modify?limit.on=false", "POST")
    # The workers hear of it one after the other.
    assert any(all(served(port, b"x") for _ in range(20)) for _ in range(200))


def test_http_sees_the_address_of_the_proxy_header(proxy: Start, upstream: StartUpstream, tmp_path: Path) -> None:
    service = upstream()
    log = tmp_path / "access.log"
    config = http(service.port, str(log)).replace("%RESPONSE_CODE%", "%DOWNSTREAM_REMOTE_ADDRESS% %RESPONSE_CODE%")
    config = config.replace("stat_prefix: web", "stat_prefix: web\n          use_remote_address: true")
    running = proxy(filtered(config, "proxy_protocol", "tls_inspector", "http_inspector"))
    for header in (V1, v2(ipv4(), tlv(1, b"h2"))):
        with connect(running.port("web")) as connection:
            connection.sendall(header + b"GET /who HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert read(connection, 1 << 20).startswith(b"HTTP/1.1 200 OK\r\n")
    assert [request.headers["x-forwarded-for"] for request in service.requests] == ["1.2.3.4", "1.2.3.4"]
    assert running.stop() == 0
    assert log.read_text() == "/who 1.2.3.4:1111 200\n" * 2


def test_connections_without_the_header_are_refused_or_let_in(proxy: Start) -> None:
    strict = proxy(filtered(ECHO, "proxy_protocol"))
    assert not served(strict.port("echo"), b"GET / HTTP/1.1\r\n\r\n")
    lenient = proxy(filtered(ECHO, ("proxy_protocol", OPTIONAL)))
    assert served(lenient.port("echo"), b"GET / HTTP/1.1\r\n\r\n")
    assert lenient.stat("proxy_proto.not_found_allowed") == 1
