"""The router through the real command: Python filters of attempts, mirrors that do not take what they get."""

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.integration.configs import http as http_config

from proxeny.testing import FakeUpstream, RunningProxy
from proxeny.testing.upstream import Answer

Start = Callable[..., RunningProxy]
StartUpstream = Callable[..., FakeUpstream]

FILTERS = """
import asyncio
import proxeny


class Count(proxeny.HttpFilter):
    def on_request(self, request):
        request.headers["x-seen"] = request.headers.get("x-seen", "") + "+"

    async def on_response(self, response):
        await asyncio.sleep(0)
        response.headers["x-answered"] = "yes"


class Refuse(proxeny.HttpFilter):
    async def on_request(self, request):
        await asyncio.sleep(0)
        request.respond(403, body="not from here")


class Body(proxeny.HttpFilter):
    async def on_request(self, request):
        request.set_body((await request.body()).upper())
"""
TYPES = "type.googleapis.com"
ROUTER = f"{TYPES}/envoy.extensions.filters.http.router.v3.Router"
CODEC = f"{TYPES}/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec"


def with_filter(port: int, folder: Path, name: str) -> str:
    """Every attempt passes through the Python filter ``name``; 5xx are retried."""
    (folder / "of_attempts.py").write_text(FILTERS)
    python = (
        f'{{name: own, typed_config: {{"@type": {TYPES}/proxeny.filters.http.python.v3.Python, '
        f'filter: "of_attempts:{name}", python_path: ["{folder}"]}}}}'
    )
    codec = f'{{name: codec, typed_config: {{"@type": {CODEC}}}}}'
    retries = "retry_policy: {retry_on: 5xx, num_retries: 2, retry_back_off: {base_interval: 0.001s}}"
    config = http_config(port).replace(
        f'"@type": {ROUTER}', f'"@type": {ROUTER}, upstream_http_filters: [{python}, {codec}]'
    )
    return config.replace("{cluster: service}", f"{{cluster: service, {retries}}}")


def send(port: int, method: str = "GET", body: bytes | None = None) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, "/", body)
        response = connection.getresponse()
        return response.status, response.read(), dict(response.getheaders())
    finally:
        connection.close()


def test_a_python_filter_sees_every_attempt(proxy: Start, upstream: StartUpstream, tmp_path: Path) -> None:
    service = upstream()
    answers = [Answer(503), Answer(500), Answer(200, b"good")]
    service.answer = lambda request: answers.pop(0)
    running = proxy(with_filter(service.port, tmp_path, "Count"))
    status, body, headers = send(running.port("web"))
    assert (status, body) == (200, b"good")
    assert headers["x-answered"] == "yes"
    assert [request.headers["x-seen"] for request in service.requests] == ["+", "++", "+++"]


def test_a_python_filter_answers_for_the_upstream(proxy: Start, upstream: StartUpstream, tmp_path: Path) -> None:
    service = upstream()
    running = proxy(with_filter(service.port, tmp_path, "Refuse"))
    for _ in range(3):
        assert send(running.port("web"))[:2] == (403, b"not from here")
    assert service.requests == []


def test_a_python_filter_changes_the_body_of_an_attempt(proxy: Start, upstream: StartUpstream, tmp_path: Path) -> None:
    service = upstream()
    answers = [Answer(503), Answer(200, b"good")]
    service.answer = lambda request: answers.pop(0)
    running = proxy(with_filter(service.port, tmp_path, "Body"))
    assert send(running.port("web"), "POST", b"hello")[:2] == (200, b"good")
    assert [request.body for request in service.requests] == [b"HELLO", b"HELLO"]


@pytest.fixture
def deaf() -> Iterator[int]:
    """The port of a peer that accepts and never reads."""
    listener = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def accept() -> None:
        try:
            while True:
                held.append(listener.accept()[0])
        except OSError:
            pass

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    thread.join()
    listener.close()
    for sock in held:
        sock.close()


def test_a_mirror_that_never_reads_holds_nobody_up(proxy: Start, upstream: StartUpstream, deaf: int) -> None:
    service = upstream()
    config = http_config(service.port)
    start = config.index("  - name: service")
    mirror = config[start:].replace("service", "mirror").replace(str(service.port), str(deaf))
    config = config.replace("{cluster: service}", "{cluster: service, request_mirror_policies: [{cluster: mirror}]}")
    running = proxy(config + mirror)
    status, _, _ = send(running.port("web"), "POST", b"x" * 20_000_000)
    assert status == 200
    assert len(service.requests[0].body) == 20_000_000
    assert running.stat("cluster.service.retry_or_shadow_abandoned") == 1
    assert running.stat("cluster.mirror.upstream_rq_total") == 1
