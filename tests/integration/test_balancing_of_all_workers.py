"""What load balancers of several workers know of each other, and sessions that any worker serves."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator

import pytest
from tests.integration.configs import ADMIN

from proxeny.testing import RunningProxy

Start = Callable[..., RunningProxy]

REQUESTS = 16


def config(*ports: int) -> str:
    """Two hosts under a bounded load of 100 percent; connections are spread evenly over the workers."""
    endpoints = "\n".join(
        f"        - {{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}}}"
        for port in ports
    )
    return f"""{ADMIN}
static_resources:
  listeners:
  - name: web
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    connection_balance_config: {{exact_balance: {{}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          http_filters:
          - {{name: envoy.filters.http.router, typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}}}
          route_config:
            virtual_hosts:
            - {{name: all, domains: ["*"], routes: [{{match: {{prefix: /}}, route: {{cluster: bounded, timeout: 0s, hash_policy: [{{header: {{header_name: x-key}}}}]}}}}]}}
  clusters:
  - name: bounded
    type: STATIC
    lb_policy: MAGLEV
    common_lb_config: {{consistent_hashing_lb_config: {{hash_balance_factor: 100}}}}
    load_assignment:
      cluster_name: bounded
      endpoints:
      - lb_endpoints:
{endpoints}
"""  # noqa: E501 - YAML


@pytest.fixture
def silent_hosts() -> Iterator[list[int]]:
    """Ports of hosts that take connections and say nothing."""
    servers = [socket.create_server(("127.0.0.1", 0), backlog=64) for _ in range(2)]
    yield [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()


def active(running: RunningProxy) -> list[int]:
    """Requests under way, by host."""
    lines = running.admin("/clusters").splitlines()
    return [
        int(line.rpartition("::")[2]) for line in lines if line.startswith("bounded::127") and "::rq_active::" in line
    ]


def wait_for(running: RunningProxy, total: int) -> None:
    deadline = time.monotonic() + 20
    while sum(active(running)) != total:
        assert time.monotonic() < deadline, f"{active(running)} never became {total}"
        time.sleep(0.002)


def ask(running: RunningProxy, already: int) -> list[socket.socket]:
    """So many requests with one key, one after the other, each on a connection of its own."""
    clients = []
    for number in range(already, already + REQUESTS):
        client = socket.create_connection(("127.0.0.1", running.port("web")), timeout=20)
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nx-key: k\r\n\r\n")
        clients.append(client)
        wait_for(running, number + 1)
    return clients


def test_bounded_load_counts_the_requests_of_all_workers(proxy: Start, silent_hosts: list[int]) -> None:
    running = proxy(config(*silent_hosts), concurrency=2)
    clients = ask(running, 0)
    # The host of the key has one more than its half: with n under way it takes another one while it has at most
    # (n + 1) / 2. Workers that counted their own requests only would each give it one more.
    assert sorted(active(running)) == [7, 9]
    for client in clients:
        client.close()
    wait_for(running, 0)


def test_the_counts_of_a_worker_that_died_are_forgotten(proxy: Start, silent_hosts: list[int]) -> None:
    running = proxy(config(*silent_hosts), concurrency=2)
    clients = ask(running, 0)
    os.kill(running.worker_pids()[0], signal.SIGKILL)
    running.wait_for_stat("server.worker_restarts", 1)
    wait_for(running, REQUESTS // 2)
    for client in clients:
        client.close()
    wait_for(running, 0)
    more = ask(running, 0)
    assert sorted(active(running)) == [7, 9]
    for client in more:
        client.close()
