"""Tunnels through the real command and real peers: the websockets library on both ends, curl through CONNECT."""

import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

import pytest
from tests.integration.configs import ADMIN
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect
from websockets.sync.server import Server, ServerConnection, serve

from proxeny.testing import FakeUpstream, RunningProxy

Start = Callable[..., RunningProxy]
StartUpstream = Callable[..., FakeUpstream]

HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


def listener(name: str, fields: str, routes: str) -> str:
    return f"""
  - name: {name}
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": {HCM}
          stat_prefix: {name}
          {fields}
          http_filters: [{{name: r, typed_config: {{"@type": {ROUTER}}}}}]
          route_config: {{virtual_hosts: [{{name: all, domains: ["*"], routes: [{routes}]}}]}}"""


def cluster(name: str, port: int) -> str:
    address = f"{{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}"
    return f"""
  - name: {name}
    load_assignment:
      cluster_name: {name}
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {address}}}}}]}}]"""


def config(port: int) -> str:
    """``web``: websocket to ``port``; ``end``: CONNECT that ends there; all tunnels are allowed."""
    to = "route: {cluster: service"
    return (
        f"{ADMIN}static_resources:\n  listeners:"
        + listener("web", "upgrade_configs: [{upgrade_type: websocket}]", f"{{match: {{prefix: /}}, {to}}}}}")
        + listener("none", "codec_type: HTTP1", f"{{match: {{prefix: /}}, {to}}}}}")
        + listener(
            "end",
            "codec_type: HTTP1",
            "{match: {connect_matcher: {}}, "
            f"{to}, upgrade_configs: [{{upgrade_type: CONNECT, connect_config: {{}}}}]}}}}",
        )
        + "\n  clusters:"
        + cluster("service", port)
    )


def pass_config(port: int) -> str:
    """``pass``: CONNECT goes on to the proxy at ``port``."""
    route = "{match: {connect_matcher: {}}, route: {cluster: service}}"
    return (
        f"{ADMIN}static_resources:\n  listeners:"
        + listener("pass", "upgrade_configs: [{upgrade_type: CONNECT}]", route)
        + "\n  clusters:"
        + cluster("service", port)
    )


def behave(websocket: ServerConnection) -> None:
    """An upstream that echoes; some messages are orders."""
    for message in websocket:
        if message == "close":
            websocket.close(4001, "as you wish")
        elif message == "drop":
            websocket.socket.shutdown(socket.SHUT_RDWR)
        elif message == "large":
            websocket.send(os.urandom(3_000_000))
        else:
            websocket.send(message)


def first_offered(_: ServerConnection, offered: Sequence[Any]) -> Any:
    return offered[0] if offered else None


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(behave, "127.0.0.1", 0, max_size=None, select_subprotocol=first_offered) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def running(proxy: Start, server: Server) -> RunningProxy:
    return proxy(config(server.socket.getsockname()[1]))


def url(running: RunningProxy, name: str = "web", path: str = "/") -> str:
    return f"ws://127.0.0.1:{running.port(name)}{path}"


def open_socket(running: RunningProxy, **options: Any) -> Any:
    return connect(url(running), proxy=None, max_size=None, **options)


def test_a_websocket_end_to_end(running: RunningProxy) -> None:
    with open_socket(running, subprotocols=["chat"]) as websocket:
        assert websocket.subprotocol == "chat"
        for message in ("text", "\u2603" * 1000, b"\x00\xff", b"", "x" * 70_000):
            websocket.send(message)
            assert websocket.recv(timeout=20) == message
        websocket.send(["in ", "three ", "pieces"])
        assert websocket.recv(timeout=20) == "in three pieces"
        assert websocket.ping().wait(20)
        assert running.stat("http.web.downstream_cx_upgrades_active") == 1
    running.wait_for_stat("http.web.downstream_rq_1xx", 1)
    assert running.stat("http.web.downstream_cx_upgrades_total") == 1
    assert running.stat("cluster.service.upstream_rq_101") == 1


def test_large_messages_both_ways(running: RunningProxy) -> None:
    with open_socket(running, compression=None) as websocket:
        message = os.urandom(3_000_000)
        websocket.send(message)
        assert websocket.recv(timeout=20) == message
        websocket.send("large")
        assert len(websocket.recv(timeout=20)) == 3_000_000


def test_the_upstream_closes(running: RunningProxy) -> None:
    with open_socket(running) as websocket:
        websocket.send("close")
        with pytest.raises(ConnectionClosedError) as raised:
            websocket.recv(timeout=20)
    assert raised.value.rcvd is not None and (raised.value.rcvd.code, raised.value.rcvd.reason) == (4001, "as you wish")


def test_the_upstream_goes_away(running: RunningProxy) -> None:
    with open_socket(running) as websocket:
        websocket.send("drop")
        with pytest.raises(ConnectionClosedError) as raised:
            websocket.recv(timeout=20)
    assert raised.value.rcvd is None


def test_many_at_once(running: RunningProxy) -> None:
    failures: list[BaseException] = []

    def talk(number: int) -> None:
        try:
            with open_socket(running) as websocket:
                for turn in range(20):
                    websocket.send(f"{number} {turn}")
                    assert websocket.recv(timeout=20) == f"{number} {turn}"
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    running.wait_for_stat("http.web.downstream_cx_upgrades_total", 20)


def test_an_upgrade_that_is_not_allowed(running: RunningProxy) -> None:
    with pytest.raises(InvalidStatus) as raised, connect(url(running, "none"), proxy=None):
        pass
    assert raised.value.response.status_code == 403


def test_a_websocket_through_connect(running: RunningProxy) -> None:
    """The client asks Proxeny, as its forward proxy, for a tunnel, and talks websocket in it."""
    forward = f"http://127.0.0.1:{running.port('end')}"
    with connect("ws://somewhere.test:80/", proxy=forward, max_size=None) as websocket:
        websocket.send("hello")
        assert websocket.recv(timeout=20) == "hello"
    running.wait_for_stat("http.end.downstream_rq_2xx", 1)


def curl(*arguments: str, data: str = "") -> subprocess.CompletedProcess[str]:
    command = ["curl", "--silent", "--show-error", "--max-time", "20", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, input=data)


def test_curl_through_connect(proxy: Start, upstream: StartUpstream) -> None:
    service = upstream(name="service")
    running = proxy(config(service.port))
    forward = f"http://127.0.0.1:{running.port('end')}"
    done = curl("--proxytunnel", "--proxy", forward, "http://one.test/a", "http://one.test/b")
    assert (done.stdout, done.stderr) == ("service: GET /a\nservice: GET /b\n", "")
    assert [request.headers["host"] for request in service.requests] == ["one.test", "one.test"]
    posted = curl("--proxytunnel", "--proxy", forward, "--data", "@-", "http://one.test/c", data="x" * 500_000)
    assert posted.stdout == "service: POST /c\n" and len(service.requests[-1].body) == 500_000
    assert running.stat("http.end.downstream_cx_upgrades_total") == 2


def test_curl_through_two_proxies(proxy: Start, upstream: StartUpstream) -> None:
    service = upstream(name="service")
    inner = proxy(config(service.port))
    outer = proxy(pass_config(inner.port("end")))
    done = curl("--proxytunnel", "--proxy", f"http://127.0.0.1:{outer.port('pass')}", "http://one.test/a")
    assert (done.stdout, done.stderr) == ("service: GET /a\n", "")
    assert (outer.stat("cluster.service.upstream_rq_200"), inner.stat("http.end.downstream_rq_2xx")) == (1, 1)


def test_curl_is_told_why_there_is_no_tunnel(proxy: Start) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        running = proxy(config(taken.getsockname()[1]))
        for name, status in (("web", 404), ("end", 503)):
            done = curl("--proxytunnel", "--proxy", f"http://127.0.0.1:{running.port(name)}", "http://one.test/")
            assert done.returncode == 56 and f"response {status}" in done.stderr
