"""EnvoyFilter resources applied by the real command (--patch), seen from outside."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.integration.configs import ADMIN

from proxeny.testing import RunningProxy

Start = Callable[..., RunningProxy]

SIDECAR = (
    ADMIN
    + """
node: {id: sidecar~10.0.0.1~reviews-1.default~default.svc.cluster.local}
static_resources:
  listeners:
  - name: virtualOutbound
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    traffic_direction: OUTBOUND
    SOCKETS
    filter_chains:
    - filters:
      - name: envoy.filters.network.echo
        typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo}
"""
)
MERGE = """
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: reuse-port, namespace: istio-system}
spec:
  configPatches:
  - applyTo: LISTENER
    match:
      context: SIDECAR_OUTBOUND
      listener: {name: virtualOutbound}
    patch:
      operation: MERGE
      value: {VALUE}
"""


def listening(port: int) -> int:
    """Listening TCP sockets of a port, as ``ss -ltn`` shows them."""
    done = subprocess.run(
        ["ss", "-Hltn", "sport", "=", f":{port}"], capture_output=True, text=True, check=True, timeout=30
    )
    return len(done.stdout.splitlines())


def patch_file(folder: Path, text: str, name: str = "patch.yaml") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


@pytest.mark.parametrize(
    ("sockets", "value", "expected"),
    [
        ("enable_reuse_port: false", "", 1),
        ("enable_reuse_port: false", "enable_reuse_port: true", 2),
        ("enable_reuse_port: false", "reuse_port: true", 1),
        ("", "reuse_port: true", 2),
        ("reuse_port: false", "reuse_port: true", 2),
        ("enable_reuse_port: true", "enable_reuse_port: false", 2),
        ("", "enable_reuse_port: false", 1),
    ],
)
def test_reuse_port(proxy: Start, tmp_path: Path, sockets: str, value: str, expected: int) -> None:
    """One socket per worker, or one for both."""
    args = ("--patch", patch_file(tmp_path, MERGE.replace("VALUE", value))) if value else ()
    running = proxy(SIDECAR.replace("SOCKETS", sockets), args, concurrency=2)
    assert listening(running.port("virtualOutbound")) == expected
    if value and "enable_reuse_port: true" not in sockets:
        line = next(line for line in running.log().splitlines() if "patched by" in line)
        assert "[info][config]" in line
        assert line.endswith(
            "patch.yaml: EnvoyFilter istio-system/reuse-port, configPatches[0] (MERGE LISTENER): "
            "listener 'virtualOutbound'"
        )
        assert running.stat("server.patches_applied") == 1


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_the_port_of_virtual_outbound_is_matched(proxy: Start, tmp_path: Path) -> None:
    port = free_port()
    match = f"{{name: virtualOutbound, portNumber: {port}}}"
    patch = MERGE.replace("{name: virtualOutbound}", match).replace("VALUE", "enable_reuse_port: true")
    config = SIDECAR.replace("SOCKETS", "enable_reuse_port: false")
    config = config.replace("port_value: 0}}\n    traffic", f"port_value: {port}}}}}\n    traffic")
    running = proxy(config, concurrency=2)
    assert listening(port) == 1
    assert running.stop() == 0
    running = proxy(config, ("--patch", patch_file(tmp_path, patch)), concurrency=2)
    assert listening(port) == 2
    assert '"enable_reuse_port": true' in running.admin("/config_dump")


def validate(folder: Path, config: str, *patches: str) -> subprocess.CompletedProcess[str]:
    (folder / "c.yaml").write_text(config)
    flags = [flag for patch in patches for flag in ("--patch", patch)]
    return subprocess.run(
        [sys.executable, "-m", "proxeny", "-c", "c.yaml", "--mode", "validate", *flags],
        capture_output=True, text=True, timeout=60, cwd=folder, check=False,
    )  # fmt: skip


def test_validate_applies_patches_of_several_files(tmp_path: Path) -> None:
    patch_file(tmp_path, MERGE.replace("VALUE", "tcp_backlog_size: 5"), "a.yaml")
    patch_file(tmp_path, MERGE.replace("VALUE", "tcp_backlog_size: 5"), "b.yaml")
    patch_file(tmp_path, MERGE.replace("VALUE", "tcp_backlog_size: 7").replace("name: virtualOutbound", "name: x"), "c")
    done = validate(tmp_path, SIDECAR.replace("SOCKETS", ""), "a.yaml", "b.yaml", "c")
    assert (done.returncode, done.stdout) == (0, "configuration 'c.yaml' OK\n"), done.stderr
    lines = [line.partition("configPatches[0] ")[2] for line in done.stderr.splitlines() if "configPatches" in line]
    assert lines == [
        "(MERGE LISTENER) changes nothing in listener 'virtualOutbound': what it sets is there already, or is the zero "
        "value of a field, which a merge cannot set",
        "(MERGE LISTENER) matches nothing",
        "(MERGE LISTENER): listener 'virtualOutbound'",
    ]


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        (MERGE.replace("VALUE", "enable_reuse_prt: true"),
         "'c.yaml': p.yaml:13: spec.config_patches[0].patch.value.enable_reuse_prt: Protobuf message (type "
         "envoy.config.listener.v3.Listener reason INVALID_ARGUMENT: no such field: 'enable_reuse_prt') has unknown"),
        (MERGE.replace("VALUE", "per_connection_buffer_limit_bytes: 5, listener_filters_timeout: -1s"),
         "EnvoyFilter istio-system/reuse-port, configPatches[0] (MERGE LISTENER) leaves a configuration that is "
         "refused: static_resources.listeners[0].listener_filters_timeout: Invalid duration: Expected positive"),
        (MERGE.replace("VALUE", "address: {socket_address: {address: localhost}}"), "malformed IP address: localhost"),
    ],
)  # fmt: skip
def test_validate_refuses(tmp_path: Path, patch: str, words: str) -> None:
    patch_file(tmp_path, patch, "p.yaml")
    done = validate(tmp_path, SIDECAR.replace("SOCKETS", ""), "p.yaml")
    assert done.returncode == 1
    assert words in done.stderr


def test_what_is_wrong_without_any_patch_is_placed_in_the_configuration(tmp_path: Path) -> None:
    patch_file(tmp_path, MERGE.replace("VALUE", "stat_prefix: a"), "p.yaml")
    done = validate(tmp_path, SIDECAR.replace("SOCKETS", "listener_filters_timeout: -1s"), "p.yaml")
    assert done.returncode == 1
    assert "c.yaml:9: static_resources.listeners[0].listener_filters_timeout: Invalid duration" in done.stderr


def test_config_prints_what_can_be_loaded_again(tmp_path: Path) -> None:
    patch_file(tmp_path, MERGE.replace("VALUE", "enable_reuse_port: true"), "p.yaml")
    (tmp_path / "c.yaml").write_text(SIDECAR.replace("SOCKETS", "enable_reuse_port: false"))
    command = [sys.executable, "-m", "proxeny"]

    def run(*flags: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *flags], capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False)

    done = run("config", "-c", "c.yaml", "--patch", "p.yaml")
    assert done.returncode == 0, done.stderr
    assert "\n    enable_reuse_port: true\n" in done.stdout
    assert "patched by p.yaml: EnvoyFilter istio-system/reuse-port" in done.stderr
    (tmp_path / "again.yaml").write_text(done.stdout)
    assert run("-c", "again.yaml", "--mode", "validate").returncode == 0
    assert run("config", "-c", "again.yaml").stdout == done.stdout

    done = run("config", "-c", "c.yaml", "--patch", "none.yaml")
    assert (done.returncode, done.stdout) == (1, "")
    assert "error initializing configuration 'c.yaml': Invalid path: none.yaml (No such file" in done.stderr
    assert run("config", "--bogus").returncode == 1


LDS = """
version_info: "VERSION"
resources:
- "@type": type.googleapis.com/envoy.config.listener.v3.Listener
  name: virtualOutbound
  address: {socket_address: {address: 127.0.0.1, port_value: PORT}}
  traffic_direction: OUTBOUND
  enable_reuse_port: false
  filter_chains:
  - filters:
    - name: envoy.filters.network.echo
      typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo}
- "@type": type.googleapis.com/envoy.config.listener.v3.Listener
  name: unwanted
  address: {socket_address: {address: 127.0.0.1, port_value: 0}}
  filter_chains:
  - filters:
    - name: envoy.filters.network.echo
      typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo}
"""
REMOVE = "configPatches: [{applyTo: LISTENER, match: {listener: {name: unwanted}}, patch: {operation: REMOVE}}]"


def test_delivered_listeners_are_patched(proxy: Start, tmp_path: Path) -> None:
    port = free_port()
    lds = tmp_path / "lds.yaml"
    lds.write_text(LDS.replace("PORT", str(port)).replace("VERSION", "1"))
    source = f"{{lds_config: {{path_config_source: {{path: {lds}}}}}}}"
    config = f"{ADMIN}node: {{id: sidecar~1, cluster: c}}\ndynamic_resources: {source}"
    merge = patch_file(tmp_path, MERGE.replace("VALUE", "enable_reuse_port: true"), "merge.yaml")
    remove = patch_file(tmp_path, REMOVE, "remove.yaml")
    running = proxy(config, ("--patch", merge, "--patch", remove), concurrency=2)
    assert running.admin("/listeners").split() == [f"virtualOutbound::127.0.0.1:{port}"]
    assert listening(port) == 2
    log = running.log()
    assert "(MERGE LISTENER) matches nothing yet; delivered listeners are patched too" in log
    assert "remove.yaml, configPatches[0] (REMOVE LISTENER): removed listener 'unwanted'" in log
    update = tmp_path / "update.yaml"
    update.write_text(LDS.replace("PORT", str(port)).replace("VERSION", "2").replace("unwanted", "wanted"))
    update.rename(lds)
    running.wait_for_stat("listener_manager.lds.update_success", 2)
    running.wait_for_stat("listener_manager.total_listeners_active", 2)
    assert [line.partition("::")[0] for line in running.admin("/listeners").split()] == ["virtualOutbound", "wanted"]
    assert running.stat("listener_manager.listener_modified") == 0
