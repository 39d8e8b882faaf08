"""examples/control_plane does what it says: the real command before the control plane that serves its folder."""

from __future__ import annotations

import http.client
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxeny.testing import FakeUpstream, RunningProxy

EXAMPLE = Path(__file__).parents[2] / "examples" / "control_plane"
WAIT_S = 20.0


class Served:
    """The example's control plane, on a copy of its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        command = [sys.executable, str(EXAMPLE / "control_plane.py"), str(folder), "--port", "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.port = int(self.line("serving at").rpartition(":")[2])

    def line(self, start: str) -> str:
        """The next line that starts so."""
        assert self.process.stdout is not None
        return next(line for line in self.process.stdout if line.startswith(start))

    def change(self, file: str, old: str, new: str) -> None:
        path = self.folder / file
        text = path.read_text()
        assert old in text
        fresh = path.with_suffix(".new")
        fresh.write_text(text.replace(old, new))
        fresh.replace(path)

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def served(tmp_path: Path, upstream: Callable[..., FakeUpstream]) -> Iterator[Served]:
    folder = tmp_path / "resources"
    shutil.copytree(EXAMPLE / "resources", folder)
    for file, old, new in (("clusters.yaml", "8080", str(upstream().port)), ("listeners.yaml", "10000", "0")):
        (folder / file).write_text((folder / file).read_text().replace(old, new))
    made = Served(folder)
    yield made
    made.close()


def get(port: int, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def test_a_folder_is_served(served: Served, proxy: Callable[..., RunningProxy]) -> None:
    config = (EXAMPLE / "envoy.yaml").read_text().replace("9901", "0").replace("18000", str(served.port))
    running = proxy(config)
    port = running.port("web")
    assert get(port, "/hello") == "hello\n"
    assert get(port, "/x") == "upstream: GET /x\n"
    served.change("routes.yaml", "hello\\n", "changed\\n")
    deadline = time.monotonic() + WAIT_S
    while get(port, "/hello") != "changed\n":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    served.change("routes.yaml", '["*"]', '["*", "*"]')
    assert "Only a single wildcard domain is permitted" in served.line("refused: RDS")
    served.change("routes.yaml", "resources:", "resources: {")
    assert served.line("not served: ")
    assert get(port, "/hello") == "changed\n"
