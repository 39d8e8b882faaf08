"""Which worker serves a connection: exact balance, shared sockets, and workers that die while sockets change hands."""

import os
import re
import signal
import socket
from collections.abc import Callable

import pytest
from tests.integration.configs import ECHO
from tests.integration.test_workers import connect, echoes, wait_until

from proxeny.testing import RunningProxy

Start = Callable[..., RunningProxy]
EXACT = ECHO.replace("  - name: echo\n", "  - name: echo\n    connection_balance_config: {exact_balance: {}}\n")
SHARED = ECHO.replace("  - name: echo\n", "  - name: echo\n    enable_reuse_port: false\n")
EXACT_SHARED = EXACT.replace("  - name: echo\n", "  - name: echo\n    enable_reuse_port: false\n")


def per_worker(running: RunningProxy, stat: str = "downstream_cx_active") -> list[int]:
    lines = running.admin(rf"/stats?filter=^listener[.]127.*[.]worker_\d[.]{stat}$").splitlines()
    return [int(line.rpartition(": ")[2]) for line in sorted(lines)]


def open_all(port: int, count: int) -> list[socket.socket]:
    connections = [connect(port) for _ in range(count)]
    assert all(echoes(connection, b"x") for connection in connections)
    return connections


def close_all(connections: list[socket.socket]) -> None:
    for connection in connections:
        connection.close()


@pytest.mark.parametrize("config", [EXACT, EXACT_SHARED], ids=["reuse_port", "shared"])
def test_exact_balance_is_exact(proxy: Start, config: str) -> None:
    running = proxy(config, concurrency=4)
    port = running.port("echo")
    connections = open_all(port, 4000)
    counts = per_worker(running)
    assert sum(counts) == 4000 and max(counts) - min(counts) <= 1
    # Those of one worker end: the next ones fill it up again.
    close_all(connections[::2])
    wait_until(lambda: sum(per_worker(running)) == 2000, "connections did not end")
    connections = connections[1::2] + open_all(port, 2000)
    counts = per_worker(running)
    assert sum(counts) == 4000 and max(counts) - min(counts) <= 1
    close_all(connections)
    wait_until(lambda: per_worker(running) == [0, 0, 0, 0], "connections did not end")
    assert running.stop() == 0


def test_without_reuse_port_no_worker_starves(proxy: Start) -> None:
    running = proxy(SHARED, concurrency=4)
    connections = open_all(running.port("echo"), 400)
    counts = per_worker(running)
    assert sum(counts) == 400 and min(counts) >= 20
    close_all(connections)


def test_what_was_handed_to_a_worker_that_dies_is_served_by_its_successor(proxy: Start) -> None:
    running = proxy(EXACT, concurrency=2)
    port = running.port("echo")
    victim, _ = running.worker_pids()
    os.kill(victim, signal.SIGSTOP)
    # Its own accept queue, and what the other hands to it while its heart was fresh, wait.
    waiting = [connect(port) for _ in range(200)]
    for connection in waiting:
        connection.sendall(b"two")
    wait_until(lambda: sum(per_worker(running)) >= 20, "the other worker does not accept")
    os.kill(victim, signal.SIGKILL)
    assert all(connection.recv(3) == b"two" for connection in waiting)
    running.wait_for_stat("server.worker_restarts", 1)
    # While it was dead the other served alone; the next ones make up for it.
    wait_until(lambda: sum(per_worker(running)) == 200, "connections are missing")
    more = open_all(port, 200)
    assert per_worker(running) == [200, 200]
    close_all(waiting + more)
    wait_until(lambda: per_worker(running) == [0, 0], "connections did not end")
    again = open_all(port, 100)
    assert per_worker(running) == [50, 50]
    close_all(again)


def test_a_worker_that_is_stuck_gets_nothing_new(proxy: Start) -> None:
    # The miss is counted later than the others take a heartbeat for stale (kernel/balance.pyx: 2 s).
    running = proxy(
        EXACT_SHARED + "watchdogs: {worker_watchdog: {miss_timeout: 2.5s, megamiss_timeout: 10s}}\n", concurrency=2
    )
    port = running.port("echo")
    victim, _ = running.worker_pids()
    os.kill(victim, signal.SIGSTOP)
    running.wait_for_stat("workers.watchdog_miss", 1)
    connections = [connect(port) for _ in range(20)]
    assert all([echoes(connection, b"x") for connection in connections])
    os.kill(victim, signal.SIGCONT)
    close_all(connections)


def test_descriptors_do_not_leak(proxy: Start) -> None:
    running = proxy(EXACT, concurrency=2)
    port = running.port("echo")

    def descriptors() -> list[int]:
        return [len(os.listdir(f"/proc/{pid}/fd")) for pid in (running.process.pid, *running.worker_pids())]

    close_all(open_all(port, 50))
    wait_until(lambda: per_worker(running) == [0, 0], "connections did not end")
    before = descriptors()
    for _ in range(5):
        close_all(open_all(port, 100))
    wait_until(lambda: per_worker(running) == [0, 0], "connections did not end")
    wait_until(lambda: descriptors() == before, f"descriptors: {before}, then {descriptors()}")
    assert not re.search("Traceback", running.log())
