"""Clusters and endpoints change under traffic: no request notices."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.integration.test_control_plane_faults import TYPES, Client, bootstrap, wait_until

from proxeny.testing import RunningProxy
from proxeny.testing.xds import CDS, EDS, LDS, ControlPlane

ROUNDS = 15


class Backend:
    """Answers with its name."""

    def __init__(self, name: str) -> None:
        body = name.encode()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                """Nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def backends() -> Iterator[list[Backend]]:
    made = [Backend("one"), Backend("two")]
    yield made
    for backend in made:
        backend.close()


@pytest.fixture(params=["GRPC", "DELTA_GRPC"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def cluster(name: str, **fields: Any) -> dict[str, Any]:
    source = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "20s"}
    return {"name": name, "type": "EDS", "eds_cluster_config": {"eds_config": source}, **fields}


def assignment(name: str, *backends: Backend) -> dict[str, Any]:
    hosts = [
        {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": backend.port}}}}
        for backend in backends
    ]
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]}


def listener() -> dict[str, Any]:
    """Everything to cluster ``a``."""
    hosts = [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "a"}}]}]
    manager = {
        "@type": f"{TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "web",
        "route_config": {"virtual_hosts": hosts},
        "http_filters": [{"name": "r", "typed_config": {"@type": f"{TYPES}.extensions.filters.http.router.v3.Router"}}],
    }
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    return {"name": "web", "address": address, "filter_chains": [{"filters": [{"name": "h", "typed_config": manager}]}]}


def test_no_request_notices(proxy: Callable[..., RunningProxy], backends: list[Backend], kind: str) -> None:
    with ControlPlane() as plane:
        plane.set(EDS, [assignment("a", backends[0])], version="start")
        plane.set(CDS, [cluster("a")], version="start")
        plane.set(LDS, [listener()], version="start")
        config = bootstrap(plane.port).replace('"api_type": "GRPC"', f'"api_type": "{kind}"')
        running = proxy(config, concurrency=2)
        clients = [Client(running.port("web")) for _ in range(2)]
        for i in range(ROUNDS):
            # The endpoints move, then their cluster changes, and others come and go.
            version = plane.set(EDS, [assignment("a", backends[(i + 1) % 2])])
            plane.wait_for_ack(EDS, version)
            others = [cluster(f"b{i}"), {"name": "static"}] if i % 2 else []
            names = ["a", *[one["name"] for one in others if "type" in one]]
            version = plane.set(CDS, [cluster("a", connect_timeout=f"{i + 1}s"), *others])
            wait_until(lambda names=names: plane.subscribed(EDS) == set(names))  # type: ignore[misc]
            moved = [assignment(name, backends[i % 2]) for name in names]
            # As a new version, so that it is sent again in both protocols.
            moved[0]["policy"] = {"overprovisioning_factor": 141 + i}
            plane.set(EDS, moved)
            plane.wait_for_ack(CDS, version)
        for client in clients:
            client.wait()
            client.close()
        assert [client.failed for client in clients] == [0, 0]
        assert set().union(*[client.heard for client in clients]) == {b"one", b"two"}
        assert running.stat("cluster_manager.cluster_modified") == ROUNDS
        assert running.stat("cluster_manager.warming_clusters") == 0
        assert running.stat("cluster.a.membership_total") == 1
        # What was replaced is gone once its connections are.
        wait_until(lambda: running.stat("cluster.a.upstream_cx_active") <= 2)


def test_thousands_of_clusters(proxy: Callable[..., RunningProxy], backends: list[Backend]) -> None:
    names = ["a", *[f"c{i}" for i in range(800)]]
    with ControlPlane() as plane:
        plane.set(EDS, [assignment(name, backends[0]) for name in names], version="start")
        plane.set(CDS, [cluster(name) for name in names], version="start")
        plane.set(LDS, [listener()], version="start")
        running = proxy(bootstrap(plane.port))
        client = Client(running.port("web"))
        assert running.stat("cluster_manager.active_clusters") == len(names) + 1
        # All of them are asked for in one request.
        assert [len(request.names) for request in plane.requests_of(EDS) if not request.nonce] == [len(names)]
        version = plane.update(EDS, [assignment("a", backends[1])])
        wait_until(lambda: b"two" in client.heard)
        plane.wait_for_ack(EDS, version)
        assert running.stat("cluster.c7.update_no_rebuild") == 1
        assert json.loads(running.admin("/clusters?format=json&filter=%5Ec799$"))["cluster_statuses"]
        version = plane.set(CDS, [cluster("a")])
        plane.wait_for_ack(CDS, version)
        running.wait_for_stat("cluster_manager.active_clusters", 2)
        wait_until(lambda: plane.subscribed(EDS) == {"a"})
        client.wait()
        client.close()
        assert client.failed == 0
