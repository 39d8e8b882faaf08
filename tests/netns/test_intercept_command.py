"""``proxeny intercept`` as a command: twice, at once, undone, beside rules of others, elsewhere, without rights."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.netns.namespaces import TIMEOUT_S, Namespace, Namespaces
from tests.netns.service import APP, FAMILIES, Net, intercept, shown, traces

from proxeny.intercept import command


def test_remove_restores_direct_traffic(net: Net, backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = traces(net.side)
    intercept(net.side, "install", "--backend", backend, "--redirect-dns", "--capture-all-dns", "--drop-invalid")
    assert traces(net.side) != before
    intercept(net.side, "remove")
    assert traces(net.side) == before
    assert shown(net.side, capsys) == "nothing is installed\n"
    for family in FAMILIES:
        assert net.outbound(family, uid=APP).startswith("upstream ")
        assert net.inbound(family).startswith("app ")
    intercept(net.side, "remove")
    assert capsys.readouterr().out == "nothing was installed\n"


def test_installed_twice_is_installed_once(net: Net, backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (
        "install",
        "--backend",
        backend,
        "--redirect-dns",
        "--dns-servers",
        "10.0.0.53,fd00::53",
        "-m",
        "TPROXY",
    )
    intercept(net.side, *arguments)
    first, once = shown(net.side, capsys), traces(net.side)
    intercept(net.side, *arguments)
    assert shown(net.side, capsys) == first and traces(net.side) == once
    intercept(net.side, "install")
    assert "TPROXY" not in shown(net.side, capsys) and "lookup 133" not in traces(net.side)


def test_a_change_of_backend_leaves_one(net: Net, capsys: pytest.CaptureFixture[str]) -> None:
    intercept(net.side, "install", "--backend", "iptables")
    assert "# nftables" not in shown(net.side, capsys)
    intercept(net.side, "install", "--backend", "nft")
    assert "# iptables" not in shown(net.side, capsys)
    assert net.outbound("v4", uid=APP).startswith("outbound ")


def test_rules_of_others_stay(net: Net, backend: str) -> None:
    for family in ("iptables", "ip6tables"):
        net.side.run(family, "-t", "nat", "-A", "OUTPUT", "-p", "tcp", "--dport", "7", "-j", "RETURN")
        net.side.run(family, "-t", "nat", "-N", "THEIRS")
        net.side.run(family, "-t", "nat", "-A", "OUTPUT", "-j", "THEIRS")
    net.side.run("nft", "add table inet theirs; add chain inet theirs istio-output")
    before = traces(net.side)
    assert "THEIRS" in before and "theirs" in before
    for _ in range(2):
        intercept(net.side, "install", "--backend", backend)
    intercept(net.side, "remove")
    assert traces(net.side) == before


def test_connections_survive_a_replacement(net: Net, backend: str) -> None:
    """Only new ones meet new rules: conntrack remembers where the others go."""
    listener = net.servers.enter_context(net.side.listen("127.0.0.1", 19001))
    intercept(net.side, "install", "--backend", backend, "-p", "19001")
    client = net.servers.enter_context(net.side.connect(net.back.v4, 7777, uid=APP))
    captured = net.servers.enter_context(listener.accept()[0])
    captured.settimeout(TIMEOUT_S)
    other = "nft" if backend == "iptables" else "iptables"
    for change in ("-p", "15001"), ("-m", "TPROXY"), ("--backend", other, "-p", "19002"), ("-o", "7777"):
        intercept(net.side, "install", *change)
        client.sendall(b"still here")
        assert captured.recv(100) == b"still here"


def test_several_at_once_install_one(net: Net, backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    intercept(net.side, "install", "--backend", backend, "-o", "3306")
    once = traces(net.side)
    with ThreadPoolExecutor(4) as several:
        arguments = ["install", "--namespace", net.side.name, "--backend", backend, "-o", "3306"]
        assert list(several.map(command.main, [arguments] * 8)) == [0] * 8
    assert traces(net.side) == once


def test_loopback_that_is_down_is_told(namespaces: Namespaces, capsys: pytest.CaptureFixture[str]) -> None:
    bare = namespaces.add("bare")
    bare.ip("link", "set", "lo", "down")
    intercept(bare, "install")
    assert "lo is down" in capsys.readouterr().err
    bare.ip("link", "set", "lo", "up")
    intercept(bare, "install")
    assert capsys.readouterr().err == ""


def test_iptables_legacy(net: Net, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The older kernel interface, where that is what ``iptables-restore`` is."""
    for name in ("iptables-save", "iptables-restore", "ip6tables-save", "ip6tables-restore"):
        legacy = shutil.which(name.replace("tables", "tables-legacy"), path="/usr/sbin:/sbin")
        assert legacy is not None
        (tmp_path / name).symlink_to(legacy)
    monkeypatch.setattr("proxeny.intercept.system._PATH", f"{tmp_path}:{os.environ['PATH']}:/usr/sbin:/sbin")
    before = net.side.run("iptables-legacy-save").stdout
    for mode in ("REDIRECT", "TPROXY", "REDIRECT"):
        intercept(net.side, "install", "--backend", "iptables", "-m", mode)
    assert "ISTIO_REDIRECT" in net.side.run("ip6tables-legacy-save").stdout
    assert "ISTIO" not in net.side.run("iptables-nft-save").stdout
    for family in FAMILIES:
        assert net.outbound(family, uid=APP).startswith("outbound ")
        assert net.inbound(family).startswith("inbound ")
    intercept(net.side, "remove")
    assert "ISTIO" not in net.side.run("iptables-legacy-save").stdout + before
    assert net.inbound("v6").startswith("app ")


def test_namespace_by_path_and_by_process(net: Net) -> None:
    assert command.main(["install", "--namespace", net.side.path]) == 0
    assert net.inbound("v4").startswith("inbound ")
    with net.side.popen("sleep", "60") as sleeper:
        try:
            assert command.main(["remove", "--namespace", f"pid:{sleeper.pid}"]) == 0
        finally:
            sleeper.kill()
    assert net.inbound("v4").startswith("app ")


def test_the_command_inside_the_namespace(net: Net) -> None:
    run = [sys.executable, "-m", "proxeny", "intercept"]
    assert "IPv4 and IPv6" in net.side.run(*run, "install").stdout
    assert net.inbound("v6").startswith("inbound ")
    net.side.run(*run, "remove")
    assert net.inbound("v6").startswith("app ")


def test_what_a_dry_run_prints_is_a_script_that_does_it(
    net: Net, backend: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = traces(net.side)
    capsys.readouterr()
    arguments = ["--namespace", net.side.name, "--dry-run"]
    assert command.main(["install", *arguments, "--backend", backend, "-m", "TPROXY"]) == 0
    script = capsys.readouterr().out
    assert traces(net.side) == before
    assert subprocess.run(["sh", "-e"], input=script, text=True).returncode == 0
    by_script = traces(net.side)
    intercept(net.side, "install", "--backend", backend, "-m", "TPROXY")
    assert traces(net.side) == by_script != before
    capsys.readouterr()
    assert command.main(["remove", *arguments]) == 0
    assert subprocess.run(["sh", "-e"], input=capsys.readouterr().out, text=True).returncode == 0
    assert traces(net.side) == before


@pytest.mark.parametrize("broken", ["ip6tables-restore", "nft"])
@pytest.mark.parametrize("earlier", [(), ("-m", "TPROXY", "-o", "3306")])
def test_a_failure_undoes_what_was_done(
    net: Net, broken: str, earlier: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    backend = "nft" if broken == "nft" else "iptables"
    if earlier:
        intercept(net.side, "install", "--backend", backend, *earlier)
    before = traces(net.side)
    real = subprocess.run(["which", broken], capture_output=True, text=True).stdout.strip()
    # It fails when it is to install what was asked for, and works when it is to undo it.
    fake = tmp_path / broken
    fake.write_text(
        f'#!/bin/sh\ncase "$*" in *list*) exec {real} "$@";; esac\ninput=$(cat)\n'
        f'case "$input" in *19001*) echo "no memory" >&2; exit 1;; esac\necho "$input" | {real} "$@"\n'
    )
    fake.chmod(0o755)
    monkeypatch.setattr("proxeny.intercept.system._PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}:/usr/sbin:/sbin")
    capsys.readouterr()
    assert command.main(["install", "--namespace", net.side.name, "--backend", backend, "-p", "19001"]) == 1
    error = capsys.readouterr().err
    assert "no memory" in error and error.endswith("what was done has been undone\n")
    assert traces(net.side) == before


def unprivileged(namespace: Namespace, *args: str, capabilities: str = "") -> subprocess.CompletedProcess[str]:
    """The command as another user; it may read the interpreter, wherever that is."""
    kept = f"+dac_read_search{capabilities}"
    owner = ("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups")
    owner += (f"--inh-caps={kept}", f"--ambient-caps={kept}")
    return namespace.run(*owner, sys.executable, "-m", "proxeny", "intercept", *args, check=False)


def test_without_the_right_to(net: Net) -> None:
    done = unprivileged(net.side, "install")
    assert done.returncode == 1
    assert "root or CAP_NET_ADMIN is needed" in done.stderr and done.stderr.startswith("proxeny intercept: ")
    dry = unprivileged(net.side, "install", "--dry-run")
    assert dry.returncode == 0 and "istio-proxy-nat" in dry.stdout
    assert dry.stdout.startswith("# What is installed cannot be read; taken for nothing.")


def test_the_capability_is_enough(net: Net, backend: str) -> None:
    before = traces(net.side)
    installed = unprivileged(net.side, "install", "--backend", backend, "-m", "TPROXY", capabilities=",+net_admin")
    assert installed.returncode == 0, installed.stderr
    assert net.outbound("v4", uid=APP).startswith("outbound ")
    assert unprivileged(net.side, "remove", capabilities=",+net_admin").returncode == 0
    assert traces(net.side) == before
