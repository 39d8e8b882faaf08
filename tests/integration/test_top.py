"""``proxeny top`` beside a proxy under load: ours, and the real Envoy."""

import http.client
import json
import os
import pty
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.differential.proxies import envoy_binary

from proxeny.testing import RunningProxy
from proxeny.testing.upstream import FakeUpstream

TOP = [sys.executable, "-m", "proxeny", "top"]
DEADLINE_S = 20.0
TYPE = "type.googleapis.com/envoy.extensions"
CONFIG = f"""
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}
stats_flush_interval: 0.1s
static_resources:
  listeners:
  - name: web
    address: {{socket_address: {{address: 127.0.0.1, port_value: LISTENER}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": {TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: site
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": {TYPE}.filters.http.router.v3.Router}}
          route_config:
            virtual_hosts:
            - {{name: all, domains: ["*"], routes: [{{match: {{prefix: /}}, route: {{cluster: shop}}}}]}}
  clusters:
  - name: shop
    connect_timeout: 1s
    load_assignment:
      cluster_name: shop
      endpoints:
      - locality: {{zone: here}}
        lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: UPSTREAM}}}}}}
        - health_status: UNHEALTHY
          endpoint: {{address: {{socket_address: {{address: 127.0.0.2, port_value: 9}}}}}}
"""


def configuration(upstream: FakeUpstream, admin_port: int = 0) -> str:
    """A listener's stats are named by its configured port, so that must be a real one."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config = CONFIG.replace("UPSTREAM", str(upstream.port)).replace("LISTENER", str(port))
    return config.replace("port_value: 0", f"port_value: {admin_port}")


class Load:
    """Requests one after the other until told to stop."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=DEADLINE_S)
        while not self._over.wait(0.002):
            connection.request("GET", "/")
            connection.getresponse().read()
        connection.close()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()


@pytest.fixture(params=["proxeny", "envoy"])
def loaded(request: pytest.FixtureRequest, upstream: Callable[..., FakeUpstream]) -> Iterator[RunningProxy]:
    """A proxy that serves requests all the while."""
    binary = envoy_binary() if request.param == "envoy" else None
    config = configuration(upstream())
    with RunningProxy(config, **({} if binary is None else {"binary": [str(binary)]})) as proxy:
        load = Load(proxy.port("web"))
        try:
            yield proxy
        finally:
            load.stop()


def address(proxy: RunningProxy) -> str:
    host, port = proxy.admin_address
    return f"{host}:{port}"


def is_complete(view: dict[str, Any]) -> bool:
    """Whether a view has rates, and the percentiles of an interval under load: its pages are not of one moment."""
    (listener,), (cluster,), (manager,) = view["listeners"], view["clusters"], view["http"]
    answered = any(host["success_percent"] is not None for host in view["hosts"])
    rates = answered and cluster["rq_rate"] and listener["rq_rate"]
    return bool(rates and None not in cluster["latency_ms"] and None not in manager["latency_ms"])


def test_rows(loaded: RunningProxy) -> None:
    command = [*TOP, "--admin", address(loaded), "--json", "--interval", "0.2", "--filter", "web|site|shop"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as top:
        assert top.stdout is not None
        deadline = time.monotonic() + DEADLINE_S
        view = next(view for view in map(json.loads, top.stdout) if is_complete(view) or time.monotonic() > deadline)
        top.terminate()
    assert is_complete(view)
    (listener,), (manager,), (cluster,) = view["listeners"], view["http"], view["clusters"]
    assert (listener["name"], listener["cx_active"]) == ("web", 1)
    assert listener["rq_rate"] > 0
    assert (manager["name"], manager["cx_active"], manager["rate_5xx"]) == ("site", 1, 0)
    assert (cluster["name"], cluster["hosts"], cluster["healthy"], cluster["errors_rate"]) == ("shop", 2, 1, 0)
    good, bad = sorted(view["hosts"], key=lambda host: -host["rq_rate"])
    assert (good["health"], good["zone"], good["success_percent"]) == ("healthy", "here", 100.0)
    assert (bad["health"], bad["rq_rate"], bad["success_percent"]) == ("eds unhealthy", 0, None)


def test_once_as_text(loaded: RunningProxy) -> None:
    command = [*TOP, "--admin", address(loaded), "--once", "--interval", "0.3", "--view", "clusters"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=True)
    assert "LIVE" in done.stdout
    assert [line.split()[:2] for line in done.stdout.splitlines() if line.startswith("shop")] == [["shop", "1/2"]]


class Terminal:
    """The command in a terminal of its own."""

    def __init__(self, *arguments: str) -> None:
        self._main, inner = pty.openpty()
        self._poll = select.poll()
        self._poll.register(self._main, select.POLLIN)
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "160", "LINES": "40"}
        self.process = subprocess.Popen([*TOP, *arguments], stdin=inner, stdout=inner, stderr=inner, env=environment)
        os.close(inner)

    def wait_for(self, text: str) -> None:
        """Read until ``text`` was shown after this call."""
        seen = ""
        deadline = time.monotonic() + DEADLINE_S
        while text not in seen:
            assert time.monotonic() < deadline, f"{text!r} was not shown, but {seen[-2000:]!r}"
            if not self._poll.poll(1000):
                continue
            seen += os.read(self._main, 65536).decode("utf-8", "replace")

    def press(self, key: str) -> None:
        os.write(self._main, key.encode())

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def close(self) -> int:
        """Press q; the exit status."""
        self.press("q")
        with open(self._main, "rb", buffering=0) as rest:
            try:
                while rest.read(65536):
                    pass
            except OSError:  # EIO: the other side is closed
                pass
        return self.process.wait(DEADLINE_S)


def test_live(loaded: RunningProxy, tmp_path: Path) -> None:
    path = tmp_path / "admin"
    path.write_text(address(loaded))
    with Terminal("--admin-address-path", str(path), "--interval", "0.1") as terminal:
        terminal.wait_for("hosts (2)")
        terminal.press("c")
        terminal.wait_for("sorted by rate")
        terminal.press("s")
        terminal.wait_for("sorted by errors")
        terminal.press("n")
        terminal.wait_for("connect fails/s")
        terminal.press("\x1b[A")
        terminal.press("p")
        assert terminal.close() == 0


def test_a_proxy_that_goes_and_comes_back(upstream: Callable[..., FakeUpstream]) -> None:
    behind = upstream()
    running = RunningProxy(configuration(behind))
    port = running.admin_address[1]
    with Terminal("--admin", address(running), "--interval", "0.1") as terminal:
        with running:
            terminal.wait_for("hosts (2)")
        terminal.wait_for("no answer from")
        with RunningProxy(configuration(behind, port)):
            terminal.wait_for("hosts (2)")
            assert terminal.close() == 0
