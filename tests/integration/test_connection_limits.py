"""Limits on connections hold over all workers of the real command, and change while it runs."""

import http.client
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from proxeny.testing import RunningProxy

Start = Callable[..., RunningProxy]

LISTENER = """
  - name: {name}
    stat_prefix: {name}
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
{fields}
    filter_chains:
    - filters:
      - name: envoy.filters.network.echo
        typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo}}
"""
OWN_KEY = "envoy.resource_limits.listener.one.connection_limit"
GLOBAL_KEY = "overload.global_downstream_max_connections"
EXACT = "    connection_balance_config: {exact_balance: {}}"


def bootstrap(runtime: str = "", *, one: str = "", more: str = "", top: str = "", admin: str = "") -> str:
    return f"""
admin:
  address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
  {admin}
layered_runtime: {{layers: [{{name: s, static_layer: {{{runtime}}}}}, {{name: a, admin_layer: {{}}}}]}}
{top}
static_resources:
  listeners:
{LISTENER.format(name="one", fields=one)}{more}
"""


class Clients:
    """Connections of a test."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def connect(self, port: int) -> socket.socket | None:
        """A connection that is served, None when it was refused."""
        client = self._stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
        try:
            client.sendall(b"x")
            served = client.recv(1) == b"x"
        except ConnectionError:
            served = False
        return client if served else None

    def served(self, port: int, tries: int) -> int:
        return sum(self.connect(port) is not None for _ in range(tries))

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def clients() -> Iterator[Clients]:
    made = Clients()
    yield made
    made.close()


def stat(name: str, listener: str = "one") -> str:
    return f"listener.{listener}.{name}"


@pytest.mark.parametrize("fields", ["", "    enable_reuse_port: false", EXACT])
def test_a_listeners_limit_is_exact_over_workers(proxy: Start, clients: Clients, fields: str) -> None:
    running = proxy(bootstrap(f"{OWN_KEY}: 7", one=fields), concurrency=2)
    port = running.port("one")
    assert clients.served(port, 20) == 7
    assert running.stat(stat("downstream_cx_overflow")) == 13
    assert running.stat(stat("downstream_cx_active")) == 7


def test_a_connection_that_ends_makes_room(proxy: Start, clients: Clients) -> None:
    running = proxy(bootstrap(f"{OWN_KEY}: 1"), concurrency=2)
    port = running.port("one")
    for ended in range(1, 5):
        client = clients.connect(port)
        assert client is not None
        assert clients.connect(port) is None
        client.close()
        running.wait_for_stat(stat("downstream_cx_destroy"), ended)


def test_the_limit_changes_while_it_runs(proxy: Start, clients: Clients) -> None:
    running = proxy(bootstrap(), concurrency=2)
    port = running.port("one")
    # The answer does not wait for the workers, which read a change in their own time.
    served = clients.served(port, 5)
    assert served == 5
    assert running.admin(f"/runtime_modify?{OWN_KEY}=4", "POST") == "OK\n"
    while more := clients.served(port, 20):
        served += more
    assert running.admin(f"/runtime_modify?{OWN_KEY}={served + 2}", "POST") == "OK\n"
    more = 0
    while more < 2:
        more += clients.served(port, 5)
    assert more == 2 and clients.served(port, 20) == 0
    assert running.admin(f"/runtime_modify?{OWN_KEY}=", "POST") == "OK\n"
    while clients.served(port, 5) < 5:
        pass


def test_what_a_dead_worker_had_makes_room(proxy: Start, clients: Clients) -> None:
    running = proxy(bootstrap(f"{OWN_KEY}: 6", one=EXACT), concurrency=2)
    port = running.port("one")
    assert clients.served(port, 8) == 6
    os.kill(running.worker_pids()[0], 9)
    running.wait_for_stat("server.worker_restarts", 1)
    running.wait_for_stat("listener_manager.listener_create_success", 2)
    assert clients.served(port, 8) == 3


def only_admin_connection(running: RunningProxy) -> http.client.HTTPConnection:
    """A connection to admin that stays, once main has seen the end of those before it."""
    connection = http.client.HTTPConnection(*running.admin_address, timeout=20)
    deadline = time.monotonic() + 20
    while True:
        connection.request("GET", "/stats?filter=^listener.admin.downstream_cx_active$")
        if connection.getresponse().read().strip() == b"listener.admin.downstream_cx_active: 1":
            return connection
        assert time.monotonic() < deadline


def test_the_limit_of_all_from_the_runtime_counts_admin_too(proxy: Start, clients: Clients) -> None:
    other = LISTENER.format(name="other", fields="")
    running = proxy(bootstrap(f"{GLOBAL_KEY}: 5", more=other, admin="ignore_global_conn_limit: true"), concurrency=2)
    ports = {name: running.port(name) for name in ("one", "other")}
    with closing(only_admin_connection(running)):
        assert clients.served(ports["one"], 3) == 3
        assert clients.served(ports["other"], 5) == 1
    assert running.stat(stat("downstream_global_cx_overflow", "other")) == 4
    log = running.log()
    assert (
        f"Usage of the deprecated runtime key {GLOBAL_KEY}, consider switching to "
        "`envoy.resource_monitors.global_downstream_max_connections` instead.This runtime key will be removed in "
        "future."
    ) in log
    assert "There is no configured limit to the number of allowed active downstream connections." in log


def test_a_listener_may_ignore_the_limit_of_all(proxy: Start, clients: Clients) -> None:
    other = LISTENER.format(name="other", fields="    ignore_global_conn_limit: true")
    running = proxy(bootstrap(f"{GLOBAL_KEY}: 2", more=other, admin="ignore_global_conn_limit: true"), concurrency=2)
    assert clients.served(running.port("other"), 5) == 5
    assert clients.served(running.port("one"), 2) == 0


MONITORS = "type.googleapis.com/envoy.extensions.resource_monitors"
GLOBAL_MONITOR = f"""{{name: envoy.resource_monitors.global_downstream_max_connections, typed_config: {{
      "@type": {MONITORS}.downstream_connections.v3.DownstreamConnectionsConfig,
      max_active_downstream_connections: 5}}}}"""
TRIGGER = "triggers: [{name: envoy.resource_monitors.injected_resource, threshold: {value: 0.5}}]"


def overload(folder: Path, action: str) -> str:
    """An overload manager whose pressure a file in ``folder`` holds."""
    (folder / "pressure").write_text("0")
    return f"""
overload_manager:
  refresh_interval: 0.01s
  resource_monitors:
  - name: envoy.resource_monitors.injected_resource
    typed_config:
      "@type": {MONITORS}.injected_resource.v3.InjectedResourceConfig
      filename: {folder}/pressure
  {action}
"""


def press(running: RunningProxy, folder: Path, percent: int) -> None:
    (folder / "new").write_text(str(percent / 100))
    os.rename(folder / "new", folder / "pressure")
    name = "overload.envoy.resource_monitors.injected_resource.pressure"
    deadline = time.monotonic() + 20
    while running.stat(name) != percent:
        assert time.monotonic() < deadline


def test_the_monitor_of_all_connections(proxy: Start, clients: Clients) -> None:
    other = LISTENER.format(name="other", fields="    ignore_global_conn_limit: true")
    top = f"overload_manager: {{resource_monitors: [{GLOBAL_MONITOR}]}}"
    running = proxy(bootstrap(f"{GLOBAL_KEY}: 1", top=top, more=other), concurrency=2)
    assert clients.served(running.port("other"), 3) == 3
    assert clients.served(running.port("one"), 8) == 5
    assert running.stat(stat("downstream_global_cx_overflow")) == 3
    assert running.stat("overload.envoy.resource_monitors.global_downstream_max_connections.failed_updates") == 3
    assert "There is no configured limit" not in running.log()


def test_stopping_to_accept_lets_connections_wait(proxy: Start, clients: Clients, tmp_path: Path) -> None:
    action = f"actions: [{{name: envoy.overload_actions.stop_accepting_connections, {TRIGGER}}}]"
    bypass = LISTENER.format(name="bypass", fields="    bypass_overload_manager: true")
    running = proxy(bootstrap(top=overload(tmp_path, action), more=bypass), concurrency=2)
    assert clients.served(running.port("one"), 4) == 4
    press(running, tmp_path, 60)
    running.wait_for_stat("overload.envoy.overload_actions.stop_accepting_connections.active", 1)
    waiting = [socket.create_connection(("127.0.0.1", running.port("one")), timeout=20) for _ in range(8)]
    assert clients.served(running.port("bypass"), 4) == 4
    press(running, tmp_path, 10)
    for client in waiting:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        client.close()
    assert running.stat(stat("downstream_cx_total")) == 12


@pytest.mark.parametrize(
    "action",
    [
        f"actions: [{{name: envoy.overload_actions.reject_incoming_connections, {TRIGGER}}}]",
        f"loadshed_points: [{{name: envoy.load_shed_points.tcp_listener_accept, {TRIGGER}}}]",
    ],
)
def test_connections_are_shed(proxy: Start, clients: Clients, tmp_path: Path, action: str) -> None:
    bypass = LISTENER.format(name="bypass", fields="    bypass_overload_manager: true")
    running = proxy(bootstrap(top=overload(tmp_path, action), more=bypass), concurrency=2)
    assert clients.served(running.port("one"), 4) == 4
    press(running, tmp_path, 60)
    refused = 0
    for _ in range(20):
        refused += clients.connect(running.port("one")) is None
    assert refused == running.stat(stat("downstream_cx_overload_reject")) > 0
    assert clients.served(running.port("bypass"), 4) == 4
    if "loadshed" in action:
        assert running.stat("overload.envoy.load_shed_points.tcp_listener_accept.shed_load_count") == refused
    press(running, tmp_path, 10)
    while clients.connect(running.port("one")) is None:
        pass


def test_a_new_worker_knows_the_state(proxy: Start, clients: Clients, tmp_path: Path) -> None:
    action = f"actions: [{{name: envoy.overload_actions.reject_incoming_connections, {TRIGGER}}}]"
    running = proxy(bootstrap(top=overload(tmp_path, action)), concurrency=1)
    press(running, tmp_path, 60)
    os.kill(running.worker_pids()[0], 9)
    running.wait_for_stat("server.worker_restarts", 1)
    assert clients.served(running.port("one"), 4) == 0


WEB = """
  - name: web
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          route_config:
            virtual_hosts:
            - {name: all, domains: ["*"], routes: [
                {match: {prefix: /}, direct_response: {status: 200, body: {inline_string: served}}}]}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
"""


@pytest.mark.parametrize(
    ("action", "status", "closes"), [("stop_accepting_requests", 503, False), ("disable_http_keepalive", 200, True)]
)
def test_requests_under_overload(proxy: Start, tmp_path: Path, action: str, status: int, closes: bool) -> None:
    actions = f"actions: [{{name: envoy.overload_actions.{action}, {TRIGGER}}}]"
    running = proxy(bootstrap(top=overload(tmp_path, actions), more=WEB), concurrency=2)

    def get() -> tuple[int, bool]:
        connection = http.client.HTTPConnection("127.0.0.1", running.port("web"), timeout=20)
        connection.request("GET", "/")
        response = connection.getresponse()
        response.read()
        connection.close()
        return response.status, response.getheader("connection") == "close"

    assert get() == (200, False)
    press(running, tmp_path, 60)
    while get() == (200, False):
        pass
    assert get() == (status, closes)
    press(running, tmp_path, 0)
    while get() != (200, False):
        pass
