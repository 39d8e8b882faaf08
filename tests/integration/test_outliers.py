"""Outlier detection over several workers: a row of failures is one row, whoever sees them; so is what comes of it."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.integration.test_workers import wait_until

from proxeny.testing import FakeUpstream, RunningProxy
from proxeny.testing.upstream import Answer, ReceivedRequest

Start = Callable[..., RunningProxy]
EJECTIONS = "cluster.c.outlier_detection.ejections_"
WORKERS = 4
FILTERS = "type.googleapis.com/envoy.extensions.filters"


def config(ports: list[int], outlier: dict[str, Any], folder: Path) -> str:
    endpoints = [
        {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}} for port in ports
    ]
    hcm = {
        "@type": f"{FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "h",
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{FILTERS}.http.router.v3.Router"},
            }
        ],
        "route_config": {
            "virtual_hosts": [
                {"name": "v", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "c"}}]}
            ]
        },
    }
    any_port = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    listener = {
        "name": "main",
        "address": any_port,
        # Every connection to the worker with the fewest: four connections are one of each.
        "connection_balance_config": {"exact_balance": {}},
        "filter_chains": [{"filters": [{"name": "h", "typed_config": hcm}]}],
    }
    cluster = {
        "name": "c",
        "load_assignment": {"cluster_name": "c", "endpoints": [{"lb_endpoints": endpoints}]},
        "common_lb_config": {"update_merge_window": "0s"},
        "outlier_detection": {"max_ejection_percent": 100, "interval": "600s", **outlier},
    }
    return json.dumps(
        {
            "admin": {"address": any_port},
            "cluster_manager": {"outlier_detection": {"event_log_path": str(folder / "events")}},
            "static_resources": {"listeners": [listener], "clusters": [cluster]},
        }
    )


class Client:
    """One kept connection."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 20)
        self._file = self._socket.makefile("rb")

    def get(self) -> tuple[int, bytes]:
        """The status and the body of one more exchange."""
        self._socket.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        status = int(self._file.readline().split()[1])
        length = 0
        while (line := self._file.readline().strip()) != b"":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return status, self._file.read(length)

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@pytest.fixture
def clients() -> Iterator[Callable[[RunningProxy, int], list[Client]]]:
    with ExitStack() as stack:

        def connect(running: RunningProxy, count: int) -> list[Client]:
            made = [Client(running.port("main")) for _ in range(count)]
            for client in made:
                stack.callback(client.close)
            return made

        yield connect


def failing(request: ReceivedRequest) -> Answer:
    return Answer(status=500, body=b"bad")


def used_workers(running: RunningProxy) -> int:
    page = running.admin("/stats?filter=^listener\\..*worker_\\d\\.downstream_cx_active$")
    return sum(not line.endswith(": 0") for line in page.splitlines())


def test_failures_that_different_workers_see_are_one_row(
    proxy: Start, upstream: Callable[..., FakeUpstream], clients: Any, tmp_path: Path
) -> None:
    bad = upstream(failing)
    running = proxy(config([bad.port], {}, tmp_path), concurrency=WORKERS)
    connections = clients(running, WORKERS)
    assert all(client.get()[0] == 500 for client in connections)
    assert used_workers(running) == WORKERS
    assert running.stat(EJECTIONS + "detected_consecutive_5xx") == 0
    assert connections[0].get()[0] == 500
    assert running.wait_for_stat(EJECTIONS + "enforced_consecutive_5xx", 1) == 1
    assert "::health_flags::/failed_outlier_check\n" in running.admin("/clusters")
    assert running.stat("cluster.c.membership_healthy") == 0


def test_all_workers_leave_an_ejected_host_alone(
    proxy: Start, upstream: Callable[..., FakeUpstream], clients: Any, tmp_path: Path
) -> None:
    bad, good = upstream(failing), upstream()
    running = proxy(config([bad.port, good.port], {"max_ejection_percent": 50}, tmp_path), concurrency=WORKERS)
    connections = clients(running, WORKERS)
    while not running.stat(EJECTIONS + "active"):
        for client in connections:
            client.get()
    # What main said is on its way to every worker; then none of them asks the host again.
    wait_until(lambda: all(client.get()[0] == 200 for client in connections * 4), "an ejected host is still asked")
    before = len(bad.requests)
    assert all(client.get()[0] == 200 for client in connections * 10)
    assert len(bad.requests) == before


def test_a_row_and_an_ejection_outlive_the_worker_that_saw_them(
    proxy: Start, upstream: Callable[..., FakeUpstream], clients: Any, tmp_path: Path
) -> None:
    bad, good = upstream(failing), upstream()
    running = proxy(config([bad.port], {}, tmp_path), concurrency=1)
    assert [client.get()[0] for client in clients(running, 4)] == [500] * 4
    kill_worker(running)
    assert running.stat(EJECTIONS + "detected_consecutive_5xx") == 0
    (again,) = clients(running, 1)
    assert again.get()[0] == 500
    running.wait_for_stat(EJECTIONS + "enforced_consecutive_5xx", 1)
    running.close()

    running = proxy(config([bad.port, good.port], {"max_ejection_percent": 50}, tmp_path), concurrency=1)
    (client,) = clients(running, 1)
    while not running.stat(EJECTIONS + "active"):
        client.get()
    kill_worker(running)
    (client,) = clients(running, 1)
    assert [client.get()[0] for _ in range(10)] == [200] * 10
    assert "::health_flags::/failed_outlier_check\n" in running.admin("/clusters")


def kill_worker(running: RunningProxy) -> None:
    """Its replacement serves when this returns."""
    restarts = running.stat("server.worker_restarts")
    (victim,) = running.worker_pids()
    os.kill(victim, signal.SIGKILL)
    running.wait_for_stat("server.worker_restarts", restarts + 1)
    wait_until(lambda: running.worker_pids() not in ([], [victim]), "no new worker")


def test_hosts_come_back_and_the_log_tells(
    proxy: Start, upstream: Callable[..., FakeUpstream], clients: Any, tmp_path: Path
) -> None:
    bad, good = upstream(failing), upstream()
    outlier = {"interval": "0.05s", "base_ejection_time": "0.1s", "consecutive_5xx": 1, "max_ejection_percent": 50}
    arguments = ("--file-flush-interval-msec", "10")
    running = proxy(config([bad.port, good.port], outlier, tmp_path), args=arguments, concurrency=2)
    connections = clients(running, 2)

    def ejected_twice() -> bool:
        for client in connections:
            client.get()
        return running.stat(EJECTIONS + "enforced_total") >= 2

    wait_until(ejected_twice, "the host is ejected, comes back and is ejected again")
    log = tmp_path / "events"
    wait_until(lambda: log.exists() and log.read_text().count("\n") >= 3, "the event log is written")
    events = [json.loads(line) for line in log.read_text().splitlines()[:3]]
    assert [event["action"] for event in events] == ["EJECT", "UNEJECT", "EJECT"]
    assert [event["num_ejections"] for event in events] == [1, 1, 2]
    assert {event["upstream_url"] for event in events} == {f"127.0.0.1:{bad.port}"}
