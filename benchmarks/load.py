"""Load: wrk for requests, sockets of our own for idle connections."""

import re
import socket
import subprocess
from dataclasses import dataclass

from benchmarks.processes import BenchmarkError

_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60000.0}


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk measured: times in ms."""

    requests: int
    per_second: float
    p50: float
    p99: float


def run_wrk(port: int, path: str, connections: int, seconds: float, headers: tuple[str, ...] = ()) -> Load:
    """One round; BenchmarkError when an answer was not 2xx or a connection failed."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency", "--timeout", "20s"]
    for header in headers:
        command += ["-H", header]
    command.append(f"http://127.0.0.1:{port}{path}")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    text = done.stdout
    if done.returncode or "Requests/sec" not in text:
        raise BenchmarkError(f"wrk failed: {done.stderr or text}")
    if bad := re.search(r"Non-2xx.*|Socket errors: connect [1-9].*", text):
        raise BenchmarkError(bad.group(0))
    count, rate = re.search(r"(\d+) requests in", text), re.search(r"Requests/sec:\s+([\d.]+)", text)
    assert count and rate
    return Load(int(count.group(1)), float(rate.group(1)), _percentile(text, 50), _percentile(text, 99))


def _percentile(text: str, percent: int) -> float:
    found = re.search(rf"^\s+{percent}%\s+([\d.]+)(us|ms|s|m)\s*$", text, re.MULTILINE)
    return float(found.group(1)) * _UNITS[found.group(2)] if found else 0.0


class IdleConnections:
    """Connections that made one request each and then rest."""

    def __init__(self, port: int, count: int, path: str) -> None:
        probe = f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
        self._socks = []
        for _ in range(count):
            sock = socket.create_connection(("127.0.0.1", port), timeout=20)
            self._socks.append(sock)
            sock.sendall(probe)
            if b" 200 " not in sock.recv(4096):
                raise BenchmarkError("an idle connection's request failed")

    def close(self) -> None:
        for sock in self._socks:
            sock.close()
