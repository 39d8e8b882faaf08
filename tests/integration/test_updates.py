"""Updates while requests are served: none fails, all of them hold at the end, and their cost is to be seen."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from proxeny.testing import FakeUpstream, RunningProxy
from proxeny.testing.xds import CDS, EDS, LDS, RDS, ControlPlane

TYPES = "type.googleapis.com/envoy.extensions"
ADS = {"ads": {}, "resource_api_version": "V3"}
ROUTES = 2000
UPDATES = 20


def assignment(name: str, *ports: int) -> dict[str, Any]:
    hosts = [{"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": p}}}} for p in ports]
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]}


def bootstrap(port: int) -> str:
    options = {
        "@type": f"{TYPES}.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    plane = {
        "name": "plane",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
        "load_assignment": assignment("plane", port),
    }
    services = [{"envoy_grpc": {"cluster_name": "plane"}}]
    ads = {"api_type": "GRPC", "transport_api_version": "V3", "grpc_services": services}
    config = {
        "node": {"id": "n", "cluster": "c"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "enable_dispatcher_stats": True,
        "stats_flush_interval": "0.1s",
        "dynamic_resources": {"ads_config": ads, "cds_config": ADS, "lds_config": ADS},
        "static_resources": {"clusters": [plane]},
    }
    return json.dumps(config)


def listener(name: str, stat_prefix: str) -> dict[str, Any]:
    manager = {
        "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": stat_prefix,
        "rds": {"route_config_name": "routes", "config_source": ADS},
        "http_filters": [{"name": "r", "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router"}}],
    }
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    return {"name": name, "address": address, "filter_chains": [{"filters": [{"name": "h", "typed_config": manager}]}]}


def routes(last_status: int) -> dict[str, Any]:
    """Very many routes to the service, and one that answers by itself."""
    found: list[dict[str, Any]] = [
        {"match": {"prefix": f"/r{number}/"}, "route": {"cluster": "service"}} for number in range(ROUTES)
    ]
    found.append({"match": {"path": "/version"}, "direct_response": {"status": last_status}})
    return {"name": "routes", "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": found}]}


class Client(threading.Thread):
    """Asks over one connection for as long as it runs; ``bad`` are the answers that are no success."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._ends = False
        self.bad: list[str] = []
        self.answered = 0
        self.start()

    def ask(self, path: str) -> int:
        self._sock.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        data = b""
        while b"\r\n\r\n" not in data:
            received = self._sock.recv(65536)
            if not received:
                return 0
            data += received
        return int(data.split(b" ", 2)[1])

    def run(self) -> None:
        while not self._ends:
            status = self.ask(f"/r{self.answered * 7 % ROUTES}/x")
            if status != 200:
                self.bad.append(f"request {self.answered}: {status}")
                return
            self.answered += 1
            time.sleep(0.001)

    def finish(self) -> None:
        self._ends = True
        self.join(20)

    def close(self) -> None:
        self._sock.close()


class World:
    def __init__(self, plane: ControlPlane, upstreams: list[FakeUpstream], start: Callable[..., RunningProxy]) -> None:
        self.plane = plane
        self.upstreams = [one.port for one in upstreams]
        plane.set(CDS, [{"name": "service", "type": "EDS", "eds_cluster_config": {"eds_config": ADS}}])
        plane.set(EDS, [assignment("service", *self.upstreams)])
        plane.set(RDS, [routes(200)])
        plane.set(LDS, [listener("web", "web"), listener("other", "other")])
        self.proxy = start(bootstrap(plane.port))
        plane.wait_for(LDS, lambda request: request.is_ack)
        self.proxy.wait_for_stat("listener_manager.listener_create_success", 2)

    def change(self, number: int) -> None:
        self.plane.set(EDS, [assignment("service", *self.upstreams[number % 2 :])])
        self.plane.set(RDS, [routes(201 + number)])
        others = [listener("other", f"other{number}")] if number % 3 else []
        self.plane.set(LDS, [listener("web", "web"), *others])


@pytest.fixture
def world(upstream: Callable[..., FakeUpstream], proxy: Callable[..., RunningProxy]) -> Iterator[World]:
    with ControlPlane() as plane:
        yield World(plane, [upstream(), upstream(name="second")], proxy)


def test_updates_while_requests_are_served(world: World) -> None:
    proxy, plane = world.proxy, world.plane
    clients = [Client(proxy.port("web")) for _ in range(3)]
    for number in range(UPDATES):
        world.change(number)
        plane.wait_for_ack(RDS, str(number + 2))
        plane.wait_for_ack(LDS, str(number + 2))
        plane.wait_for_ack(EDS, str(number + 2))
    for client in clients:
        client.finish()
    assert [client.bad for client in clients] == [[], [], []]
    assert all(client.answered for client in clients)
    assert proxy.stat("http.web.rds.routes.config_reload") == UPDATES + 1
    assert proxy.stat("cluster.service.update_success") == UPDATES + 1

    last = Client(proxy.port("web"))
    last.finish()
    deadline = time.monotonic() + 20
    while last.ask("/version") != 200 + UPDATES and time.monotonic() < deadline:
        pass
    assert last.ask("/version") == 200 + UPDATES
    for client in (*clients, last):
        client.close()

    def recorded(name: str) -> bool:
        return "P100(" in proxy.admin(f"/stats?filter=^{name}$")

    names = ("workers.update_lag_us", "server.dispatcher.loop_duration_us")
    for name in (*names, "listener_manager.worker_0.dispatcher.loop_duration_us"):
        while not recorded(name) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert recorded(name), name
