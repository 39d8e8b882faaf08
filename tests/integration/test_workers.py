"""The life and death of workers, from outside."""

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.integration.configs import ECHO

from proxeny.testing import RunningProxy

Start = Callable[..., RunningProxy]


def connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def echoes(connection: socket.socket, text: bytes) -> bool:
    try:
        connection.sendall(text)
        return connection.recv(len(text)) == text
    except OSError:
        return False


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def test_a_killed_worker_loses_only_what_it_had_accepted(proxy: Start) -> None:
    running = proxy(ECHO, concurrency=2)
    port = running.port("echo")
    before = [connect(port) for _ in range(100)]
    assert all(echoes(connection, b"one") for connection in before)
    victim, other = running.worker_pids()
    assert sum_connections(running) == 100
    os.kill(victim, signal.SIGSTOP)
    # About half of these wait in the stopped worker's accept queue when it is killed.
    queued = [connect(port) for _ in range(200)]
    for connection in queued:
        connection.sendall(b"two")
    os.kill(victim, signal.SIGKILL)
    assert all(connection.recv(3) == b"two" for connection in queued)
    running.wait_for_stat("server.worker_restarts", 1)
    survivors = [connection for connection in before if echoes(connection, b"three")]
    assert 0 < len(survivors) < 100
    wait_until(lambda: len(running.worker_pids()) == 2, "no new worker")
    assert other in running.worker_pids()
    assert victim not in running.worker_pids()
    # The dead worker's counts stay; its gauges go.
    wait_until(lambda: sum_connections(running) == 300, "connections are missing from the stats")
    fresh = [connect(port) for _ in range(100)]
    assert all(echoes(connection, b"four") for connection in fresh)
    assert running.stat("server.worker_restarts") == 1
    for connection in before + queued + fresh:
        connection.close()
    assert running.stop() == 0


def sum_connections(running: RunningProxy) -> int:
    lines = running.admin("/stats?filter=^listener[.]127.*downstream_cx_total$").splitlines()
    return sum(int(line.rpartition(": ")[2]) for line in lines if ".worker_" not in line)


def test_the_only_worker_is_replaced_and_its_queue_survives(proxy: Start) -> None:
    running = proxy(ECHO)
    port = running.port("echo")
    [victim] = running.worker_pids()
    os.kill(victim, signal.SIGSTOP)
    queued = [connect(port) for _ in range(200)]
    for connection in queued:
        connection.sendall(b"two")
    os.kill(victim, signal.SIGKILL)
    assert all(connection.recv(3) == b"two" for connection in queued)
    for connection in queued:
        connection.close()
    assert running.stat("server.worker_restarts") == 1


def test_workers_killed_again_and_again_come_back(proxy: Start) -> None:
    running = proxy(ECHO, concurrency=2)
    port = running.port("echo")
    for round_number in range(1, 4):
        for pid in running.worker_pids():
            os.kill(pid, signal.SIGKILL)
        running.wait_for_stat("server.worker_restarts", round_number)
        wait_until(lambda: len(running.worker_pids()) == 2, "workers are missing")
    with connect(port) as connection:
        assert echoes(connection, b"alive")
    assert running.stop() == 0


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_restarts_leak_no_descriptors(proxy: Start) -> None:
    running = proxy(ECHO, concurrency=2)
    [zygote] = [int(pid) for pid in children(running) if comm(pid) == "proxeny:zygote"]
    counts = []
    for round_number in range(1, 4):
        survivor, victim = running.worker_pids()
        os.kill(victim, signal.SIGKILL)
        running.wait_for_stat("server.worker_restarts", round_number)
        wait_until(lambda: len(running.worker_pids()) == 2, "workers are missing")
        port = running.port("echo")
        for _ in range(20):
            with connect(port) as connection:
                assert echoes(connection, b"x")
        wait_until(lambda pid=survivor: descriptors(pid) == descriptors(running.worker_pids()[1]), "unequal workers")  # type: ignore[misc]
        counts.append((descriptors(running.process.pid), descriptors(zygote), descriptors(survivor)))
    assert len(set(counts)) == 1


def children(running: RunningProxy) -> list[str]:
    pid = running.process.pid
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def comm(pid: str) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def test_the_zygote_is_replaced(proxy: Start) -> None:
    running = proxy(ECHO)
    port = running.port("echo")
    [worker] = running.worker_pids()
    [zygote] = [int(pid) for pid in children(running) if comm(pid) == "proxeny:zygote"]
    with connect(port) as connection:
        os.kill(zygote, signal.SIGKILL)
        wait_until(lambda: "starting another" in running.log(), "the zygote's death was not noticed")
        assert echoes(connection, b"still here")
        assert running.worker_pids() == [worker]
    os.kill(worker, signal.SIGKILL)
    running.wait_for_stat("server.worker_restarts", 1)
    with connect(port) as connection:
        assert echoes(connection, b"again")
    assert running.stop() == 0


def test_a_stuck_worker_is_counted_and_its_traceback_logged(proxy: Start) -> None:
    running = proxy(ECHO)
    [worker] = running.worker_pids()
    running.wait_for_stat("workers.watchdog_miss", 0)
    os.kill(worker, signal.SIGSTOP)
    running.wait_for_stat("workers.watchdog_miss", 1)
    running.wait_for_stat("workers.watchdog_mega_miss", 1)
    os.kill(worker, signal.SIGCONT)
    wait_until(lambda: "Current thread" in running.log(), "no traceback was logged")
    assert running.stat("server.worker_0.watchdog_mega_miss") == 1
    assert running.worker_pids() == [worker]
    assert running.stat("server.worker_restarts") == 0


def test_a_stuck_worker_is_killed_when_configured(proxy: Start) -> None:
    running = proxy(ECHO + "watchdogs: {worker_watchdog: {kill_timeout: 0.5s, megamiss_timeout: 0.3s}}\n")
    port = running.port("echo")
    [worker] = running.worker_pids()
    os.kill(worker, signal.SIGSTOP)
    running.wait_for_stat("server.worker_restarts", 1)
    with connect(port) as connection:
        assert echoes(connection, b"new")


def test_workers_end_with_main(proxy: Start) -> None:
    running = proxy(ECHO, concurrency=2)
    workers = running.worker_pids()
    os.kill(workers[0], signal.SIGSTOP)
    running.kill()
    wait_until(lambda: all(gone(pid) for pid in workers), "workers outlive main")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_clean_stop(proxy: Start, number: int) -> None:
    running = proxy(ECHO, concurrency=2)
    workers = running.worker_pids()
    with connect(running.port("echo")) as connection:
        assert echoes(connection, b"x")
        running.signal(number)
        assert running.wait() == 0
        assert connection.recv(1) == b""
    assert all(gone(pid) for pid in workers)
    log = running.log()
    assert "shutting down server instance" in log
    assert log.rstrip().endswith("exiting")
    assert "Traceback" not in log


def test_sighup_is_ignored(proxy: Start) -> None:
    running = proxy(ECHO)
    running.signal(signal.SIGHUP)
    wait_until(lambda: "caught and eating SIGHUP" in running.log(), "SIGHUP was not seen")
    with connect(running.port("echo")) as connection:
        assert echoes(connection, b"x")
    assert running.stop() == 0
