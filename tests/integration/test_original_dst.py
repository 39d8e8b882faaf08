"""Hosts on demand and internal listeners with several workers, and when a worker dies."""

import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.integration.configs import ADMIN
from tests.integration.test_workers import wait_until

from proxeny.testing import FakeUpstream, RunningProxy

Start = Callable[..., RunningProxy]
TYPE = "type.googleapis.com/envoy.extensions"

ORIGINAL_DST = (
    ADMIN
    + f"""
static_resources:
  listeners:
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
            virtual_hosts: [{{name: all, domains: ["*"], routes: [{{match: {{prefix: /}}, route: {{cluster: any}}}}]}}]
          http_filters: [{{name: router, typed_config: {{"@type": {TYPE}.filters.http.router.v3.Router}}}}]
  clusters:
  - {{name: any, type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, original_dst_lb_config: {{use_http_header: true}}}}
"""
)


def tcp(name: str, cluster: str) -> str:
    kind = f"{TYPE}.filters.network.tcp_proxy.v3.TcpProxy"
    return f'{{name: tcp, typed_config: {{"@type": {kind}, stat_prefix: {name}, cluster: {cluster}}}}}'


INTERNAL = (
    ADMIN
    + f"""
bootstrap_extensions:
- {{name: internal, typed_config: {{"@type": {TYPE}.bootstrap.internal_listener.v3.InternalListener}}}}
static_resources:
  listeners:
  - name: outer
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    enable_reuse_port: false
    filter_chains:
    - filters: [{tcp("outer", "to_inner")}]
  - name: inner
    internal_listener: {{}}
    filter_chains:
    - filters: [{{name: echo, typed_config: {{"@type": {TYPE}.filters.network.echo.v3.Echo}}}}]
  - name: greeting
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters: [{tcp("greeting", "to_greeting")}]
  - name: greeting_inside
    internal_listener: {{}}
    filter_chains:
    - filters:
      - name: hello
        typed_config:
          "@type": {TYPE}.filters.network.direct_response.v3.Config
          response: {{inline_string: hello}}
  - name: loop
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters: [{tcp("loop", "to_loop")}]
  - name: loop_inside
    internal_listener: {{}}
    filter_chains:
    - filters: [{tcp("loop_inside", "to_loop")}]
  clusters:
"""
    + "".join(
        f"""
  - name: to_{name}
    load_assignment:
      cluster_name: to_{name}
      endpoints:
      - lb_endpoints: [{{endpoint: {{address: {{envoy_internal_address: {{server_listener_name: {listener}}}}}}}}}]
"""
        for name, listener in (("inner", "inner"), ("greeting", "greeting_inside"), ("loop", "loop_inside"))
    )
)


UPDATED = """
node: {id: test, cluster: test}
dynamic_resources:
  lds_config: {resource_api_version: V3, path_config_source: {path: "PATH"}}
"""


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def get(connection: socket.socket, destination: int) -> bytes:
    head = f"GET / HTTP/1.1\r\nHost: a\r\nx-envoy-original-dst-host: 127.0.0.1:{destination}\r\n\r\n"
    connection.sendall(head.encode())
    return connection.recv(65536)


def hosts(running: RunningProxy) -> dict[int, int]:
    """Port of each host of the cluster -> requests that it got."""
    (status,) = json.loads(running.admin("/clusters?format=json"))["cluster_statuses"]
    found = {}
    for host in status.get("host_statuses", ()):
        stats = {stat["name"]: int(stat.get("value", 0)) for stat in host["stats"]}
        found[host["address"]["socket_address"]["port_value"]] = stats["rq_total"]
    return found


def active_by_worker(running: RunningProxy, listener: str) -> list[int]:
    lines = running.admin(f"/stats?filter=^listener.{listener}.*worker_.*downstream_cx_active").splitlines()
    return sorted(int(line.rpartition(": ")[2]) for line in lines)


def test_hosts_on_demand_are_the_union_over_the_workers(proxy: Start, upstream: Callable[..., FakeUpstream]) -> None:
    running = proxy(ORIGINAL_DST, concurrency=2)
    one, two = upstream(name="one").port, upstream(name="two").port
    clients = [connect(running.port("web")) for _ in range(8)]
    for client in clients:
        assert b"200 OK" in get(client, one)
    assert b"200 OK" in get(clients[0], two)
    assert 0 not in active_by_worker(running, "127"), "both workers serve"
    wait_until(lambda: hosts(running) == {one: 8, two: 1}, "each host once, with what both workers counted")
    assert running.stat("cluster.any.membership_total") == 2

    os.kill(running.worker_pids()[0], signal.SIGKILL)
    running.wait_for_stat("server.worker_restarts", 1)
    wait_until(lambda: len(running.worker_pids()) == 2, "a new worker")
    for client in clients:
        client.close()
    wait_until(lambda: hosts(running).get(one, 0) < 8, "the dead worker's hosts are gone")
    clients = [connect(running.port("web")) for _ in range(8)]
    for client in clients:
        assert b"200 OK" in get(client, one)
    for client in clients:
        client.close()


def test_internal_listeners_in_every_worker(proxy: Start) -> None:
    running = proxy(INTERNAL, concurrency=2)
    clients = [connect(running.port("outer")) for _ in range(8)]
    for client in clients:
        client.sendall(b"ping")
        assert client.recv(4) == b"ping"
    assert 0 not in active_by_worker(running, "envoy_internal_inner"), "each worker has its own"
    assert running.stat("listener.envoy_internal_inner.downstream_cx_active") == 8
    os.kill(running.worker_pids()[0], signal.SIGKILL)
    running.wait_for_stat("server.worker_restarts", 1)
    for client in clients:
        client.close()
    wait_until(lambda: running.stat("listener.envoy_internal_inner.downstream_cx_active") == 0, "all are gone")
    with connect(running.port("outer")) as client:
        client.sendall(b"ping")
        assert client.recv(4) == b"ping"


def test_what_an_internal_listener_says_at_once_arrives(proxy: Start) -> None:
    running = proxy(INTERNAL)
    with connect(running.port("greeting")) as client:
        assert client.recv(100) == b"hello"
        assert client.recv(100) == b""


def test_a_loop_of_internal_listeners_ends(proxy: Start) -> None:
    """A listener whose upstream is itself costs its own connection, and no worker."""
    running = proxy(INTERNAL)
    with connect(running.port("loop")) as client:
        try:
            assert client.recv(1) == b""
        except ConnectionResetError:
            pass
    with connect(running.port("outer")) as client:
        client.sendall(b"ping")
        assert client.recv(4) == b"ping"
    assert running.stat("server.worker_restarts") == 0
    wait_until(lambda: running.stat("cluster.to_loop.upstream_cx_active") == 0, "nothing of it is left")


def inner_listener(text: str, **more: Any) -> dict[str, Any]:
    """An internal listener that says ``text``."""
    config = {"@type": f"{TYPE}.filters.network.direct_response.v3.Config", "response": {"inline_string": text}}
    return {
        "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
        "name": "inner",
        "internal_listener": {},
        "filter_chains": [{"filters": [{"name": "hello", "typed_config": config}]}],
        **more,
    }


def test_internal_listeners_change_while_they_serve(proxy: Start, tmp_path: Path) -> None:
    path = tmp_path / "lds.json"

    def write(*listeners: dict[str, Any]) -> None:
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps({"version_info": str(len(listeners)), "resources": listeners}))
        fresh.rename(path)

    # The static one of this name makes room for those that are delivered.
    without = INTERNAL.replace("  - name: inner\n", "  - name: another\n")
    write(inner_listener("one"))
    running = proxy(without + UPDATED.replace("PATH", str(path)), concurrency=2)

    def says(text: bytes) -> bool:
        with connect(running.port("outer")) as client:
            try:
                return client.recv(100) == text
            except ConnectionResetError:
                return text == b""

    assert says(b"one")
    write(inner_listener("two"))
    wait_until(lambda: says(b"two"), "other filter chains")
    assert running.stat("listener_manager.listener_in_place_updated") == 1
    write(inner_listener("three", per_connection_buffer_limit_bytes=4096))
    wait_until(lambda: says(b"three"), "another listener")
    assert all(says(b"three") for _ in range(8))
    write()
    wait_until(lambda: says(b""), "no listener")
    assert running.stat("listener_manager.listener_removed") == 1
    assert running.stat("server.worker_restarts") == 0
