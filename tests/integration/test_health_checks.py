"""Active health checks with several workers: traffic follows, workers die, clusters come and go, hosts flap."""

import json
import os
import signal
import socket
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path

from tests.integration.configs import ADMIN
from tests.integration.test_workers import wait_until

from proxeny.testing import FakeUpstream, RunningProxy
from proxeny.testing.upstream import Answer, ReceivedRequest

Start = Callable[..., RunningProxy]
MakeUpstream = Callable[..., FakeUpstream]
TYPE = "type.googleapis.com/envoy.extensions"

CHECK = (
    "{timeout: 30s, interval: 0.02s, no_traffic_interval: 0.02s, unhealthy_threshold: 1, healthy_threshold: 1, "
    'http_health_check: {path: "/check"}}'
)


def cluster(name: str, *ports: int, fields: str = "") -> str:
    hosts = ", ".join(
        f"{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}}}" for port in ports
    )
    return (
        f"{{name: {name}, type: STATIC, health_checks: [{CHECK}], {fields} "
        "common_lb_config: {update_merge_window: 0s}, "
        f"load_assignment: {{cluster_name: {name}, endpoints: [{{lb_endpoints: [{hosts}]}}]}}}}"
    )


WEB = f"""
  - name: web
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    enable_reuse_port: false
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": {TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          route_config:
            validate_clusters: false
            virtual_hosts: [{{name: all, domains: ["*"], routes: [{{match: {{prefix: /}}, route: {{cluster: web}}}}]}}]
          http_filters: [{{name: router, typed_config: {{"@type": {TYPE}.filters.http.router.v3.Router}}}}]
"""
TCP = f"""
  - name: tcp
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: tcp
        typed_config: {{"@type": {TYPE}.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: tcp, cluster: web}}
"""


def static(listener: str, *clusters: str) -> str:
    return ADMIN + f"static_resources:\n  listeners:{listener}  clusters: [{', '.join(clusters)}]\n"


class Checked:
    """An upstream whose checks fail on demand."""

    def __init__(self, upstream: MakeUpstream, name: str) -> None:
        self.well = True
        self.checks = 0
        self.served = 0
        self.headers: dict[str, str] = {}
        """Of responses that are not to checks."""
        self._name = name
        self.port = upstream(self._answer, name=name).port

    def _answer(self, request: ReceivedRequest) -> Answer:
        if request.path == "/check":
            self.checks += 1
            return Answer(200 if self.well else 503)
        self.served += 1
        return Answer(200, self._name.encode(), self.headers)


def flags(running: RunningProxy, name: str = "web") -> list[str]:
    found = running.admin(f"/clusters?filter=^{name}$").splitlines()
    return [line.rpartition("::")[2] for line in found if "::health_flags::" in line]


class Clients:
    """Connections that both workers serve."""

    def __init__(self, running: RunningProxy, count: int = 8) -> None:
        self._connections = [HTTPConnection("127.0.0.1", running.port("web"), timeout=20) for _ in range(count)]
        for connection in self._connections:
            connection.connect()

    def get(self) -> list[tuple[int, bytes]]:
        answers = []
        for connection in self._connections:
            connection.request("GET", "/")
            response = connection.getresponse()
            answers.append((response.status, response.read()))
        return answers

    def close(self) -> None:
        for connection in self._connections:
            connection.close()


def test_traffic_follows_health_in_every_worker(proxy: Start, upstream: MakeUpstream) -> None:
    one, two = Checked(upstream, "one"), Checked(upstream, "two")
    running = proxy(static(WEB, cluster("web", one.port, two.port)), concurrency=2)
    assert flags(running) == ["healthy", "healthy"], "the start waits for the first round"
    clients = Clients(running)
    wait_until(lambda: {body for _, body in clients.get()} == {b"one", b"two"}, "both hosts are used")

    two.well = False
    wait_until(lambda: flags(running) == ["healthy", "/failed_active_hc"], "the check fails")
    wait_until(lambda: all(set(clients.get()) == {(200, b"one")} for _ in range(4)), "both workers know")
    assert running.stat("cluster.web.membership_healthy") == 1

    os.kill(running.worker_pids()[0], signal.SIGKILL)
    running.wait_for_stat("server.worker_restarts", 1)
    wait_until(lambda: len(running.worker_pids()) == 2, "a new worker")
    clients.close()
    clients = Clients(running)
    for _ in range(5):
        assert set(clients.get()) == {(200, b"one")}, "a new worker knows too"

    two.well = True
    wait_until(lambda: flags(running) == ["healthy", "healthy"], "it recovers")
    wait_until(lambda: {body for _, body in clients.get()} == {b"one", b"two"}, "and is used again")
    clients.close()


def test_a_flapping_host_costs_no_request(proxy: Start, upstream: MakeUpstream) -> None:
    steady, flapping = Checked(upstream, "steady"), Checked(upstream, "flapping")
    running = proxy(static(WEB, cluster("web", steady.port, flapping.port)), concurrency=2)
    clients = Clients(running)
    turns = 0
    for turn in range(10):
        flapping.well = turn % 2 == 1
        expected = ["healthy", "healthy" if flapping.well else "/failed_active_hc"]
        wait_until(lambda expected=expected: flags(running) == expected, "the flap is seen")  # type: ignore[misc]
        answers = clients.get()
        assert {status for status, _ in answers} == {200}
        turns += 1
    clients.close()
    assert running.stat("cluster.web.health_check.healthy") == 2
    assert running.stat("cluster.web.upstream_rq_total") == turns * 8
    assert running.stat("server.worker_restarts") == 0


def test_the_response_of_one_worker_takes_a_host_out_for_all(proxy: Start, upstream: MakeUpstream) -> None:
    one, two = Checked(upstream, "one"), Checked(upstream, "two")
    running = proxy(static(WEB, cluster("web", one.port, two.port).replace("0.02s", "600s")), concurrency=2)
    two.headers = {"x-envoy-immediate-health-check-fail": "true"}
    clients = Clients(running)
    wait_until(lambda: bool(clients.get()) and two.served > 0, "it was asked")
    out = ["healthy", "/failed_active_hc/excluded_via_immediate_hc_fail"]
    wait_until(lambda: flags(running) == out, "main knows")
    wait_until(lambda: {body for _, body in clients.get()} == {b"one"}, "both workers know")
    assert running.stat("cluster.web.membership_excluded") == 1
    assert running.stat("cluster.web.health_check.passive_failure") >= 1
    clients.close()


def test_tcp_connections_end_with_the_health_of_their_host(proxy: Start, upstream: MakeUpstream) -> None:
    one = Checked(upstream, "one")
    running = proxy(static(TCP, cluster("web", one.port, fields="close_connections_on_host_health_failure: true,")))
    with socket.create_connection(("127.0.0.1", running.port("tcp")), timeout=20) as client:
        client.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        assert b"200 OK" in client.recv(65536)
        one.well = False
        while client.recv(65536):
            pass
    assert running.stat("cluster.web.health_check.failure") >= 1


def test_checks_end_with_their_cluster(proxy: Start, upstream: MakeUpstream, tmp_path: Path) -> None:
    one, two = Checked(upstream, "one"), Checked(upstream, "two")
    path = tmp_path / "cds.json"
    cluster_type = "type.googleapis.com/envoy.config.cluster.v3.Cluster"

    def publish(version: str, *clusters: str) -> None:
        resources = ", ".join(f'{{"@type": {cluster_type}, {text[1:]}' for text in clusters)
        fresh = tmp_path / f"{version}.yaml"
        fresh.write_text(f"version_info: '{version}'\nresources: [{resources}]\n")
        os.rename(fresh, path.with_suffix(".yaml"))

    publish("1", cluster("web", one.port), cluster("other", two.port))
    config = static(WEB) + (
        "node: {id: test, cluster: test}\ndynamic_resources: {cds_config: {resource_api_version: V3, "
        f'path_config_source: {{path: "{path.with_suffix(".yaml")}"}}}}}}\n'
    )
    running = proxy(config, concurrency=2)
    assert flags(running, "web") == flags(running, "other") == ["healthy"]
    clients = Clients(running)
    assert set(clients.get()) == {(200, b"one")}

    publish("2", cluster("web", one.port))
    wait_until(lambda: running.stat("cluster_manager.cluster_removed") == 1, "the cluster is removed")
    checks = two.checks
    before = one.checks
    wait_until(lambda: one.checks > before + 10, "others are still checked")
    assert two.checks <= checks + 1

    # A changed cluster warms: until its hosts were checked the old one serves.
    two.well = True
    publish("3", cluster("web", two.port))
    wait_until(lambda: set(clients.get()) == {(200, b"two")}, "the new hosts serve once they are checked")
    before = two.checks
    checks = one.checks
    wait_until(lambda: two.checks > before + 10, "the new ones are checked")
    assert one.checks <= checks + 1
    status = json.loads(running.admin("/clusters?format=json"))["cluster_statuses"]
    assert [one_status["name"] for one_status in status] == ["web"]
    clients.close()
