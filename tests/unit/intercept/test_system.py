"""Commands in a namespace: which one, their errors, and the DNS servers that hold there."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

import pytest

from proxeny.intercept import system
from proxeny.intercept.config import InterceptError
from proxeny.intercept.system import Step, System


def test_command_lines_are_shell() -> None:
    here = System()
    assert here.command_line(Step(("ip", "-6", "a b"))) == "ip -6 'a b'\n"
    assert here.command_line(Step(("nft", "-f", "-"), "x\n")) == "nft -f - <<'EOF'\nx\nEOF\n"
    there = System(f"pid:{os.getpid()}")
    assert there.command_line(Step(("ip", "a"))) == f"nsenter --net=/proc/{os.getpid()}/ns/net -- ip a\n"
    assert System("/proc/self/ns/net").command_line(Step(("x",))) == "nsenter --net=/proc/self/ns/net -- x\n"


@pytest.mark.parametrize(
    ("namespace", "why"),
    [
        ("no-such-namespace", "there is no network namespace 'no-such-namespace'"),
        ("/no/such/path", "there is no network namespace '/no/such/path'"),
        ("pid:4194305", "there is no process '4194305'"),
        ("pid:", "there is no process ''"),
        ("pid:self", "there is no process 'self'"),
    ],
)
def test_unknown_namespaces(namespace: str, why: str) -> None:
    with pytest.raises(InterceptError) as error:
        System(namespace)
    assert str(error.value) == why


def test_errors_of_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    here = System()
    monkeypatch.setitem(system._PACKAGES, "no-such-command", "package")
    with pytest.raises(InterceptError, match=r"^no-such-command is not installed \(Debian: package\)$"):
        here.read("no-such-command")
    with pytest.raises(InterceptError, match=r"^sh -c 'echo a; echo b >&2; exit 3': b"):
        here.read("sh", "-c", "echo a; echo b >&2; exit 3")
    with pytest.raises(InterceptError, match="exit status 3"):
        here.read("sh", "-c", "exit 3")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(InterceptError, match=r"root or CAP_NET_ADMIN is needed$"):
        here.read("false")
    monkeypatch.setattr(system, "COMMAND_TIMEOUT_S", 0.05)
    with pytest.raises(InterceptError, match="timed out"):
        here.read("sleep", "30")
    assert here.run(Step(("cat",), "in")) == "in"


def test_objects_of_ip() -> None:
    here = System()
    assert here.read_json("echo", '[{"a": 1}, {}]') == [{"a": 1}]
    assert here.read_json("echo", "") == []


def test_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "LOCK_TIMEOUT_S", 0.05)
    same = System(f"pid:{os.getpid()}")  # by another name
    with System().alone(), pytest.raises(InterceptError, match="another one is at work"), same.alone():
        pass
    with System().alone():
        pass
    gone = System("/proc/self/ns/net")
    gone._path = Path("/no/such")
    with pytest.raises(InterceptError, match="/no/such: No such file"), gone.alone():
        pass


def test_nameservers(tmp_path: Path) -> None:
    here = System()
    here._folder = tmp_path
    (tmp_path / "resolv.conf").write_text(
        "# nameserver 9.9.9.9\nnameserver 10.0.0.2\nnameserver\t fe80::1%eth0\n nameserver 10.0.0.2\nnameserver\n"
    )
    assert here.nameservers() == (ipaddress.ip_address("10.0.0.2"), ipaddress.ip_address("fe80::1"))
    (tmp_path / "resolv.conf").write_text("nameserver x.example\n")
    with pytest.raises(InterceptError, match="does not appear to be"):
        here.nameservers()
    here._folder = Path("/proc/4194305/root/etc")
    with pytest.raises(InterceptError, match=r"resolv.conf: No such file or directory"):
        here.nameservers()
