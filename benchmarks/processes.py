"""Processes of one peer: start, wait until it serves, CPU and memory of its whole tree, stop.

CPU comes from /proc/PID/stat of every process of the tree (utime + stime count ended threads too); one tick is 10 ms,
which over the 10,000s of requests of a round is far below the noise of the machine. A process that ended during the
round is counted through its parent's cutime and cstime.
"""

import os
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
START_SECONDS = 60.0
STOP_SECONDS = 20.0
SETTLE_SECONDS = 30.0
POLL_SECONDS = 0.002


class BenchmarkError(Exception):
    """A peer or a tool is missing, did not start, or gave wrong answers."""


@dataclass(slots=True)
class Peer:
    """One running proxy (or upstream) with the port that it serves."""

    name: str
    command: list[str]
    port: int
    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0

    def start(self) -> None:
        with (self.folder / f"{self.name}.log").open("wb") as log:
            self.started = time.perf_counter()
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | self.env,
            )

    def wait_serving(self, probe: bytes) -> float:
        """Seconds from the start to the first answer that holds "200" in its first line; without a probe, to the
        first connection."""
        deadline = self.started + START_SECONDS
        while time.perf_counter() < deadline:
            if self.process is None or self.process.poll() is not None:
                raise BenchmarkError(f"{self.name} ended: {self.log_tail()}")
            if _answers(self.port, probe):
                return time.perf_counter() - self.started
            time.sleep(POLL_SECONDS)
        raise BenchmarkError(f"{self.name} did not serve within {START_SECONDS:.0f} s: {self.log_tail()}")

    def log_tail(self) -> str:
        return (self.folder / f"{self.name}.log").read_text(errors="replace")[-2000:]

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def tree(self) -> list[int]:
        """The process and all its descendants."""
        assert self.process is not None
        children: dict[int, list[int]] = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit() and (fields := _stat(int(entry))):
                children.setdefault(int(fields[1]), []).append(int(entry))
        found, queue = [], [self.process.pid]
        while queue:
            pid = queue.pop()
            found.append(pid)
            queue += children.get(pid, ())
        return found

    def cpu_seconds(self) -> float:
        """User and system time of the tree since it started."""
        ticks = 0
        for pid in self.tree():
            if fields := _stat(pid):
                ticks += sum(int(value) for value in fields[11:15])
        return ticks / TICKS

    def memory(self) -> tuple[float, float]:
        """RSS and PSS of the tree in MB (10^6 bytes are not meant: 1 MB = 1,024 KB)."""
        rss = pss = 0
        for pid in self.tree():
            try:
                text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue
            for line in text.splitlines():
                if line.startswith("Rss:"):
                    rss += int(line.split()[1])
                elif line.startswith("Pss:"):
                    pss += int(line.split()[1])
        return rss / 1024, pss / 1024

    def settled_memory(self) -> float:
        """PSS of the tree in MB once what the start left to do is done: it stays within 1 % for half a second."""
        deadline = time.perf_counter() + SETTLE_SECONDS
        before, now = 0.0, self.memory()[1]
        while abs(now - before) * 100 > now and time.perf_counter() < deadline:
            time.sleep(0.5)
            before, now = now, self.memory()[1]
        return now


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the command name: [0] is the state, [1] the parent."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return text[text.rindex(")") + 2 :].split()


def _answers(port: int, probe: bytes) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
            if not probe:
                return True
            sock.sendall(probe)
            return b" 200 " in sock.recv(4096).split(b"\r\n")[0]
    except OSError:
        return False


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago: nginx and HAProxy cannot tell which port 0 became."""
    socks = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in socks]
    for sock in socks:
        sock.close()
    return ports
