"""nftables and iptables agree: whatever is asked for, both take it, capture the same and leave no trace."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from tests.netns.ends import ask
from tests.netns.namespaces import Namespaces
from tests.netns.service import APP, FAMILIES, LOOPBACK, PROXY, Net, intercept, traces, wire

OTHER_GROUP = 3000


@pytest.fixture
def net(namespaces: Namespaces) -> Iterator[Net]:
    with ExitStack() as servers:
        made = wire(namespaces, servers, transparent=True)
        made.serve(made.side, "metrics", 9090)
        made.serve(made.side, "tunnel", 15008)
        made.serve(made.upstream, "database", 3306)
        yield made


def asked(chance: random.Random, net: Net) -> list[str]:
    """Some flags that go together."""
    flags: list[str] = []

    def maybe(*words: str) -> None:
        if chance.random() < 0.4:
            flags.extend(words)

    maybe("-m", "TPROXY")
    if chance.random() < 0.5:
        flags += ["-b", chance.choice(["", "8080", "9090,1", "8080,9090"])]
    else:
        maybe("-d", chance.choice(["9090", "1,2,3"]))
    maybe("-i", chance.choice(["", f"{net.back.v4}/32", f"{net.back.v6}/64,10.0.0.0/8", "127.0.0.0/8", "::1/128"]))
    maybe("-x", chance.choice([f"{net.back.v4}/24", f"{net.back.v6},1.2.3.4"]))
    maybe("-q", chance.choice(["3306", "3306,7000"]))
    maybe("-o", chance.choice(["3306", "7000,53"]))
    maybe("-c", chance.choice([net.back.device, net.front.device, "nosuch", "v+"]))
    maybe("-k", "tap0")
    if chance.random() < 0.5:
        maybe("--owner-users", chance.choice([str(APP), f"{APP},5", ""]))
    else:
        maybe("--exclude-owner-users", chance.choice(["5", f"5,{APP}"]))
    maybe(chance.choice(["--owner-groups", "--exclude-owner-groups"]), f"{OTHER_GROUP},7")
    maybe("-u", f"{PROXY},4")
    maybe("--drop-invalid")
    maybe("-t", "99", "-r", "98")
    maybe("--no-ipv6")
    if chance.random() < 0.4:
        flags += [
            "--redirect-dns",
            *chance.choice([("--capture-all-dns",), ("--dns-servers", f"{net.back.v4},fd00::1")]),
        ]
    return flags


def answers(net: Net) -> dict[str, str]:
    """Who answers what."""
    found = {}
    owners = {"app": (APP, APP), "group": (APP, OTHER_GROUP), "proxy": (PROXY, PROXY), "proxy's group": (0, PROXY)}
    for family in FAMILIES:
        for port in (8080, 9090, 15008):
            found[f"{family} in {port}"] = ask(net.client, net.own(family), port)
        for name, (uid, gid) in owners.items():
            for port in (7000, 3306):
                found[f"{family} {name} out {port}"] = ask(net.side, net.beyond(family), port, uid=uid, gid=gid)
            for what, address in (("loopback", LOOPBACK[family]), ("own", net.own(family))):
                found[f"{family} {name} {what}"] = ask(net.side, address, 8080, uid=uid, gid=gid)
    return found


@pytest.mark.parametrize("seed", range(8))
def test_backends_agree(net: Net, seed: int) -> None:
    flags = asked(random.Random(seed), net)
    before = traces(net.side)
    seen = []
    for backend in ("nft", "iptables"):
        intercept(net.side, "install", "--backend", backend, *flags)
        seen.append(answers(net))
        intercept(net.side, "remove")
        assert traces(net.side) == before, flags
    assert seen[0] == seen[1], flags
    assert any("inbound" in one or "outbound" in one for one in seen[0].values()) or "-i" in flags or "-c" in flags
