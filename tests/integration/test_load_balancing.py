"""Load balancing over several workers."""

from __future__ import annotations

import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.spread_upstream import SpreadUpstream

from proxeny.testing import RunningProxy

HTTP = "type.googleapis.com/envoy.extensions.filters"
LB = "type.googleapis.com/envoy.extensions.load_balancing_policies"
HOSTS = ("127.0.0.1", "127.0.0.2")


class HoldingUpstream(SpreadUpstream):
    """Answers requests for /hold when it is told to."""

    def __init__(self) -> None:
        self.held: list[tuple[socket.socket, bytes]] = []
        self.holds = threading.Event()
        super().__init__(HOSTS)

    def answer(self, connection: socket.socket, head: bytes) -> None:
        if head.startswith(b"GET /hold "):
            self.held.append((connection, head.replace(b"/hold", b"/")))
            self.holds.set()
        else:
            super().answer(connection, head)

    def release(self) -> None:
        for connection, head in self.held:
            super().answer(connection, head)


@pytest.fixture
def upstream() -> Iterator[HoldingUpstream]:
    made = HoldingUpstream()
    yield made
    made.close()


def bootstrap(port: int, policy: dict[str, Any]) -> str:
    manager = {
        "@type": f"{HTTP}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "main",
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{HTTP}.http.router.v3.Router"}}
        ],
        "route_config": {
            "virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "c"}}]}
            ]
        },
    }
    endpoints = [
        {"endpoint": {"address": {"socket_address": {"address": address, "port_value": port}}}} for address in HOSTS
    ]
    cluster = {
        "name": "c",
        "load_assignment": {"cluster_name": "c", "endpoints": [{"lb_endpoints": endpoints}]},
        "load_balancing_policy": {"policies": [{"typed_extension_config": {"name": "p", "typed_config": policy}}]},
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    any_port = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    return json.dumps(
        {
            "admin": {"address": any_port},
            "static_resources": {
                "listeners": [{"name": "web", "address": any_port, "filter_chains": [chain]}],
                "clusters": [cluster],
            },
        }
    )


def ask(running: RunningProxy, path: str = "/") -> socket.socket:
    """A request on a connection of its own: any worker may get it."""
    client = socket.create_connection(("127.0.0.1", running.port("web")), timeout=10)
    client.sendall(f"GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".encode())
    return client


def served_by(client: socket.socket) -> str:
    """The host that answered."""
    with client, client.makefile("rb") as stream:
        return stream.read().rpartition(b"\r\n\r\n")[2].decode()


def test_least_request_sees_the_load_of_all_workers(
    proxy: Callable[..., RunningProxy], upstream: HoldingUpstream
) -> None:
    policy = {"@type": f"{LB}.least_request.v3.LeastRequest", "selection_method": "FULL_SCAN"}
    running = proxy(bootstrap(upstream.port, policy), concurrency=2)
    held = ask(running, "/hold")
    assert upstream.holds.wait(10)
    # Whichever worker has it, both know that its host is busy.
    others = Counter(served_by(ask(running)) for _ in range(40))
    upstream.release()
    assert set(others) == set(HOSTS) - {served_by(held)}


def test_round_robin_is_even_over_workers(proxy: Callable[..., RunningProxy], upstream: HoldingUpstream) -> None:
    running = proxy(bootstrap(upstream.port, {"@type": f"{LB}.round_robin.v3.RoundRobin"}), concurrency=2)
    served = Counter(served_by(ask(running)) for _ in range(60))
    # Each worker takes turns by itself, from a place of its own: off by one for each at most.
    assert abs(served[HOSTS[0]] - served[HOSTS[1]]) <= 2
