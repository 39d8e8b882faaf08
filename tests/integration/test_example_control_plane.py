"""examples/control_plane does what its README says, run by the real commands."""

from __future__ import annotations

import http.client
import json
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxeny.testing import RunningProxy

EXAMPLE = Path(__file__).parents[2] / "examples" / "control_plane"
WAIT_S = 20.0


class RunningExample:
    """control_plane.py, and what it prints."""

    def __init__(self, folder: Path) -> None:
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        command = [sys.executable, str(EXAMPLE / "control_plane.py"), str(folder), "--port", "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self._lines.put(line.rstrip("\n"))

    def line(self, *parts: str) -> str:
        """The next line with all of these in it; those before it are gone."""
        end = time.monotonic() + WAIT_S
        while True:
            line = self._lines.get(timeout=max(0.0, end - time.monotonic()))
            if all(part in line for part in parts):
                return line

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()


@pytest.fixture
def resources(tmp_path: Path) -> Path:
    """The example's resources, on free ports."""
    folder = tmp_path / "resources"
    shutil.copytree(EXAMPLE / "resources", folder)
    for file in folder.iterdir():
        text = file.read_text()
        for port in (10000, 10001, 10002):
            text = text.replace(f"port_value: {port}}}", "port_value: 0}")
        file.write_text(text)
    return folder


@pytest.fixture
def plane(resources: Path) -> Iterator[RunningExample]:
    running = RunningExample(resources)
    yield running
    running.kill()


def get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def until_answer(port: int, path: str, wanted: str) -> None:
    """Ask until the answer is this one: what main has taken reaches a worker a moment later."""
    end = time.monotonic() + WAIT_S
    while (answer := get(port, path)) != (200, wanted):
        assert time.monotonic() < end, answer
        time.sleep(0.005)


def edit(file: Path, old: str, new: str) -> None:
    """As editors do it: the new file takes the old one's place."""
    text = file.read_text()
    assert old in text
    draft = file.with_name(f".{file.name}")
    draft.write_text(text.replace(old, new))
    draft.rename(file)


def test_control_plane(resources: Path, plane: RunningExample, proxy: Callable[..., RunningProxy]) -> None:
    port_of_plane = plane.line("listening on").rpartition(":")[2]
    bootstrap = (EXAMPLE / "bootstrap.yaml").read_text().replace("port_value: 9901}", "port_value: 0}")
    running = proxy(bootstrap.replace("port_value: 18000}", f"port_value: {port_of_plane}}}"))
    plane.line("demo-proxy ACK RDS")
    web, one = running.port("web"), running.port("one")
    until_answer(web, "/hello", "hello\n")

    edit(resources / "clusters.yaml", "port_value: 0}", f"port_value: {one}}}")
    plane.line("demo-proxy ACK EDS")
    until_answer(web, "/", "one\n")

    edit(resources / "routes.yaml", '"hello\\n"', '"good morning\\n"')
    version = plane.line("serving RDS").split()[2].rstrip(":")
    plane.line(f"demo-proxy ACK RDS {version}")
    until_answer(web, "/hello", "good morning\n")

    edit(resources / "routes.yaml", '["*"]', '["*", "*"]')
    reason = "Only a single wildcard domain is permitted in route web"
    refused = plane.line("demo-proxy NACK RDS", reason).split()[3].rstrip(":")
    assert get(web, "/hello") == (200, "good morning\n")
    assert f"rejected version '{refused}'" in running.admin("/xds?type=RouteConfiguration")
    (routes,) = json.loads(running.admin("/config_dump?resource=dynamic_route_configs"))["configs"]
    assert routes["version_info"] == version
    assert (routes["error_state"]["version_info"], routes["error_state"]["details"]) == (refused, reason)

    edit(resources / "routes.yaml", '["*", "*"]', "[")
    plane.line("cannot be served, all stays as it was", "routes.yaml:")
    plane.kill()
    running.wait_for_stat("cluster.control_plane.upstream_cx_destroy", 1)
    assert (get(web, "/hello"), get(web, "/")) == ((200, "good morning\n"), (200, "one\n"))
