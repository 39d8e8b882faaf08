"""The steps from one state of a namespace to another, and that a failure is undone."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from proxeny.intercept.config import InboundMode, InterceptConfig, InterceptError
from proxeny.intercept.installer import Backend, Installed, apply, choose_backend, read_installed, steps, wanted
from proxeny.intercept.system import Step, System

TPROXY = InterceptConfig(inbound_mode=InboundMode.TPROXY)


class FakeSystem(System):
    """Answers from a table, by the first words of a command; remembers what ran."""

    def __init__(self, answers: dict[str, str], commands: tuple[str, ...] = (), fails: str = "") -> None:
        super().__init__()
        self.answers = answers
        self.commands = commands
        self.fails = fails
        self.ran: list[str] = []

    def has(self, command: str) -> bool:
        return command in self.commands

    def run(self, step: Step) -> str:
        text = " ".join(step.argv)
        self.ran.append(text)
        if self.fails and self.fails in text + step.stdin:
            raise InterceptError(f"{text}: no")
        return next((answer for prefix, answer in self.answers.items() if text.startswith(prefix)), "")


def words(present: Installed, target: Installed) -> list[str]:
    return [" ".join(step.argv) for step in steps(present, target)]


def test_routes_come_before_rules_and_go_after_them() -> None:
    installed = wanted(TPROXY, Backend.IPTABLES)
    assert words(Installed(), installed) == [
        "ip -6 address add ::6/128 dev lo",
        "ip -4 route add local default dev lo table 133",
        "ip -6 route add local default dev lo table 133",
        "ip -4 rule add fwmark 1337 lookup 133",
        "ip -6 rule add fwmark 1337 lookup 133",
        "iptables-restore --wait=10 --noflush",
        "ip6tables-restore --wait=10 --noflush",
    ]
    assert words(installed, Installed()) == [
        "iptables-restore --wait=10 --noflush",
        "ip6tables-restore --wait=10 --noflush",
        "ip -4 rule delete fwmark 1337 lookup 133",
        "ip -6 rule delete fwmark 1337 lookup 133",
        "ip -4 route delete local default dev lo table 133",
        "ip -6 route delete local default dev lo table 133",
        "ip -6 address delete ::6/128 dev lo",
    ]
    assert words(Installed(), Installed()) == []


def test_nftables_is_one_transaction() -> None:
    installed = wanted(InterceptConfig(ipv6=False), Backend.NFT)
    assert words(Installed(), installed) == words(installed, Installed()) == ["nft -f -"]
    assert installed.backends == (Backend.NFT,) and installed


def test_a_change_of_backend_installs_before_it_removes() -> None:
    old, new = wanted(TPROXY, Backend.IPTABLES), wanted(InterceptConfig(ipv6=False), Backend.NFT)
    assert words(old, new)[:3] == [
        "nft -f -",
        "iptables-restore --wait=10 --noflush",
        "ip6tables-restore --wait=10 --noflush",
    ]
    assert "ip -4 rule delete fwmark 1337 lookup 133" in words(old, new)


ANSWERS = {
    "iptables-save": "*mangle\n:ISTIO_TPROXY - [0:0]\n-A ISTIO_TPROXY -j TPROXY --tproxy-mark 0x4d/0xff\nCOMMIT\n",
    "nft list tables inet": "table inet other\ntable inet istio-proxy-nat\n",
    "nft list table inet istio-proxy-nat": "table inet istio-proxy-nat {\n}\n",
    "ip -json -4 rule show": json.dumps(
        [{"priority": 1, "fwmark": "0x4d", "table": "99"}, {"fwmark": "0x1", "table": "100"}, {"table": "local"},
         {"fwmark": "0x539", "table": "5"},
         {"fwmark": "0x4d", "fwmask": "0xff", "table": "7"}]
    ),
    "ip -json -4 route show table 99": json.dumps([{"type": "local", "dst": "default", "dev": "lo"}, {}]),
    "ip -json -4 route show table 133": json.dumps([{"dst": "default", "dev": "eth0"}]),
    "ip -json -6 address show": json.dumps([{"addr_info": [{"local": "::1"}, {"local": "::6"}]}, {}]),
}  # fmt: skip


def test_what_is_installed_is_read() -> None:
    system = FakeSystem(ANSWERS, ("iptables-save", "nft"))
    found = read_installed(system, (1337,), ("133",))
    assert found.iptables.keys() == {4} and found.nftables == "table inet istio-proxy-nat {\n}\n"
    assert found.policies == {(4, 77, "99")} and found.routes == {(4, "99")} and found.passthrough
    assert not read_installed(FakeSystem({"ip": "[]"}))


def test_a_failure_is_undone() -> None:
    system = FakeSystem(
        {key: ANSWERS[key] for key in ANSWERS if key.startswith(("nft", "ip -json -6"))}, ("nft",), "chain"
    )
    with pytest.raises(InterceptError, match=r"^nft -f -: no; what was done has been undone$"):
        apply(system, Installed(), wanted(InterceptConfig(), Backend.NFT))
    assert system.ran[:2] == ["ip -6 address add ::6/128 dev lo", "nft -f -"]
    assert system.ran[-2:] == ["nft -f -", "ip -6 address delete ::6/128 dev lo"]


def test_an_undoing_that_fails_is_told() -> None:
    system = FakeSystem({"ip": "[]"}, (), "nft")
    system.commands = ("nft",)
    with pytest.raises(InterceptError, match="and undoing what was done failed: nft list tables inet: no"):
        apply(system, Installed(), wanted(InterceptConfig(), Backend.NFT))


@pytest.mark.parametrize(
    ("commands", "present", "chosen"),
    [
        (("nft", "iptables-restore"), Installed(), Backend.NFT),
        (("iptables-restore",), Installed(), Backend.IPTABLES),
        (("nft", "iptables-restore"), wanted(InterceptConfig(), Backend.IPTABLES), Backend.IPTABLES),
    ],
)
def test_backend(commands: tuple[str, ...], present: Installed, chosen: Backend) -> None:
    assert choose_backend(FakeSystem({}, commands), present) is chosen


def test_no_backend() -> None:
    with pytest.raises(InterceptError, match="neither nft nor iptables-restore is installed"):
        choose_backend(FakeSystem({}), Installed())


@pytest.fixture(autouse=True)
def _with_ipv6(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("proxeny.intercept.installer.os.path.exists", lambda path: True)
    yield
