"""How many Python-level calls one request costs in a worker: a count, free of the machine's noise.

Proxeny counts them itself when PROXENY_COUNT_CALLS=1 is set, in the stat `server.python_calls`.
"""

import re
import time
import urllib.request
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.configs import make_peer, make_upstream
from benchmarks.processes import BenchmarkError, free_ports
from benchmarks.runner import run_load
from benchmarks.scenarios import Scenario

STAT = "server.python_calls"
SECONDS = 2.0
PUBLISH_SECONDS = 0.5
"""A worker publishes its count every 200 ms: wait that out before reading it."""


def calls_per_request(scenario: Scenario) -> float:
    """Python calls per request of a load scenario."""
    with TemporaryDirectory(prefix="proxeny-calls-") as name:
        folder = Path(name)
        folder.chmod(0o777)
        upstream_port, port = free_ports(2)
        upstream = make_upstream(upstream_port, folder)
        peer = make_peer("proxeny", scenario.shape, port, upstream_port, folder)
        peer.env["PROXENY_COUNT_CALLS"] = "1"
        try:
            upstream.start()
            peer.start()
            probe = f"GET {scenario.path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode()
            peer.wait_serving(probe)
            run_load(scenario, port, folder, 1)
            admin = (folder / "proxeny.admin").read_text()
            before = _count(admin)
            load = run_load(scenario, port, folder, SECONDS)
            return (_count(admin) - before) / load.requests
        finally:
            peer.stop()
            upstream.stop()


def _count(admin: str) -> int:
    time.sleep(PUBLISH_SECONDS)
    with urllib.request.urlopen(f"http://{admin}/stats?filter=^{re.escape(STAT)}$", timeout=10) as answer:
        text = answer.read().decode()
    found = re.search(rf"^{re.escape(STAT)}: (\d+)$", text, re.MULTILINE)
    if not found:
        raise BenchmarkError(f"no stat {STAT}: this Proxeny does not count its Python calls")
    return int(found.group(1))
