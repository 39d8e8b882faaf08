"""Names of DNS in front of two workers: changes under load, a thousand addresses, a worker that starts later."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest
from tests.integration.configs import ADMIN
from tests.name_server import Fault, NameServer
from tests.spread_upstream import SpreadUpstream

from proxeny.testing import RunningProxy

Start = Callable[..., RunningProxy]
REQUEST = b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n"


@pytest.fixture
def server() -> Iterator[NameServer]:
    server = NameServer()
    yield server
    server.close()


@pytest.fixture
def spread() -> Iterator[SpreadUpstream]:
    upstream = SpreadUpstream()
    yield upstream
    upstream.close()


def config(server: NameServer, port: int, fields: str = "type: STRICT_DNS") -> str:
    return (
        ADMIN
        + f"""
typed_dns_resolver_config:
  name: envoy.network.dns_resolver.cares
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig
    resolvers: [{{socket_address: {{address: 127.0.0.1, port_value: {server.port}}}}}]
static_resources:
  listeners:
  - name: web
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{match: {{prefix: /}}, route: {{cluster: service}}}}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: service
    connect_timeout: 5s
    dns_lookup_family: V4_ONLY
    dns_refresh_rate: 0.01s
    {fields}
    load_assignment:
      cluster_name: service
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: a.test, port_value: {port}}}}}}}
"""
    )


class Client:
    """Asks on one connection."""

    def __init__(self, running: RunningProxy) -> None:
        self._connection = socket.create_connection(("127.0.0.1", running.port("web")), timeout=20)
        self._reader = self._connection.makefile("rb")

    def get(self) -> tuple[bytes, bytes]:
        """(status, body)"""
        self._connection.sendall(REQUEST)
        status = self._reader.readline().split()[1]
        length = 0
        while (line := self._reader.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return status, self._reader.read(length)

    def close(self) -> None:
        self._reader.close()
        self._connection.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def ask(running: RunningProxy) -> tuple[bytes, bytes]:
    with Client(running) as client:
        return client.get()


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def wait_hosts(running: RunningProxy, addresses: Sequence[str]) -> None:
    def shown() -> list[str]:
        lines = running.admin("/clusters").splitlines()
        return sorted(line.split("::")[1].rpartition(":")[0] for line in lines if "::hostname::" in line)

    wait_until(lambda: shown() == sorted(addresses), f"hosts {addresses}")


@pytest.mark.parametrize("kind", ["STRICT_DNS", "LOGICAL_DNS"])
def test_no_request_fails_while_hosts_change(
    proxy: Start, server: NameServer, spread: SpreadUpstream, kind: str
) -> None:
    server.records = {"a.test": ["127.0.0.1", "127.0.0.2"]}
    running = proxy(config(server, spread.port, f"type: {kind}"), concurrency=2)
    stop = threading.Event()
    answers: list[tuple[bytes, bytes]] = []

    def load() -> None:
        with Client(running) as client:
            while not stop.is_set():
                answers.append(client.get())

    clients = [threading.Thread(target=load) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        for number in range(12):
            hosts = [f"127.0.0.{1 + (number + i) % 4}" for i in range(1 + number % 2)]
            server.records = {"a.test": hosts}
            expected = hosts if kind == "STRICT_DNS" else hosts[:1]
            wait_hosts(running, expected)
            seen = len(answers)
            wait_until(
                lambda seen=seen, expected=expected: any(body.decode() in expected for _, body in answers[seen:]),
                f"{expected} serve",
            )
            for fault in (Fault.SERVFAIL, Fault.GARBAGE):
                server.records = {"a.test": fault}
                server.asked("a.test")
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert {status for status, _ in answers} == {b"200"}
    assert {body for _, body in answers} <= {b"127.0.0.1", b"127.0.0.2", b"127.0.0.3", b"127.0.0.4"}
    assert running.stat("server.worker_restarts") == 0


@pytest.mark.parametrize("policy", ["LEAST_REQUEST", "MAGLEV"])
def test_a_thousand_addresses(proxy: Start, server: NameServer, policy: str) -> None:
    """All of 127/8 is here: the upstream listens at every address, and so may every host be."""
    upstream = SpreadUpstream(("0.0.0.0",))
    try:
        many = [f"127.0.{i // 250}.{1 + i % 250}" for i in range(1000)]
        server.records = {"a.test": many}
        running = proxy(config(server, upstream.port, f"type: STRICT_DNS\n    lb_policy: {policy}"), concurrency=2)
        assert running.stat("cluster.service.membership_total") == 1000
        assert {ask(running)[0] for _ in range(20)} == {b"200"}
        others = [f"127.1.{i // 250}.{1 + i % 250}" for i in range(1000)]
        server.records = {"a.test": others}
        wait_hosts(running, others)
        wait_until(lambda: ask(running)[1].startswith(b"127.1."), "the new hosts serve")
        assert {ask(running)[1][:6] for _ in range(20)} == {b"127.1."}
    finally:
        upstream.close()


def test_a_worker_that_starts_later_knows_the_hosts(proxy: Start, server: NameServer, spread: SpreadUpstream) -> None:
    server.records = {"a.test": ["127.0.0.2"]}
    running = proxy(config(server, spread.port), concurrency=1)
    server.records = {"a.test": ["127.0.0.3"]}
    wait_hosts(running, ["127.0.0.3"])
    (victim,) = running.worker_pids()
    os.kill(victim, signal.SIGKILL)
    running.wait_for_stat("server.worker_restarts", 1)
    wait_until(lambda: ask(running) == (b"200", b"127.0.0.3"), "the new worker serves")


def test_a_name_server_that_is_not_there(proxy: Start, server: NameServer, spread: SpreadUpstream) -> None:
    """The start does not wait for ever, and once there is an answer the hosts are there."""
    server.records = {"a.test": Fault.REFUSED}
    running = proxy(config(server, spread.port), concurrency=1)
    assert ask(running)[0] == b"503"
    server.records = {"a.test": ["127.0.0.4"]}
    wait_hosts(running, ["127.0.0.4"])
    wait_until(lambda: ask(running) == (b"200", b"127.0.0.4"), "the host serves")
