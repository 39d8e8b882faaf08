"""Clusters that change while they serve: filesystem CDS and EDS through the real command, two workers, real traffic."""

import http.client
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.integration.test_workers import wait_until

from proxeny.testing import RunningProxy

Start = Callable[..., RunningProxy]
TYPES = "type.googleapis.com/envoy"
CONFIG = """
node: {{id: test, cluster: test}}
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}
dynamic_resources:
  cds_config: {{resource_api_version: V3, path_config_source: {{path: "{path}"}}}}
static_resources:
  listeners:
  - name: web
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": {types}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{match: {{prefix: /}}, route: {{cluster_header: x-cluster}}}}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": {types}.extensions.filters.http.router.v3.Router}}
"""


class Named(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = str(self.server.server_address[1]).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""


@pytest.fixture
def backends() -> Iterator[list[int]]:
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), Named) for _ in range(2)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield [server.server_address[1] for server in servers]
    for server in servers:
        server.shutdown()
        server.server_close()


class Cds:
    """A running proxy and the files that its clusters and their endpoints come from."""

    def __init__(self, proxy: Start, folder: Path) -> None:
        self.folder = folder
        self._write("cds.json", [])
        self.running = proxy(CONFIG.format(path=folder / "cds.json", types=TYPES), concurrency=2)

    def _write(self, file: str, resources: list[dict[str, Any]]) -> None:
        fresh = self.folder / "new"
        fresh.write_text(json.dumps({"version_info": "1", "resources": resources}))
        fresh.rename(self.folder / file)

    def put(self, *clusters: dict[str, Any]) -> None:
        """Replace the clusters; wait until main has."""
        before = self.running.stat("cluster_manager.cds.update_success")
        self._write("cds.json", [{"@type": f"{TYPES}.config.cluster.v3.Cluster", **one} for one in clusters])
        self.running.wait_for_stat("cluster_manager.cds.update_success", before + 1)

    def assign(self, name: str, *ports: int) -> None:
        """Replace the endpoints of an EDS cluster, without waiting."""
        kind = f"{TYPES}.config.endpoint.v3.ClusterLoadAssignment"
        self._write(f"{name}.json", [{"@type": kind, **assignment(name, *ports)}])

    def eds(self, name: str) -> dict[str, Any]:
        source = {"path_config_source": {"path": str(self.folder / f"{name}.json")}}
        return {"name": name, "type": "EDS", "eds_cluster_config": {"eds_config": source}}

    def ask(self, cluster: str) -> str:
        """The body, on a connection of its own: any worker may take it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.running.port("web"), timeout=20)
        connection.request("GET", "/", headers={"x-cluster": cluster})
        text = connection.getresponse().read().decode()
        connection.close()
        return text

    def wait_for(self, cluster: str, text: str) -> None:
        """Until a run of requests, which both workers share, has no other answer."""
        wait_until(lambda: all(self.ask(cluster) == text for _ in range(20)), f"{cluster} does not answer {text}")


def assignment(name: str, *ports: int) -> dict[str, Any]:
    addresses = [{"socket_address": {"address": "127.0.0.1", "port_value": port}} for port in ports]
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": a}} for a in addresses]}]}


def static(name: str, *ports: int) -> dict[str, Any]:
    return {"name": name, "load_assignment": assignment(name, *ports)}


def test_all_workers_follow(proxy: Start, tmp_path: Path, backends: list[int]) -> None:
    one, two = backends
    cds = Cds(proxy, tmp_path)
    cds.assign("e", one)
    cds.put(static("s", one), cds.eds("e"))
    cds.wait_for("s", str(one))
    cds.wait_for("e", str(one))
    cds.assign("e", two)
    cds.put(static("s", two), cds.eds("e"))
    cds.wait_for("s", str(two))
    cds.wait_for("e", str(two))
    cds.put()
    cds.wait_for("s", "")
    # What they counted is given up once every worker let go.
    wait_until(lambda: "cluster.s." not in cds.running.admin("/stats"), "stats of a cluster that is gone")


def test_a_new_worker_has_the_clusters_of_now(proxy: Start, tmp_path: Path, backends: list[int]) -> None:
    one, two = backends
    cds = Cds(proxy, tmp_path)
    cds.assign("e", one)
    cds.put(static("s", one), cds.eds("e"))
    cds.put(static("s", two), cds.eds("e"))
    cds.wait_for("s", str(two))
    cds.assign("e", two)
    cds.wait_for("e", str(two))
    for pid in cds.running.worker_pids():
        os.kill(pid, signal.SIGKILL)
    cds.running.wait_for_stat("server.worker_restarts", 2)
    wait_until(lambda: len(cds.running.worker_pids()) == 2, "workers are not back")

    def serves() -> bool:
        try:
            return cds.ask("s") == str(two) and cds.ask("e") == str(two)
        except OSError:
            return False

    wait_until(serves, "the new workers do not serve")
    cds.put(static("s", one), cds.eds("e"))
    cds.wait_for("s", str(one))


def test_changes_in_a_row(proxy: Start, tmp_path: Path, backends: list[int]) -> None:
    one, two = backends
    cds = Cds(proxy, tmp_path)
    cds.put(static("s", one))
    cds.wait_for("s", str(one))
    for _ in range(3):
        cds.put(static("s", two))
        cds.put(static("s", one))
    cds.wait_for("s", str(one))
    assert cds.running.stat("cluster.s.membership_total") == 1
    assert cds.running.stat("cluster_manager.cluster_modified") == 6
