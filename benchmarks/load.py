"""Load: wrk for HTTP/1, h2load for HTTP/2, sockets of our own for idle connections."""

import re
import socket
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import BenchmarkError

_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60000.0}


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk or h2load measured: times in ms; h2load tells no percentiles (0)."""

    requests: int
    per_second: float
    p50: float
    p99: float


def run_wrk(
    url: str, connections: int, seconds: float, headers: tuple[str, ...] = (), script: Path | None = None
) -> Load:
    """One round; BenchmarkError when an answer was not 2xx or a connection failed. ``script``: of wrk's, in Lua."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency", "--timeout", "20s"]
    if script is not None:
        command += ["-s", str(script)]
    for header in headers:
        command += ["-H", header]
    command.append(url)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    text = done.stdout
    if done.returncode or "Requests/sec" not in text:
        raise BenchmarkError(f"wrk failed: {done.stderr or text}")
    if bad := re.search(r"Non-2xx.*|Socket errors: .*[1-9].*", text):
        raise BenchmarkError(bad.group(0))
    count, rate = re.search(r"(\d+) requests in", text), re.search(r"Requests/sec:\s+([\d.]+)", text)
    assert count and rate
    return Load(int(count.group(1)), float(rate.group(1)), _percentile(text, 50), _percentile(text, 99))


def run_h2load(
    url: str, connections: int, streams: int, seconds: float, headers: tuple[str, ...] = (), body: Path | None = None
) -> Load:
    """One round over HTTP/2 with prior knowledge, or ALPN for https; ``body`` makes it POST; errors as for wrk."""
    command = ["h2load", f"-c{connections}", f"-m{streams}", f"-D{max(1, round(seconds))}"]
    for header in headers:
        command += ["-H", header]
    if body is not None:
        command += ["-d", str(body)]
    done = subprocess.run([*command, url], capture_output=True, text=True, check=False)
    text = done.stdout
    rate = re.search(r"finished in .*?, ([\d.]+) req/s", text)
    counts = re.search(r"(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored", text)
    if done.returncode or rate is None or counts is None:
        raise BenchmarkError(f"h2load failed: {done.stderr or text}")
    if counts.group(1) != counts.group(2) or re.search(r"status codes: 0 2xx", text):
        raise BenchmarkError(counts.group(0))
    return Load(int(counts.group(1)), float(rate.group(1)), 0.0, 0.0)


def _percentile(text: str, percent: int) -> float:
    found = re.search(rf"^\s+{percent}%\s+([\d.]+)(us|ms|s|m)\s*$", text, re.MULTILINE)
    return float(found.group(1)) * _UNITS[found.group(2)] if found else 0.0


class IdleConnections:
    """Connections that made one request each and then rest."""

    def __init__(self, port: int, count: int, path: str, tls: ssl.SSLContext | None = None) -> None:
        probe = f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
        self._socks = []
        for _ in range(count):
            sock = socket.create_connection(("127.0.0.1", port), timeout=20)
            if tls is not None:
                sock = tls.wrap_socket(sock)
            self._socks.append(sock)
            sock.sendall(probe)
            if b" 200 " not in sock.recv(4096):
                raise BenchmarkError("an idle connection's request failed")

    def close(self) -> None:
        for sock in self._socks:
            sock.close()
