"""The examples do what they say, run by the real command."""

import http.client
import importlib
import json
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from proxeny.testing import FakeUpstream, ReceivedRequest, RunningProxy
from proxeny.testing.upstream import Answer

EXAMPLES = Path(__file__).parents[2] / "examples"
Start = Callable[..., RunningProxy]


def with_free_ports(config: str, upstream: int, profiles: int) -> str:
    for old, new in ((9901, 0), (10000, 0), (15001, 0), (15006, 0), (8080, upstream), (8081, profiles)):
        config = config.replace(f" {old}}}", f" {new}}}").replace(f" {old},", f" {new},")
    return config


def start(proxy: Start, example: str, upstream: FakeUpstream, profiles: int = 0) -> int:
    """Run an example with its ports replaced; the port of its listener."""
    config = with_free_ports((EXAMPLES / example / "envoy.yaml").read_text(), upstream.port, profiles)
    return proxy(config, env={"PYTHONPATH": str(EXAMPLES / example)}).port("web")


def get(port: int, path: str, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def get_server(port: int, path: str) -> tuple[int, str | None]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        return response.status, response.getheader("server")
    finally:
        connection.close()


def listening_sockets(port: int) -> list[str]:
    """Lines of ``ss -ltn`` for a port."""
    command = ["ss", "-Hltn", "sport", "=", f":{port}"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.splitlines()


def test_api_key_auth(proxy: Start, upstream: Callable[..., FakeUpstream]) -> None:
    service = upstream()
    port = start(proxy, "api_key_auth", service)
    assert get(port, "/x") == (401, b'{"error": "an API key is required"}')
    assert get(port, "/x", x_api_key="guess")[0] == 401
    assert get(port, "/health")[0] == 200
    assert get(port, "/x", x_api_key="alice-secret", x_consumer="root")[0] == 200
    assert get(port, "/admin/x", x_api_key="alice-secret")[0] == 403
    assert get(port, "/admin/x", x_api_key="bob-secret")[0] == 200
    seen = [(request.path, request.headers.get("x-consumer")) for request in service.requests]
    assert seen == [("/health", None), ("/x", "alice"), ("/admin/x", "bob")]
    assert all("x-api-key" not in request.headers for request in service.requests)


def test_async_enrichment(proxy: Start, upstream: Callable[..., FakeUpstream]) -> None:
    release = threading.Event()

    def profile(request: ReceivedRequest) -> Answer:
        if request.path == "/profiles/slow":
            release.wait(10)
        if request.path == "/profiles/eve":
            return Answer(404)
        return Answer(200, json.dumps({"plan": "gold", "region": "eu", "secret": 1}).encode())

    service, profiles = upstream(), upstream(profile)
    port = start(proxy, "async_enrichment", service, profiles.port)
    try:
        for _ in range(3):
            assert get(port, "/a", cookie="user=ann", x_user_plan="forged")[0] == 200
        assert get(port, "/b", cookie="user=eve")[0] == 200
        assert get(port, "/c")[0] == 200
        assert get(port, "/d", cookie="user=slow")[0] == 200
    finally:
        release.set()
    plans = [(request.path, request.headers.get("x-user-plan")) for request in service.requests]
    assert plans == [("/a", "gold")] * 3 + [("/b", None), ("/c", None), ("/d", None)]
    assert [request.path for request in profiles.requests].count("/profiles/ann") == 1


def test_json_redaction(proxy: Start, upstream: Callable[..., FakeUpstream]) -> None:
    documents = {
        "/user": Answer(
            200, b'{"name":"\xc3\xa9","ssn":1,"list":[{"password":"x"}]}', {"content-type": "application/json"}
        ),
        "/cards/1": Answer(200, b'{"number":1,"ssn":2}', {"content-type": "application/json; charset=utf-8"}),
        "/broken": Answer(200, b'{"ssn":', {"content-type": "application/json"}),
        "/zipped": Answer(200, b"..", {"content-type": "application/json", "content-encoding": "gzip"}),
        "/text": Answer(200, b"ssn" * 700_000, {"content-type": "text/plain"}),
    }
    port = start(proxy, "json_redaction", upstream(lambda request: documents[request.path]))
    assert get(port, "/user") == (200, '{"name":"é","ssn":"***","list":[{"password":"***"}]}'.encode())
    assert get(port, "/cards/1") == (200, b'{"number":"***","ssn":2}')
    assert get(port, "/broken") == (502, b"the answer cannot be redacted")
    assert get(port, "/zipped")[0] == 502
    assert get(port, "/text") == (200, b"ssn" * 700_000)


def test_envoyfilter(proxy: Start, upstream: Callable[..., FakeUpstream], tmp_path: Path) -> None:
    folder = EXAMPLES / "envoyfilter"
    service = upstream()
    config = with_free_ports((folder / "envoy.yaml").read_text(), service.port, service.port)
    running = proxy(config, concurrency=2)
    assert len(listening_sockets(running.port("virtualOutbound"))) == 1
    assert get_server(running.port("virtualInbound"), "/version") == (200, "istio-envoy")
    assert running.stop() == 0

    reuse_port = (folder / "reuse-port.yaml").read_text().replace("portNumber: 15001", "portNumber: 0")
    (tmp_path / "reuse-port.yaml").write_text(reuse_port)
    patches = ("--patch", str(tmp_path / "reuse-port.yaml"), "--patch", str(folder / "reviews.yaml"))
    running = proxy(config, patches, concurrency=2)
    assert len(listening_sockets(running.port("virtualOutbound"))) == 2
    assert get_server(running.port("virtualInbound"), "/other") == (200, "reviews")
    assert get(running.port("virtualInbound"), "/version") == (200, b"v1")
    assert running.stat("server.patches_applied") == 5
    assert running.stat("server.patches_unmatched") == 0
    assert [request.path for request in service.requests] == ["/version", "/other"]


def through(port: int, request: str) -> http.client.HTTPResponse:
    """The answer to a request as clients of a forward proxy send it, its body read."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(request.encode())
        response = http.client.HTTPResponse(client)
        response.begin()
        response.body = response.read()  # type: ignore[attr-defined]
        return response


def test_forward_proxy(proxy: Start, upstream: Callable[..., FakeUpstream]) -> None:
    service = upstream(lambda request: Answer(200, request.headers["host"].encode()))
    config = with_free_ports((EXAMPLES / "forward_proxy" / "envoy.yaml").read_text(), 0, 0)
    running = proxy(config, concurrency=2)
    port = running.port("web")
    there = f"localhost:{service.port}"
    for _ in range(4):
        answer = through(port, f"GET http://{there}/x HTTP/1.1\r\nHost: {there}\r\n\r\n")
        assert (answer.status, answer.body) == (200, there.encode())  # type: ignore[attr-defined]
    assert running.stat("dns_cache.names.num_hosts") == running.stat("cluster.anywhere.membership_total") == 1
    assert [request.path for request in service.requests] == ["/x"] * 4
    assert through(port, "GET / HTTP/1.1\r\nHost: metadata\r\n\r\n").status == 403
    assert through(port, "CONNECT db.internal:5432 HTTP/1.1\r\nHost: db.internal:5432\r\n\r\n").status == 403
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(f"CONNECT {there} HTTP/1.1\r\nHost: {there}\r\n\r\n".encode())
        assert client.recv(4096).startswith(b"HTTP/1.1 200 OK\r\n")
        client.sendall(b"GET /tunnel HTTP/1.1\r\nHost: inside\r\n\r\n")
        assert b"inside" in client.recv(4096)


def test_grpc_json(proxy: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES / "grpc_json"))
    greeter = importlib.import_module("server")
    descriptors = tmp_path / "greeter.pb"
    descriptors.write_bytes(greeter.descriptor_set())
    server, upstream = greeter.serve("127.0.0.1:0")
    try:
        config = with_free_ports((EXAMPLES / "grpc_json" / "envoy.yaml").read_text(), upstream, upstream)
        port = proxy(config.replace("greeter.pb", str(descriptors))).port("web")
        assert get(port, "/hello/ann?times=3") == (200, b'{"text":"Hello, ann!","number":"3"}')
        lines = b'{"text":"Hello, ann!","number":"1"}\n{"text":"Hello, ann!","number":"2"}\n'
        assert get(port, "/hello/ann/count?times=2") == (200, lines)
        assert get(port, "/hello/nobody") == (404, b'{"code":5,"message":"there is nobody","details":[]}')
        assert get(port, "/hello/ann?other=1")[0] == 400
        assert get(port, "/elsewhere")[0] == 404
    finally:
        server.stop(None).wait()
