"""Checks a new configuration as ``--mode validate`` does, in a process of its own: main serves meanwhile."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from typing import Any, Final

from proxeny.config.errors import ConfigError
from proxeny.server.options import Options

_PREFIX: Final = "error initializing configuration "


def arguments_of(options: Options, path: str) -> list[str]:
    """The command line that checks ``path`` as the proxy of ``options`` would use it."""
    arguments = ["-c", path, "--mode", "validate", "-l", "critical", "--log-format", "%v"]
    arguments += ["--concurrency", str(options.concurrency)]
    arguments += ["--local-address-ip-version", options.local_address_ip_version]
    for name in ("service_cluster", "service_node", "service_zone"):
        if getattr(options, name):
            arguments += [f"--{name.replace('_', '-')}", getattr(options, name)]
    for name in ("allow_unknown_static_fields", "accept_unsupported_fields", "skip_deprecated_logs"):
        if getattr(options, name):
            arguments.append(f"--{name.replace('_', '-')}")
    for tag, value in options.stats_tags.items():
        arguments += ["--stats-tag", f"{tag}:{value}"]
    return arguments


async def check(bootstrap: Any, options: Options, timeout_s: float) -> None:
    """ConfigError when serving would refuse the Bootstrap message."""
    await asyncio.to_thread(_check, bootstrap.SerializeToString(), options, timeout_s)


def _check(data: bytes, options: Options, timeout_s: float) -> None:
    with tempfile.TemporaryDirectory(prefix="proxeny-reload-") as folder:
        path = _write(folder, data)
        command = [sys.executable, "-m", "proxeny", *arguments_of(options, path)]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False
            )
        except subprocess.TimeoutExpired:
            raise ConfigError(f"the configuration was not checked within {timeout_s:g} s") from None
        # The supervisor waits for any child and may take the exit status: what was printed tells.
        if not done.stdout.endswith(b" OK\n"):
            raise ConfigError(_reason(done.stderr.decode("utf-8", "replace"), path))


def _write(folder: str, data: bytes) -> str:
    """Only we may read it: there may be keys in it."""
    path = os.path.join(folder, "bootstrap.pb")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
        file.write(data)
    return path


def _reason(errors: str, path: str) -> str:
    """Without the words that name the temporary file."""
    text = errors.strip()
    prefix = f"{_PREFIX}'{path}': "
    at = text.find(prefix)
    reason = text[at + len(prefix) :] if at >= 0 else text
    return reason.removeprefix(f"{path}: ") or "the process that checked it ended without a word"
