"""HTTP through the real command: logs, admin commands that reach the workers, clean drains."""

import http.client
import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.integration.configs import ADMIN
from tests.integration.configs import http as http_config

from proxeny.testing import FakeUpstream, RunningProxy

Start = Callable[..., RunningProxy]
StartUpstream = Callable[..., FakeUpstream]


def get(port: int, path: str = "/") -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read(), {name.lower(): value for name, value in response.getheaders()}
    finally:
        connection.close()


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def test_proxying_and_stats(proxy: Start, upstream: StartUpstream) -> None:
    service = upstream(name="service")
    running = proxy(http_config(service.port), concurrency=2)
    port = running.port("web")
    for number in range(10):
        status, body, headers = get(port, f"/{number}")
        assert (status, body) == (200, f"service: GET /{number}\n".encode())
        assert headers["server"] == "envoy"
    assert running.stat("http.web.downstream_rq_2xx") == 10
    assert running.stat("cluster.service.upstream_rq_200") == 10
    assert running.stat("listener_manager.listener_create_success") == 2
    assert running.stat("listener_manager.workers_started") == 1
    assert running.stat("server.live") == 1
    assert running.stat("server.concurrency") == 2
    assert running.stat("http.admin.downstream_rq_2xx") > 0


def test_access_logs_of_workers_reopen(proxy: Start, upstream: StartUpstream, tmp_path: Path) -> None:
    service = upstream()
    log = tmp_path / "access.log"
    running = proxy(http_config(service.port, str(log)), ("--file-flush-interval-msec", "10"))
    port = running.port("web")
    assert get(port, "/one")[0] == 200
    wait_until(lambda: log.read_text() == "/one 200\n", "no line")
    os.rename(log, tmp_path / "access.log.1")
    running.signal(signal.SIGUSR1)
    wait_until(log.exists, "not opened again")
    assert get(port, "/two")[0] == 200
    wait_until(lambda: log.read_text() == "/two 200\n", "no line in the new file")
    assert (tmp_path / "access.log.1").read_text() == "/one 200\n"
    assert get(port, "/three")[0] == 200
    assert running.stop() == 0
    assert log.read_text() == "/two 200\n/three 200\n"


def test_a_worker_killed_under_load(proxy: Start, upstream: StartUpstream) -> None:
    """Every connection either works on, or was the dead worker's; new ones never fail."""
    service = upstream()
    running = proxy(http_config(service.port), concurrency=2)
    port = running.port("web")
    stop = threading.Event()
    failures: list[str] = []
    broken: list[str] = []

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        fresh = True
        while not stop.is_set():
            try:
                connection.request("GET", "/")
                response = connection.getresponse()
                if response.status != 200:
                    failures.append(f"status {response.status}")
                response.read()
                fresh = False
            except (OSError, http.client.HTTPException) as error:
                # An established connection may have been the dead worker's; a refused or new one is a failure.
                (failures if isinstance(error, ConnectionRefusedError) else broken).append(repr((fresh, error)))
                connection.close()
                fresh = True
        connection.close()

    clients = [threading.Thread(target=client) for _ in range(20)]
    for thread in clients:
        thread.start()
    try:
        running.wait_for_stat("http.web.downstream_rq_2xx", 200)
        os.kill(running.worker_pids()[0], signal.SIGKILL)
        running.wait_for_stat("server.worker_restarts", 1)
        done = running.stat("http.web.downstream_rq_2xx")
        assert done >= 200
        running.wait_for_stat("http.web.downstream_rq_2xx", done + 200)
    finally:
        stop.set()
        for thread in clients:
            thread.join()
    assert not failures
    assert len(broken) < 20
    wait_until(lambda: running.stat("http.web.downstream_cx_active") == 0, "the dead worker's gauges stay")


def test_health_check_fail_reaches_the_workers(proxy: Start, upstream: StartUpstream) -> None:
    service = upstream()
    running = proxy(http_config(service.port))
    port = running.port("web")
    assert "connection" not in get(port)[2]
    assert running.admin("/healthcheck/fail", "POST") == "OK\n"
    assert running.admin("/ready") == "DRAINING\n"
    wait_until(lambda: get(port)[2].get("connection") == "close", "not draining")
    assert running.stat("server.live") == 0
    assert running.admin("/healthcheck/ok", "POST") == "OK\n"
    assert running.admin("/ready") == "LIVE\n"
    wait_until(lambda: "connection" not in get(port)[2], "still draining")


def test_quitquitquit(proxy: Start, upstream: StartUpstream) -> None:
    running = proxy(http_config(upstream().port))
    assert running.admin("/quitquitquit", "POST") == "OK\n"
    assert running.wait() == 0


def test_drain_listeners(proxy: Start, upstream: StartUpstream) -> None:
    running = proxy(http_config(upstream().port))
    port = running.port("web")
    assert get(port)[0] == 200
    assert running.admin("/drain_listeners", "POST") == "OK\n"

    def refused() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=20).close()
        except ConnectionRefusedError:
            return True
        return False

    wait_until(refused, "still listening")
    running.wait_for_stat("listener_manager.listener_stopped", 1)


def test_log_levels_reach_the_workers(proxy: Start, upstream: StartUpstream) -> None:
    running = proxy(http_config(upstream().port))
    assert re.search(r"^  upstream: info$", running.admin("/logging", "POST"), re.MULTILINE)
    assert re.search(r"^  upstream: trace$", running.admin("/logging?upstream=trace", "POST"), re.MULTILINE)


def test_runtime_modify(proxy: Start, upstream: StartUpstream) -> None:
    config = http_config(upstream().port) + "layered_runtime: {layers: [{name: admin, admin_layer: {}}]}\n"
    running = proxy(config)
    port = running.port("web")
    assert get(port)[0] == 200
    assert running.admin("/runtime_modify?upstream.maintenance_mode.service=100", "POST") == "OK\n"
    assert json.loads(running.admin("/runtime"))["entries"]["upstream.maintenance_mode.service"]["final_value"] == "100"
    wait_until(lambda: get(port)[0] == 503, "the runtime did not reach the worker")
    assert running.stat("runtime.admin_overrides_active") == 1


def test_reset_counters(proxy: Start, upstream: StartUpstream) -> None:
    running = proxy(http_config(upstream().port))
    port = running.port("web")
    get(port)
    assert running.stat("http.web.downstream_rq_2xx") == 1
    running.admin("/reset_counters", "POST")
    assert running.stat("http.web.downstream_rq_2xx") == 0
    get(port)
    assert running.stat("http.web.downstream_rq_2xx") == 1


def test_server_info(proxy: Start, upstream: StartUpstream) -> None:
    running = proxy(http_config(upstream().port), ("--service-cluster", "here", "--stats-tag", "color:red"))
    info = json.loads(running.admin("/server_info"))
    assert info["state"] == "LIVE"
    assert info["node"]["cluster"] == "here"
    assert info["command_line_options"]["concurrency"] == 1
    assert info["command_line_options"]["stats_tag"] == ["color:red"]
    assert 'color="red"' in running.admin("/stats/prometheus?filter=server.live")


def test_names_are_resolved_before_listeners_start(proxy: Start, upstream: StartUpstream) -> None:
    service = upstream(name="dns")
    config = http_config(service.port)
    config = config.replace("connect_timeout: 1s", "type: STRICT_DNS\n    dns_lookup_family: V4_ONLY")
    address = f"address: 127.0.0.1, port_value: {service.port}"
    running = proxy(config.replace(address, address.replace("127.0.0.1", "localhost")), concurrency=2)
    port = running.port("web")
    assert get(port, "/x")[1] == b"dns: GET /x\n"
    [victim, _] = running.worker_pids()
    os.kill(victim, signal.SIGKILL)
    running.wait_for_stat("server.worker_restarts", 1)
    for _ in range(20):
        assert get(port)[0] == 200


def test_unix_socket_listener(proxy: Start, tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    config = (
        ADMIN
        + f"""
static_resources:
  listeners:
  - name: web
    address: {{pipe: {{path: {path}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.direct_response
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.direct_response.v3.Config
          response: {{inline_string: hello}}
"""
    )
    running = proxy(config, concurrency=2)
    for _ in range(10):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(str(path))
            assert client.recv(100) == b"hello"
    assert running.stop() == 0


def test_python_calls_are_counted_on_request(proxy: Start, upstream: StartUpstream) -> None:
    running = proxy(http_config(upstream().port), env={"PROXENY_COUNT_CALLS": "1"})
    port = running.port("web")
    for _ in range(10):
        get(port)
    assert running.wait_for_stat("server.python_calls", 100) > 100
