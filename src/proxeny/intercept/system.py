"""The commands that read and change the network of this or another namespace."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from proxeny.intercept.config import Address, InterceptError, addresses

COMMAND_TIMEOUT_S: Final = 30.0
LOCK_TIMEOUT_S: Final = 30.0
_NAMED: Final = Path("/run/netns")
_PATH: Final = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
_PACKAGES: Final = {
    "iptables-restore": "iptables", "ip6tables-restore": "iptables", "iptables-save": "iptables",
    "ip6tables-save": "iptables", "nft": "nftables", "ip": "iproute2", "nsenter": "util-linux",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """One command and what it reads."""

    argv: tuple[str, ...]
    stdin: str = ""


class System:
    """Runs commands in a network namespace: this one (None), one by name, by path, or that of a process (``pid:7``)."""

    def __init__(self, namespace: str | None = None) -> None:
        self.namespace = namespace
        self._folder = Path("/etc")
        self._path = Path("/proc/self/ns/net")
        self._prefix: tuple[str, ...] = ()
        if namespace is not None:
            self._path = self._find_namespace(namespace)
            self._prefix = ("nsenter", f"--net={self._path}", "--")

    def __repr__(self) -> str:
        return f"System({self.namespace or 'here'})"

    def _find_namespace(self, namespace: str) -> Path:
        if namespace.startswith("pid:"):
            pid = namespace.removeprefix("pid:")
            path = Path("/proc", pid, "ns/net")
            self._folder = Path("/proc", pid, "root/etc")
            if not (pid.isascii() and pid.isdigit() and os.path.lexists(path)):
                raise InterceptError(f"there is no process {pid!r}")
            return path
        if "/" in namespace:
            path = Path(namespace)
        else:
            path = _NAMED / namespace
            self._folder = Path("/etc/netns", namespace)
        if not os.path.lexists(path):
            raise InterceptError(f"there is no network namespace {namespace!r}")
        return path

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep others from changing the namespace by this command meanwhile, whatever they call it."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise InterceptError(f"{self._path}: {error.strerror}") from None
        try:
            deadline = time.monotonic() + LOCK_TIMEOUT_S
            while not _lock(descriptor):
                if time.monotonic() > deadline:
                    raise InterceptError("another one is at work in that network namespace")
                time.sleep(0.02)
            yield
        finally:
            os.close(descriptor)

    def has(self, command: str) -> bool:
        """Whether a command is installed."""
        return shutil.which(command, path=_PATH) is not None

    def command_line(self, step: Step) -> str:
        """The step as a shell takes it."""
        text = shlex.join((*self._prefix, *step.argv))
        return f"{text} <<'EOF'\n{step.stdin}EOF\n" if step.stdin else f"{text}\n"

    def run(self, step: Step) -> str:
        """What the command prints. Raises InterceptError with its words when it fails or is not there."""
        for command in (*self._prefix[:1], step.argv[0]):
            if not self.has(command):
                raise InterceptError(f"{command} is not installed (Debian: {_PACKAGES[command]})")
        try:
            done = subprocess.run(
                (*self._prefix, *step.argv), input=step.stdin, capture_output=True, text=True, errors="replace",
                timeout=COMMAND_TIMEOUT_S, env={**os.environ, "PATH": _PATH, "LC_ALL": "C"},
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InterceptError(f"{shlex.join(step.argv)}: {error}") from None
        if done.returncode != 0:
            why = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
            hint = "" if os.geteuid() == 0 else "; root or CAP_NET_ADMIN is needed"
            raise InterceptError(f"{shlex.join((*self._prefix, *step.argv))}: {why}{hint}")
        return done.stdout

    def read(self, *argv: str) -> str:
        """What a command prints that changes nothing."""
        return self.run(Step(argv))

    def read_json(self, *argv: str) -> list[dict[str, Any]]:
        """The objects that ``ip -json`` prints."""
        text = self.read(*argv)
        found: list[dict[str, Any]] = json.loads(text) if text.strip() else []
        return [one for one in found if one]

    def loopback_is_up(self) -> bool:
        """Whether ``lo`` is up: what is captured is led over it."""
        return any("UP" in device.get("flags", ()) for device in self.read_json("ip", "-json", "link", "show", "lo"))

    def has_ipv6(self) -> bool:
        """Whether IPv6 is in use there: no device has an address of it where it is switched off."""
        return bool(self.read_json("ip", "-json", "-6", "address", "show"))

    def nameservers(self) -> tuple[Address, ...]:
        """The DNS servers of ``resolv.conf``; a named namespace may have its own (``/etc/netns/NAME``)."""
        path = self._folder / "resolv.conf"
        if not path.exists() and not str(path).startswith("/proc/"):
            path = Path("/etc/resolv.conf")
        try:
            lines = path.read_text(errors="replace").split("\n")
        except OSError as error:
            raise InterceptError(f"{path}: {error.strerror}") from None
        words = [line.split() for line in lines]
        found = ",".join(word[1].partition("%")[0] for word in words if len(word) > 1 and word[0] == "nameserver")
        return addresses(found)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
