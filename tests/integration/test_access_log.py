"""Access logs under load: rotation by two workers, readers that do not read, records of requests under way."""

import http.client
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.integration.configs import ADMIN

from proxeny.testing import FakeUpstream, RunningProxy

Start = Callable[..., RunningProxy]
StartUpstream = Callable[..., FakeUpstream]

TYPES = "type.googleapis.com/envoy.extensions"


def config(path: Path, text: str, hcm: str = "", routes: str = "", clusters: str = "") -> str:
    """A manager that answers by itself and logs to ``path``."""
    return f"""
{ADMIN}
static_resources:
  listeners:
  - name: web
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": {TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
{hcm}
          access_log:
          - name: envoy.access_loggers.file
            typed_config:
              "@type": {TYPES}.access_loggers.file.v3.FileAccessLog
              path: {path}
              log_format: {{text_format_source: {{inline_string: {json.dumps(text)}}}}}
          http_filters:
          - {{name: envoy.filters.http.router, typed_config: {{"@type": {TYPES}.filters.http.router.v3.Router}}}}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
{routes}
              - {{match: {{prefix: /}}, direct_response: {{status: 200}}}}
{clusters}
"""


def requests(port: int, prefix: str, count: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    for number in range(count):
        connection.request("GET", f"/{prefix}-{number}")
        connection.getresponse().read()
    connection.close()


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def test_rotation_under_load_loses_and_mixes_nothing(proxy: Start, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    running = proxy(
        config(log, "[%REQ(:PATH)%] %RESPONSE_CODE% " + "x" * 200 + "\n"),
        ("--file-flush-interval-msec", "5", "--file-flush-min-size-kb", "1"),
        concurrency=2,
    )
    port = running.port("web")
    clients = [threading.Thread(target=requests, args=(port, f"c{number}", 400)) for number in range(6)]
    for client in clients:
        client.start()
    rotated = []
    while any(client.is_alive() for client in clients):
        aside = tmp_path / f"access.log.{len(rotated)}"
        os.rename(log, aside)
        rotated.append(aside)
        if len(rotated) % 2:
            running.admin("/reopen_logs", "POST")
        else:
            running.signal(signal.SIGUSR1)
        wait_until(log.exists, "the log was not opened again")
    wanted = {f"[/c{client}-{number}] 200 {'x' * 200}" for client in range(6) for number in range(400)}

    def lines() -> list[str]:
        return [line for path in (*rotated, log) for line in path.read_text().splitlines()]

    wait_until(lambda: len(lines()) >= len(wanted), "lines are missing")
    assert len(rotated) > 2
    assert sorted(lines()) == sorted(wanted)
    assert running.stat("filesystem.write_failed") == 0


def test_a_reader_that_does_not_read_stops_no_request(proxy: Start, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    running = proxy(
        config(pipe, "%REQ(:PATH)% " + "y" * 8000 + "\n"),
        ("--file-flush-interval-msec", "5", "--file-flush-min-size-kb", "1"),
        concurrency=1,
    )
    # More than a pipe holds (64 KB): were the worker to wait for the reader, no answer would come.
    requests(running.port("web"), "p", 60)
    os.set_blocking(reader, True)
    data = b""
    while data.count(b"\n") < 60:
        data += os.read(reader, 1 << 16)
    os.close(reader)
    assert [line.split(b" ")[0] for line in data.splitlines()] == [b"/p-%d" % number for number in range(60)]
    assert {len(line.split(b" ")[1]) for line in data.splitlines()} == {8000}


def test_a_full_disk_drops_lines_and_answers(proxy: Start) -> None:
    running = proxy(config(Path("/dev/full"), "%REQ(:PATH)%\n"), ("--file-flush-interval-msec", "5"), concurrency=1)
    requests(running.port("web"), "f", 20)
    assert running.wait_for_stat("filesystem.write_failed", 1)
    requests(running.port("web"), "g", 20)


def test_records_of_a_request_under_way(proxy: Start, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    silent = socket.create_server(("127.0.0.1", 0))
    running = proxy(
        config(
            log,
            "%ACCESS_LOG_TYPE% %RESPONSE_CODE%\n",
            hcm="""          access_log_options:
            {access_log_flush_interval: 0.05s, flush_access_log_on_new_request: true}""",
            routes="              - {match: {prefix: /held}, route: {cluster: silent}}",
            clusters=f"""  clusters:
  - name: silent
    type: STATIC
    load_assignment:
      cluster_name: silent
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {silent.getsockname()[1]}}}}}}}""",
        ),
        ("--file-flush-interval-msec", "5"),
        concurrency=1,
    )
    client = socket.create_connection(("127.0.0.1", running.port("web")))
    client.sendall(b"GET /held HTTP/1.1\r\nhost: a\r\n\r\n")

    def kinds() -> list[str]:
        return log.read_text().splitlines() if log.exists() else []

    wait_until(lambda: kinds().count("DownstreamPeriodic 0") >= 3, "no periodic records")
    assert kinds()[0] == "DownstreamStart 0"
    client.close()
    wait_until(lambda: "DownstreamEnd 0" in kinds(), "no record at the end")
    assert kinds()[-1] == "DownstreamEnd 0"
    silent.close()
