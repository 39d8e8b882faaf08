"""What `proxeny config --patch` prints is a configuration that Envoy takes, and one that means the same to it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.differential.proxies import ENVOY, PROXENY, ROOT, Proxy, envoy_binary, proxeny_binary

EXAMPLE = ROOT / "examples" / "envoyfilter"
SIDECAR = """
node: {id: sidecar~1, cluster: c}
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
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
PATCH = """
configPatches:
- applyTo: LISTENER
  match: {context: SIDECAR_OUTBOUND, listener: {name: virtualOutbound}}
  patch: {operation: MERGE, value: {VALUE}}
"""


def patched(folder: Path, config: str, *patches: str) -> str:
    """A configuration as patches leave it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "c.yaml").write_text(config)
    flags = []
    for index, patch in enumerate(patches):
        (folder / f"{index}.yaml").write_text(patch)
        flags += ["--patch", f"{index}.yaml"]
    command = [str(proxeny_binary()), "config", "-c", "c.yaml", *flags]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, cwd=folder).stdout


def sockets(proxy: Proxy) -> int:
    """Listening sockets of the listener, as ``ss -ltn`` shows them."""
    address = proxy.listeners["virtualOutbound"]
    command = ["ss", "-Hltn", "sport", "=", f":{address[1]}"]
    return len(subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.splitlines())


@pytest.mark.parametrize(
    ("config", "value", "expected"),
    [
        ("enable_reuse_port: false", "name: virtualOutbound", 1),
        ("enable_reuse_port: false", "enable_reuse_port: true", 2),
        ("enable_reuse_port: false", "reuse_port: true", 1),
        ("", "reuse_port: true", 2),
        ("reuse_port: false", "reuse_port: true", 2),
    ],
)
def test_reuse_port(tmp_path: Path, config: str, value: str, expected: int) -> None:
    template = patched(tmp_path / "patched", SIDECAR.replace("SOCKETS", config), PATCH.replace("VALUE", value))
    for kind in (ENVOY, PROXENY):
        proxy = Proxy(kind, template, tmp_path / kind, concurrency=2)
        try:
            assert sockets(proxy) == expected, kind
        finally:
            proxy.close()


def test_envoy_accepts_the_example_as_patched(tmp_path: Path) -> None:
    files = [EXAMPLE / name for name in ("reuse-port.yaml", "reviews.yaml")]
    config = patched(tmp_path, (EXAMPLE / "envoy.yaml").read_text(), *(file.read_text() for file in files))
    (tmp_path / "patched.yaml").write_text(config)
    command = [str(envoy_binary()), "--mode", "validate", "--disable-hot-restart", "-c", str(tmp_path / "patched.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
