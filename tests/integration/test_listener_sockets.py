"""Listening sockets of the real command: which there are, and how they are made."""

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.integration.configs import ADMIN, ECHO

from proxeny.testing import RunningProxy

Start = Callable[..., RunningProxy]

FILTER = """
    filter_chains:
    - filters:
      - name: envoy.filters.network.echo
        typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo}
"""
ANY_PORT = "address: {socket_address: {address: 127.0.0.1, port_value: 0}}"


def listener(fields: str, name: str = "one") -> str:
    return f"  - name: {name}\n" + "".join(f"    {line}\n" for line in fields.splitlines()) + FILTER.lstrip("\n")


def bootstrap(*listeners: str) -> str:
    return ADMIN + "static_resources:\n  listeners:\n" + "".join(listeners)


def listening(port: int) -> int:
    """How many TCP sockets listen on this port, as the kernel lists them."""
    found = 0
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table) as file:
            for line in file.readlines()[1:]:
                _, local, _, state = line.split()[:4]
                found += state == "0A" and int(local.rpartition(":")[2], 16) == port
    return found


def echoes(family: int, address: object) -> bool:
    with socket.socket(family) as client:
        client.settimeout(20)
        client.connect(address)  # type: ignore[arg-type]
        client.sendall(b"hello")
        return client.recv(5) == b"hello"


def refusal(config: str, folder: Path) -> str:
    """What the command says that does not start."""
    (folder / "c.yaml").write_text(config)
    command = [sys.executable, "-m", "proxeny", "-c", "c.yaml", "--disable-hot-restart", "--concurrency", "1"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    return done.stderr


@pytest.mark.parametrize(
    ("fields", "sockets"),
    [
        ("", 2),
        ("reuse_port: true", 2),
        ("reuse_port: false", 2),
        ("enable_reuse_port: false", 1),
        ("enable_reuse_port: false\nreuse_port: true", 1),
    ],
)
def test_one_socket_per_worker_or_one_for_all(proxy: Start, fields: str, sockets: int) -> None:
    running = proxy(bootstrap(listener(f"{ANY_PORT}\n{fields}")), concurrency=2)
    port = running.port("one")
    assert listening(port) == sockets
    assert all(echoes(socket.AF_INET, ("127.0.0.1", port)) for _ in range(4))


def test_a_listener_that_does_not_bind(proxy: Start) -> None:
    unbound = "bind_to_port: false\naddress: {socket_address: {address: 127.0.0.3, port_value: 47}}"
    running = proxy(bootstrap(listener(ANY_PORT), listener(unbound, "handed")), concurrency=2)
    assert "handed::127.0.0.3:47" in running.admin("/listeners").splitlines()
    assert running.stat("listener_manager.listener_create_success") == 4
    assert listening(47) == 0
    assert listening(running.port("one")) == 2


def test_a_dead_worker_of_a_listener_that_does_not_bind(proxy: Start) -> None:
    running = proxy(
        bootstrap(listener(ANY_PORT), listener(ANY_PORT + "\nbind_to_port: false", "handed")), concurrency=2
    )
    running.worker_pids()
    os.kill(running.worker_pids()[0], 9)
    running.wait_for_stat("server.worker_restarts", 1)
    assert all(echoes(socket.AF_INET, ("127.0.0.1", running.port("one"))) for _ in range(8))


def test_a_unix_socket_with_a_mode_beside_an_address(proxy: Start, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    fields = f"{ANY_PORT}\nadditional_addresses: [{{address: {{pipe: {{path: {path}, mode: 384}}}}}}]"
    running = proxy(bootstrap(listener(fields)), concurrency=2)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert echoes(socket.AF_UNIX, str(path))
    assert listening(running.port("one")) == 2


def test_an_abstract_unix_socket(proxy: Start) -> None:
    name = f"@proxeny-test-{os.getpid()}"
    proxy(bootstrap(listener(f"address: {{pipe: {{path: '{name}'}}}}")), concurrency=2)
    assert echoes(socket.AF_UNIX, "\0" + name[1:])


def test_ipv4_through_an_ipv6_listener(proxy: Start) -> None:
    compat = "address: {socket_address: {address: '::', port_value: 0, ipv4_compat: true}}"
    port = proxy(bootstrap(listener(compat))).port("one")
    assert echoes(socket.AF_INET, ("127.0.0.1", port))
    assert echoes(socket.AF_INET6, ("::1", port))


def test_mptcp(proxy: Start) -> None:
    port = proxy(bootstrap(listener(f"{ANY_PORT}\nenable_mptcp: true"))).port("one")
    assert echoes(socket.AF_INET, ("127.0.0.1", port))
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262) as client:
        client.settimeout(20)
        client.connect(("127.0.0.1", port))
        client.sendall(b"hello")
        assert client.recv(5) == b"hello"


def test_a_bound_listener_that_cannot_listen_is_dropped(proxy: Start) -> None:
    bad = "socket_options: [{level: 1, name: 9999, int_value: 1, state: STATE_LISTENING}]"
    running = proxy(bootstrap(listener(ANY_PORT), listener(f"{ANY_PORT}\n{bad}", "bad")), concurrency=2)
    assert [line.split("::")[0] for line in running.admin("/listeners").splitlines()] == ["one"]
    wanted = {"added": 2, "create_failure": 1, "create_success": 2, "removed": 1}
    assert {name: running.stat(f"listener_manager.listener_{name}") for name in wanted} == wanted
    assert running.stat("listener_manager.total_listeners_active") == 1
    assert running.stat("listener_manager.total_listeners_draining") == 1
    assert (
        "final pre-worker listener init for listener 'bad' failed: cannot set post-listen socket option on socket: "
        "127.0.0.1:" in running.log()
    )
    assert echoes(socket.AF_INET, ("127.0.0.1", running.port("one")))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            f"{ANY_PORT}\nsocket_options: [{{level: 1, name: 9999, int_value: 1}}]",
            "listener 'one' failed to bind or apply socket options: ListenSocket: Setting socket options failed",
        ),
        (
            f"{ANY_PORT}\nsocket_options: [{{level: 1, name: 9999, int_value: 1, state: STATE_BOUND}}]",
            "listener 'one' failed to bind or apply socket options: one: Setting socket options failed",
        ),
        (
            "address: {socket_address: {address: 127.0.0.1, port_value: 0, network_namespace_filepath: /no/such}}",
            "failed to open netns file /no/such: No such file or directory",
        ),
    ],
)
def test_what_cannot_be_bound_is_told(fields: str, words: str, tmp_path: Path) -> None:
    told = refusal(bootstrap(listener(fields)), tmp_path)
    assert words in told
    assert told.splitlines()[-1] in words


def test_admin_and_listener_do_not_share_an_address(proxy: Start, tmp_path: Path) -> None:
    running = proxy(ECHO)
    address = f"address: {{socket_address: {{address: 127.0.0.1, port_value: {running.admin_address[1]}}}}}"
    assert "Address already in use" in refusal(bootstrap(listener(address)), tmp_path)
