"""The command from outside: exit codes and words, compared with what Envoy prints."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.integration.configs import ADMIN, ECHO, http

from proxeny.testing import RunningProxy

Start = Callable[..., RunningProxy]


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "proxeny", *arguments], capture_output=True, text=True, timeout=60, cwd=cwd, check=False
    )


def test_no_configuration() -> None:
    done = run("--disable-hot-restart")
    assert done.returncode == 1
    text = "At least one of --config-path or --config-yaml or Options::configProto() should be non-empty"
    assert f"error `{text}` initializing config ''" in done.stderr
    assert done.stderr.splitlines()[-1] == text


def test_unknown_flag() -> None:
    done = run("--bogus")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(
        "PARSE ERROR: Argument: --bogus\n             Couldn't find match for argument\n\nBrief USAGE: \n"
    )
    assert done.stderr.splitlines()[-1] == "--bogus -- Couldn't find match for argument"


def test_version_and_help() -> None:
    assert re.search(r"version: proxeny/\d+\.\d+\.\d+/Clean/RELEASE/", run("--version").stdout)
    done = run("--help")
    assert done.returncode == 0
    assert "--config-path <string>" in done.stdout


def test_validate(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(http(1))
    done = run("--mode", "validate", "-c", "good.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "configuration 'good.yaml' OK\n"), done.stderr


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ("static_resources: {clusters: [{name: a, connect_timeout: 1s}, {name: a, connect_timeout: 1s}]}",
         "cluster manager: duplicate cluster 'a'"),
        ("{cluster_manager: {local_cluster_name: foo}}", "local cluster 'foo' must be defined"),
        ("admin: {address: {socket_address: {address: localhost, port_value: 1}}}", "malformed IP address: localhost"),
        ("admin: {access_log: [{name: foo}], address: {socket_address: {address: 127.0.0.1, port_value: 0}}}",
         "Didn't find a registered implementation for 'foo' with type URL: ''"),
        ("layered_runtime: {layers: [{name: s, static_layer: {a: [1]}}]}", "Invalid runtime entry value for a"),
    ],
)  # fmt: skip
def test_validate_refuses(config: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(config)
    done = run("--mode", "validate", "-c", "bad.yaml", "-l", "critical", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "error initializing configuration 'bad.yaml': " in done.stderr
    assert text in done.stderr


def test_two_listeners_on_one_address_are_refused(tmp_path: Path) -> None:
    first = ECHO.replace("port_value: 0}}\n    filter", "port_value: 18999}}\n    filter")
    assert "18999" in first
    second = first.split("  listeners:\n")[1].replace("name: echo", "name: other")
    (tmp_path / "bad.yaml").write_text(first + second)
    done = run("--mode", "validate", "-c", "bad.yaml", "-l", "critical", cwd=tmp_path)
    assert done.returncode == 1
    assert (
        "error adding listener: 'other' has duplicate address '127.0.0.1:18999' as existing listener, to check if the "
        "listener has duplicated addresses with other listeners or 'enable_reuse_port' is set to 'false' for the "
        "listener"
    ) in done.stderr


def test_of_two_listeners_of_one_name_the_first_counts(proxy: Start) -> None:
    second = ECHO.split("  listeners:\n")[1].replace("127.0.0.1", "127.0.0.2")
    running = proxy(ECHO + second)
    assert running.admin("/listeners").startswith("echo::127.0.0.1:")
    assert running.stat("listener_manager.listener_added") == 1


def test_an_address_that_cannot_be_bound(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(ECHO.replace("address: 127.0.0.1, port_value: 0}}\n    filter",
                                                  "address: 192.0.2.1, port_value: 18998}}\n    filter"))  # fmt: skip
    done = run("-c", "c.yaml", "--disable-hot-restart", "--concurrency", "1", cwd=tmp_path)
    assert done.returncode == 1
    assert "cannot bind '192.0.2.1:18998': Cannot assign requested address" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("cannot bind")


def test_init_only(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(ECHO)
    done = run("-c", "c.yaml", "--mode", "init_only", "--disable-hot-restart", "--concurrency", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "all clusters initialized" in done.stderr
    (tmp_path / "c.yaml").write_text(ECHO.replace(ADMIN, ""))
    done = run("-c", "c.yaml", "--mode", "init_only", "--disable-hot-restart", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "No admin address given, so no admin HTTP server started." in done.stderr


def test_start_up_lines_and_admin_address(proxy: Start) -> None:
    running = proxy(ECHO)
    log = running.log()
    lines = ["initializing epoch 0 (base id=0, hot restart version=disabled)", "loading 0 cluster(s)",
             "loading 1 listener(s)", "all clusters initialized. initializing init manager",
             "all dependencies initialized. starting workers", "starting main dispatch loop"]  # fmt: skip
    positions = [log.find(line) for line in lines]
    assert -1 not in positions
    assert positions == sorted(positions)
    assert re.match(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\]\[\d+\]\[info\]\[main\] \[proxeny/server/", log)
    assert running.admin_address[0] == "127.0.0.1"


def test_a_base_id_is_held_by_one_process_only(proxy: Start, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(ADMIN)
    command = [sys.executable, "-m", "proxeny", "-c", "c.yaml", "--use-dynamic-base-id", "--base-id-path", "id",
               "--admin-address-path", "admin", "--concurrency", "1"]  # fmt: skip
    first = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while not (tmp_path / "admin").exists():
            assert time.monotonic() < deadline
            assert first.poll() is None
            time.sleep(0.005)
        base_id = (tmp_path / "id").read_text()
        done = run("-c", "c.yaml", "--base-id", base_id, "--concurrency", "1", cwd=tmp_path)
        assert done.returncode == 1
        text = f"unable to bind domain socket with base_id={base_id}0, id=0, errno=98 (see --base-id option)"
        assert text in done.stderr
    finally:
        first.send_signal(signal.SIGTERM)
        assert first.wait(20) == 0


def test_log_path_and_reopen(proxy: Start, tmp_path: Path) -> None:
    log = tmp_path / "proxy.log"
    running = proxy(ECHO, ("--log-path", str(log), "--log-format", "%l %n %v"))
    assert "info main starting main dispatch loop" in log.read_text()
    moved = tmp_path / "proxy.log.1"
    os.rename(log, moved)
    running.signal(signal.SIGUSR1)
    deadline = time.monotonic() + 20
    while not log.exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert "caught SIGUSR1. Reopening access logs." in moved.read_text()
    assert running.stop() == 0
    assert log.read_text().splitlines()[-1] == "info main exiting"


def test_component_log_level(proxy: Start) -> None:
    running = proxy(ECHO, ("-l", "off", "--component-log-level", "config:info"))
    log = running.log()
    assert "loading 1 listener(s)" in log
    assert "[main]" not in log
