"""Network namespaces of a test: made, wired to each other, entered and removed.

Namespaces are called ``pxt-<pid>-<number>-<label>``, so that tests that run at the same time never meet, and what a
killed test run left can be told from what is in use. Links are made inside the namespaces: nothing of the machine's
own network is touched.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from proxeny.testing.namespace import NAMED, command_inside, run_inside

PREFIX: Final = "pxt"
TIMEOUT_S: Final = 20.0
_numbers = itertools.count(1)

T = TypeVar("T")


def ip(*args: str) -> str:
    """What ``ip`` prints; AssertionError with its words when it fails."""
    done = subprocess.run(["ip", *args], capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, f"ip {' '.join(args)}: {done.stderr.strip()}"
    return done.stdout


@dataclass(frozen=True, slots=True)
class Link:
    """One end of a veth pair: its device and addresses."""

    device: str
    v4: str
    v6: str


class Namespace:
    """One network namespace; ``lo`` is up in it."""

    def __init__(self, label: str) -> None:
        self.name = f"{PREFIX}-{os.getpid()}-{next(_numbers)}-{label}"
        ip("netns", "add", self.name)
        try:
            self.ip("link", "set", "lo", "up")
            # An address is usable at once: without a neighbour there is nobody to ask whether it is taken.
            self.sysctl("net.ipv6.conf.all.accept_dad", "0")
            self.sysctl("net.ipv6.conf.default.accept_dad", "0")
        except BaseException:
            self.remove()
            raise

    def __repr__(self) -> str:
        return f"Namespace({self.name})"

    @property
    def path(self) -> str:
        """The file that stands for it."""
        return str(NAMED / self.name)

    def remove(self) -> None:
        """Delete it, and with it its links; nothing when it is gone."""
        if (NAMED / self.name).exists():
            ip("netns", "delete", self.name)

    # -- its network -------------------------------------------------------------------------------------------

    def ip(self, *args: str) -> str:
        """``ip`` inside."""
        return ip("-netns", self.name, *args)

    def sysctl(self, name: str, value: str) -> None:
        """Set a kernel variable of this namespace."""
        path = f"/proc/sys/{name.replace('.', '/')}"

        def write() -> None:
            with open(path, "w") as file:
                file.write(value)

        self.inside(write)

    def forward(self) -> None:
        """Let it route between its links."""
        self.sysctl("net.ipv4.ip_forward", "1")
        self.sysctl("net.ipv6.conf.all.forwarding", "1")

    def add_address(self, address: str, device: str = "lo") -> None:
        """Another address (``10.9.0.1/32``, ``fd09::1/128``) on a device."""
        self.ip("address", "add", address, "dev", device, *(("nodad",) if ":" in address else ()))

    def add_route(self, destination: str, via: str) -> None:
        """A route; ``default`` means that of the gateway's family."""
        self.ip("-6" if ":" in via else "-4", "route", "add", destination, "via", via)

    @contextmanager
    def resolv_conf(self, text: str) -> Iterator[None]:
        """Give it a ``resolv.conf`` of its own, as ``ip netns exec`` takes it."""
        folder = Path("/etc/netns") / self.name
        folder.mkdir(parents=True)
        try:
            (folder / "resolv.conf").write_text(text)
            yield
        finally:
            shutil.rmtree(folder)
            with suppress(OSError):  # others have theirs
                folder.parent.rmdir()

    # -- commands ----------------------------------------------------------------------------------------------

    def command(self, *args: str, uid: int | None = None) -> list[str]:
        """A command line that runs ``args`` inside, as ``uid`` when given."""
        return command_inside(args, self.name, uid)

    def run(self, *args: str, uid: int | None = None, check: bool = True, stdin: str | None = None,
            timeout_s: float = TIMEOUT_S) -> subprocess.CompletedProcess[str]:  # fmt: skip
        """Run a command inside until it ends; AssertionError with its words when it fails and ``check`` is on."""
        done = subprocess.run(
            self.command(*args, uid=uid), input=stdin, capture_output=True, text=True, timeout=timeout_s
        )
        assert not check or done.returncode == 0, f"{' '.join(args)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def popen(self, *args: str, uid: int | None = None, **options: Any) -> subprocess.Popen[str]:
        """Start a command inside; its pid is the command's own."""
        return subprocess.Popen(self.command(*args, uid=uid), text=True, **options)

    # -- sockets -----------------------------------------------------------------------------------------------

    def inside(self, function: Callable[[], T]) -> T:
        """Call ``function`` in a thread that is inside; the sockets that it makes belong there for good."""
        return run_inside(self.name, function)

    def socket(
        self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, uid: int = 0, gid: int = 0
    ) -> socket.socket:
        """A new socket of this namespace, with a time-out; rules take it for one of that user and group."""

        def make() -> socket.socket:
            # They hold for this thread alone. What a socket's owner is, its file remembers from now.
            libc = ctypes.CDLL(None)
            libc.setfsgid(gid)
            libc.setfsuid(uid)
            return socket.socket(family, kind)

        made = self.inside(make)
        made.settimeout(TIMEOUT_S)
        return made

    def listen(self, address: str, port: int = 0, backlog: int = 128) -> socket.socket:
        """A TCP listener inside."""
        listener = self.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(backlog)
        return listener

    def connect(self, address: str, port: int, source: str | None = None, uid: int = 0, gid: int = 0) -> socket.socket:
        """A TCP connection from inside to ``address``."""
        made = self.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, uid=uid, gid=gid)
        try:
            if source is not None:
                made.bind((source, 0))
            made.connect((address, port))
        except BaseException:
            made.close()
            raise
        return made


class Namespaces:
    """The namespaces of one test, removed together."""

    def __init__(self) -> None:
        self._made: list[Namespace] = []
        self._links = itertools.count(1)

    def add(self, label: str) -> Namespace:
        """A new namespace without links."""
        made = Namespace(label)
        self._made.append(made)
        return made

    def link(self, left: Namespace, right: Namespace) -> tuple[Link, Link]:
        """A veth pair, up, with addresses 10.77.N.1/2 and fd77:N::1/2; the devices are ``vN``."""
        number = next(self._links)
        device = f"v{number}"
        ip("link", "add", device, "netns", left.name, "type", "veth", "peer", "name", device, "netns", right.name)
        ends = []
        for last, end in enumerate((left, right), start=1):
            v4, v6 = f"10.77.{number}.{last}", f"fd77:{number}::{last}"
            end.add_address(f"{v4}/24", device)
            end.add_address(f"{v6}/64", device)
            end.ip("link", "set", device, "up")
            ends.append(Link(device, v4, v6))
        return ends[0], ends[1]

    def close(self) -> None:
        """Remove them all."""
        for made in reversed(self._made):
            made.remove()


def remove_left_overs() -> None:
    """Remove namespaces of test runs that were killed before they could."""
    if not NAMED.is_dir():
        return
    for name in os.listdir(NAMED):
        prefix, _, rest = name.partition("-")
        pid = rest.partition("-")[0]
        if prefix == PREFIX and pid.isdecimal() and not os.path.exists(f"/proc/{pid}"):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, timeout=TIMEOUT_S)


def unavailable(tools: Sequence[str] = ()) -> str | None:
    """Why namespaces (and the commands named) cannot be used here; None when they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for tool in ("ip", "nsenter", "setpriv", *tools):
        if not any(os.access(os.path.join(folder, tool), os.X_OK) for folder in os.get_exec_path()):
            return f"{tool} is not installed: run tools/setup-peers.sh"
    try:
        Namespace("probe").remove()
    except AssertionError as error:
        return f"network namespaces are not available: {error}"
    return None
