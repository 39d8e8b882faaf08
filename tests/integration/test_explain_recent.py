"""``/explain/recent``: the last failed requests of all workers, told as they happened."""

import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from proxeny.testing import RunningProxy
from proxeny.testing.upstream import FakeUpstream

Start = Callable[..., RunningProxy]
StartUpstream = Callable[..., FakeUpstream]
TYPE = "type.googleapis.com/envoy.extensions"

CONFIG = """
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
static_resources:
  listeners:
  - name: web
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - name: only
      filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": TYPE.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          stream_idle_timeout: 0.2s
          http_filters:
          - {name: envoy.filters.http.router, typed_config: {"@type": TYPE.filters.http.router.v3.Router}}
          route_config:
            name: routes
            virtual_hosts:
            - name: api
              domains: [api.test]
              routes:
              - {name: post, match: {prefix: /v1/, headers: [{name: ":method", string_match: {exact: POST}}]}, direct_response: {status: 200}}
              - {name: ok, match: {path: /ok}, route: {cluster: service}}
              - {name: refused, match: {path: /refused}, route: {cluster: refused, retry_policy: {retry_on: connect-failure, num_retries: 2}}}
              - {name: teapot, match: {path: /teapot}, direct_response: {status: 418}}
              - {name: fine, match: {path: /fine}, direct_response: {status: 204}}
              - {name: moved, match: {path: /moved}, redirect: {path_redirect: /}}
              - {name: nohosts, match: {path: /nohosts}, route: {cluster: empty}}
              - {name: slow, match: {path: /slow}, route: {cluster: service}}
  clusters:
  - name: service
    load_assignment: {cluster_name: service, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: PORT}}}}]}]}
  - {name: empty}
  - name: refused
    load_assignment: {cluster_name: refused, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 1}}}}]}]}
"""  # noqa: E501


def answer(connection: socket.socket) -> bytes:
    """One response without a body, or with one of a known length."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return data
        data += more
    return data


def ask(running: RunningProxy, path: str, *headers: str, method: str = "GET", host: str = "api.test") -> bytes:
    with socket.create_connection(("127.0.0.1", running.port("web"))) as connection:
        connection.settimeout(20)
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers, "Connection: close", "", ""]
        connection.sendall("\r\n".join(lines).encode("latin-1"))
        return answer(connection)


def recent(running: RunningProxy, query: str = "", at_least: int = 1) -> list[dict[str, Any]]:
    """Once there are so many: workers tell of them within a tenth of a second."""
    deadline = time.monotonic() + 10
    while True:
        found: list[dict[str, Any]] = json.loads(running.admin(f"/explain/recent?format=json&{query}"))[
            "failed_requests"
        ]
        if len(found) >= at_least or time.monotonic() > deadline:
            return found
        time.sleep(0.01)


@pytest.fixture
def service(proxy: Start, upstream: StartUpstream) -> RunningProxy:
    return proxy(CONFIG.replace("TYPE", TYPE).replace("PORT", str(upstream().port)))


def test_a_request_without_a_route(service: RunningProxy) -> None:
    ask(service, "/v1/users?token=x", "Authorization: Bearer secret", "X-Long: " + "a" * 500, "Cookie: a=secret")
    (one,) = recent(service)
    assert (one["code"], one["flags"], one["details"]) == (404, "NR", "route_not_found")
    assert (one["method"], one["authority"], one["path"]) == ("GET", "api.test", "/v1/users?token=x")
    assert (one["listener"], one["filter_chain"], one["connection_manager"]) == ("web", "only", "web")
    assert one["client"].startswith("127.0.0.1:")
    assert one["no_route"]["virtual_host"] == "api"
    assert one["no_route"]["nearest_routes"][0] == {
        "position": 0,
        "name": "post",
        "match": "prefix '/v1/', header :method",
        "why_not": "header :method is 'GET', not 'POST'",
    }
    headers = dict(one["headers"])
    assert headers["authorization"] == headers["cookie"] == "[redacted]"
    assert headers["x-long"] == "a" * 125 + "..."
    text = service.admin("/explain/recent")
    assert "GET http://api.test/v1/users?token=x: 404 NR route_not_found" in text
    assert "virtual host 'api' (domain api.test): no route matches" in text
    assert "secret" not in text


def test_no_virtual_host(service: RunningProxy) -> None:
    ask(service, "/", host="apj.test")
    (one,) = recent(service)
    assert one["no_route"]["virtual_host"] is None
    assert one["no_route"]["other_virtual_hosts"] == [
        {"name": "api", "domain": "api.test", "why": "host apj.test is not api.test"}
    ]


def test_an_upstream_that_refuses(service: RunningProxy) -> None:
    ask(service, "/refused")
    (one,) = recent(service)
    assert (one["code"], one["attempts"], one["route"], one["cluster"]) == (503, 3, "refused", "refused")
    assert set(one["flags"].split(",")) == {"UF", "URX"}
    assert one["host"] == "127.0.0.1:1"
    assert "Connection_refused" in one["details"] or "Connection refused" in one["transport_failure"]
    assert one["no_route"] is None


def test_what_is_no_failure_is_not_kept(service: RunningProxy) -> None:
    for path in ("/ok", "/fine", "/moved"):
        ask(service, path)
    ask(service, "/v1/x", "Content-Length: 0", method="POST")
    ask(service, "/teapot")
    (one,) = recent(service)
    assert (one["code"], one["route"], one["details"]) == (418, "teapot", "direct_response")


def test_resets_timeouts_and_nonsense(service: RunningProxy) -> None:
    with socket.create_connection(("127.0.0.1", service.port("web"))) as connection:
        connection.sendall(b"POST /ok HTTP/1.1\r\nHost: api.test\r\nContent-Length: 9\r\n\r\nabc")
        service.wait_for_stat("http.web.downstream_rq_active", 1)
    with socket.create_connection(("127.0.0.1", service.port("web"))) as connection:
        connection.settimeout(20)
        connection.sendall(b"POST /ok HTTP/1.1\r\nHost: api.test\r\nContent-Length: 9\r\n\r\nabc")
        assert answer(connection).startswith(b"HTTP/1.1 408")
    with socket.create_connection(("127.0.0.1", service.port("web"))) as connection:
        connection.settimeout(20)
        connection.sendall(b"GET / HTTP/1.1\r\nbad header\r\n\r\n")
        assert answer(connection).startswith(b"HTTP/1.1 400")
    found = recent(service, at_least=3)
    assert [(one["code"], one["flags"]) for one in found] == [(400, "DPE"), (408, "SI"), (0, "DC")]
    assert found[2]["details"] == "downstream_remote_disconnect"
    assert "[1m" not in service.admin("/explain/recent")


def test_filters_order_and_bounds(service: RunningProxy) -> None:
    for path in ("/nohosts", "/teapot", "/nothing"):
        ask(service, path)
    assert [one["path"] for one in recent(service, at_least=3)] == ["/nothing", "/teapot", "/nohosts"]
    assert [one["path"] for one in recent(service, "code=503")] == ["/nohosts"]
    assert [one["path"] for one in recent(service, "code=4xx")] == ["/nothing", "/teapot"]
    assert [one["path"] for one in recent(service, "flag=nr")] == ["/nothing"]
    assert [one["path"] for one in recent(service, "route=teapot")] == ["/teapot"]
    assert [one["path"] for one in recent(service, "cluster=empty&listener=web&host=api.test")] == ["/nohosts"]
    assert [one["path"] for one in recent(service, "limit=1")] == ["/nothing"]
    assert service.admin("/explain/recent?code=abc") == "code: 'abc' is neither a code nor a class like 5xx\n"
    assert service.admin("/explain/recent?limit=-1") == "limit: '-1' is no number\n"
    for number in range(120):
        ask(service, f"/flood/{number}")
    deadline = time.monotonic() + 10
    while (found := recent(service, "limit=1000"))[0]["path"] != "/flood/119" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [one["path"] for one in found] == [f"/flood/{number}" for number in range(119, 19, -1)]


def test_all_workers_and_those_that_died(proxy: Start, upstream: StartUpstream) -> None:
    running = proxy(CONFIG.replace("TYPE", TYPE).replace("PORT", str(upstream().port)), concurrency=2)
    workers = set()
    for number in range(200):
        ask(running, f"/nothing/{number}")
        if number % 20 == 19:
            workers = {one["worker"] for one in recent(running, "limit=1000")}
            if workers == {0, 1}:
                break
    assert workers == {0, 1}
    before = len(recent(running, "limit=1000"))
    import os
    import signal

    os.kill(running.worker_pids()[0], signal.SIGKILL)
    running.wait_for_stat("server.worker_restarts", 1)
    assert len(recent(running, "limit=1000")) >= before


def test_hostile_bytes_do_not_reach_a_terminal(service: RunningProxy) -> None:
    ask(service, "/nothing", "X-Evil: \x9b1m\tx")
    recent(service)
    assert "x-evil: \\x9b1m\\x09x" in service.admin("/explain/recent")
