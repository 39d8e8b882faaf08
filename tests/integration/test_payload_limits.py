"""Bodies that a filter wants to hold, and that are larger than may be held."""

import http.client
import os
import time
from collections.abc import Callable
from pathlib import Path

from tests.integration.configs import http as http_config

from proxeny.testing import FakeUpstream, RunningProxy
from proxeny.testing.upstream import Answer

Start = Callable[..., RunningProxy]
StartUpstream = Callable[..., FakeUpstream]

HOLDING = """
import proxeny


class Requests(proxeny.HttpFilter):
    buffer_request_body = True

    def on_request_body(self, request, body, end):
        return None


class Responses(proxeny.HttpFilter):
    buffer_response_body = True

    def on_response_body(self, response, body, end):
        return None
"""


def start(proxy: Start, service: FakeUpstream, folder: Path, name: str) -> tuple[RunningProxy, Path]:
    """A proxy whose filter holds whole bodies, of which 1,000 bytes may be held; and its access log."""
    (folder / "holding.py").write_text(HOLDING)
    log = folder / "access.log"
    kind = "type.googleapis.com/proxeny.filters.http.python.v3.Python"
    item = f'- {{name: holding, typed_config: {{"@type": {kind}, filter: "holding:{name}"}}}}'
    config = http_config(service.port, str(log)).replace("http_filters:", f"http_filters:\n          {item}")
    config = config.replace("%REQ(:PATH)% %RESPONSE_CODE%", "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%")
    config = config.replace("  - name: web\n", "  - name: web\n    per_connection_buffer_limit_bytes: 1000\n")
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    running = proxy(config, ("--file-flush-interval-msec", "10"), env={"PYTHONPATH": path})
    return running, log


def ask(port: int, body: bytes, **headers: str) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("POST", "/", body, named)
        response = connection.getresponse()
        return response.status, response.read(), response.headers
    finally:
        connection.close()


def line_of(log: Path) -> str:
    deadline = time.monotonic() + 20
    while not (log.exists() and log.read_text().endswith("\n")):
        assert time.monotonic() < deadline, "nothing was logged"
        time.sleep(0.005)
    return log.read_text()


def test_request_too_large(proxy: Start, upstream: StartUpstream, tmp_path: Path) -> None:
    service = upstream()
    running, log = start(proxy, service, tmp_path, "Requests")
    status, body, headers = ask(running.port("web"), b"x" * 2000)
    assert (status, body, headers["content-type"]) == (413, b"Payload Too Large", "text/plain")
    assert line_of(log) == "413 - request_payload_too_large\n"
    assert running.stat("http.web.downstream_rq_too_large") == 1
    assert not service.requests
    assert ask(running.port("web"), b"x" * 500)[0] == 200


def test_grpc_request_too_large(proxy: Start, upstream: StartUpstream, tmp_path: Path) -> None:
    running, log = start(proxy, upstream(), tmp_path, "Requests")
    status, body, headers = ask(running.port("web"), b"x" * 2000, content_type="application/grpc")
    assert (status, body) == (200, b"")
    assert (headers["grpc-status"], headers["grpc-message"]) == ("2", "Payload Too Large")
    assert line_of(log) == "200 - request_payload_too_large\n"


def test_response_too_large(proxy: Start, upstream: StartUpstream, tmp_path: Path) -> None:
    service = upstream()
    service.answer = lambda request: Answer(200, b"x" * 2000)
    running, log = start(proxy, service, tmp_path, "Responses")
    status, body, headers = ask(running.port("web"), b"")
    assert (status, body, headers["content-type"]) == (500, b"Internal Server Error", "text/plain")
    assert line_of(log) == "500 - response_payload_too_large\n"
    assert running.stat("http.web.rs_too_large") == 1
