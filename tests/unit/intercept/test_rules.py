"""The rule set as data: what is captured, and in which order."""

from __future__ import annotations

from typing import Any

import pytest

from proxeny.intercept import config as parse
from proxeny.intercept.config import ALL, InboundMode, InterceptConfig
from proxeny.intercept.iptables import rule_text
from proxeny.intercept.rule import BUILT_IN, CHAINS, OUTPUT, PREROUTING, Table, Verb
from proxeny.intercept.rules import rules_of


def lines(family: int = 4, table: Table = Table.NAT, chain: str = "", **options: Any) -> list[str]:
    """The rules of one table (and chain), as iptables writes them."""
    rules = rules_of(InterceptConfig(**options).check())
    return [
        rule_text(rule)
        for rule in rules
        if rule.table is table and rule.family in (None, family) and chain in ("", rule.chain)
    ]


def test_default_rules_are_those_of_istio() -> None:
    assert lines() == [
        "-A PREROUTING -p tcp -j ISTIO_INBOUND",
        "-A ISTIO_INBOUND -p tcp --dport 15008 -j RETURN",
        "-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001",
        "-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006",
        "-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT",
        "-A OUTPUT -j ISTIO_OUTPUT",
        "-A ISTIO_OUTPUT -o lo -s 127.0.0.6/32 -j RETURN",
        "-A ISTIO_OUTPUT -o lo ! -d 127.0.0.1/32 -p tcp ! --dport 15008 -m owner --uid-owner 1337 -j ISTIO_IN_REDIRECT",
        "-A ISTIO_OUTPUT -o lo -m owner ! --uid-owner 1337 -j RETURN",
        "-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN",
        "-A ISTIO_OUTPUT -o lo ! -d 127.0.0.1/32 -p tcp ! --dport 15008 -m owner --gid-owner 1337 -j ISTIO_IN_REDIRECT",
        "-A ISTIO_OUTPUT -o lo -m owner ! --gid-owner 1337 -j RETURN",
        "-A ISTIO_OUTPUT -m owner --gid-owner 1337 -j RETURN",
        "-A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN",
        "-A ISTIO_OUTPUT -j ISTIO_REDIRECT",
    ]
    assert lines(table=Table.MANGLE) == lines(table=Table.RAW) == []
    v6 = lines(6)
    assert v6[6] == "-A ISTIO_OUTPUT -o lo -s ::6/128 -j RETURN"
    assert v6[-2] == "-A ISTIO_OUTPUT -d ::1/128 -j RETURN"
    assert len(v6) == len(lines())
    assert not [rule for rule in rules_of(InterceptConfig(ipv6=False)) if rule.family == 6]


def test_lists_of_ports_and_ranges() -> None:
    inbound = lines(chain="ISTIO_INBOUND", inbound_ports=(80, 443))
    assert inbound == [
        "-A ISTIO_INBOUND -p tcp --dport 15008 -j RETURN",
        "-A ISTIO_INBOUND -p tcp --dport 80 -j ISTIO_IN_REDIRECT",
        "-A ISTIO_INBOUND -p tcp --dport 443 -j ISTIO_IN_REDIRECT",
    ]
    options = {
        "outbound_cidrs": parse.cidrs("10.0.0.0/8,fd00::/8"), "exclude_outbound_cidrs": parse.cidrs("10.9.0.0/16"),
        "outbound_ports": (5432,), "exclude_outbound_ports": (3306,),
    }  # fmt: skip
    outbound = lines(chain="ISTIO_OUTPUT", **options)
    assert outbound[:2] == [
        "-A ISTIO_OUTPUT -p tcp --dport 3306 -j RETURN",
        "-A ISTIO_OUTPUT -p udp --dport 3306 -j RETURN",
    ]
    assert outbound[-4:] == [
        "-A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN",
        "-A ISTIO_OUTPUT -d 10.9.0.0/16 -j RETURN",
        "-A ISTIO_OUTPUT -p tcp --dport 5432 -j ISTIO_REDIRECT",
        "-A ISTIO_OUTPUT -d 10.0.0.0/8 -j ISTIO_REDIRECT",
    ]
    assert lines(6, chain="ISTIO_OUTPUT", **options)[-1] == "-A ISTIO_OUTPUT -d fd00::/8 -j ISTIO_REDIRECT"
    assert "-A ISTIO_OUTPUT -j ISTIO_REDIRECT" not in lines(outbound_cidrs=())


def test_excluded_inbound_ports_come_first() -> None:
    assert lines(chain="ISTIO_INBOUND", exclude_inbound_ports=(22, 9090))[1:] == [
        "-A ISTIO_INBOUND -p tcp --dport 22 -j RETURN",
        "-A ISTIO_INBOUND -p tcp --dport 9090 -j RETURN",
        "-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT",
    ]


def test_no_inbound_capture_leaves_prerouting_alone() -> None:
    assert lines(chain=PREROUTING, inbound_ports=()) == []
    assert lines(chain=PREROUTING, inbound_ports=(), virtual_interfaces=("tap0",)) != []


def test_several_proxy_owners_are_told_from_strangers_at_once() -> None:
    found = lines(chain="ISTIO_OUTPUT", proxy_uids=(3, 4), proxy_gids=())
    assert found[1:6] == [
        "-A ISTIO_OUTPUT -o lo ! -d 127.0.0.1/32 -p tcp ! --dport 15008 -m owner --uid-owner 3 -j ISTIO_IN_REDIRECT",
        "-A ISTIO_OUTPUT -o lo ! -d 127.0.0.1/32 -p tcp ! --dport 15008 -m owner --uid-owner 4 -j ISTIO_IN_REDIRECT",
        "-A ISTIO_OUTPUT -o lo -m owner ! --uid-owner 3 -m owner ! --uid-owner 4 -j RETURN",
        "-A ISTIO_OUTPUT -m owner --uid-owner 3 -j RETURN",
        "-A ISTIO_OUTPUT -m owner --uid-owner 4 -j RETURN",
    ]


def test_a_captured_loopback_range_is_not_returned_early() -> None:
    assert "-A ISTIO_OUTPUT -o lo -m owner ! --uid-owner 1337 -j RETURN" in lines()
    assert not [rule for rule in lines(outbound_cidrs=parse.cidrs("127.1.2.3/32")) if "! --uid-owner" in rule]


def test_other_owners() -> None:
    options = {"exclude_owner_uids": (7, 8), "owner_gids": (20, 21)}
    found = lines(chain="ISTIO_OUTPUT", **options)
    at = found.index("-A ISTIO_OUTPUT -m owner --gid-owner 1337 -j RETURN") + 1
    assert found[at : at + 3] == [
        "-A ISTIO_OUTPUT -m owner --uid-owner 7 -j RETURN",
        "-A ISTIO_OUTPUT -m owner --uid-owner 8 -j RETURN",
        "-A ISTIO_OUTPUT -m owner ! --gid-owner 20 -m owner ! --gid-owner 21 -j RETURN",
    ]
    assert lines(chain="ISTIO_OUTPUT", owner_uids=())[at] == "-A ISTIO_OUTPUT -j RETURN"


def test_interfaces() -> None:
    options = {"exclude_interfaces": ("eth9",), "virtual_interfaces": ("tap0",)}
    found = lines(outbound_cidrs=parse.cidrs("10.0.0.0/8"), **options)
    assert found[:5] == [
        "-A PREROUTING -p tcp -j ISTIO_INBOUND",
        "-A ISTIO_INBOUND -i eth9 -j RETURN",
        "-A ISTIO_OUTPUT -o eth9 -j RETURN",
        "-A ISTIO_INBOUND -i tap0 -d 10.0.0.0/8 -j ISTIO_REDIRECT",
        "-A ISTIO_INBOUND -i tap0 -j RETURN",
    ]
    mangle = lines(table=Table.MANGLE, chain="ISTIO_INBOUND", inbound_mode=InboundMode.TPROXY, **options)
    assert mangle[:2] == ["-A ISTIO_INBOUND -i eth9 -j RETURN", "-A ISTIO_INBOUND -i tap0 -j RETURN"]


def test_dns() -> None:
    options = {"redirect_dns": True, "dns_servers": parse.addresses("127.0.0.53,10.0.0.2"), "dns_port": 5353}
    assert lines(chain="ISTIO_OUTPUT_DNS", **options) == [
        "-A ISTIO_OUTPUT_DNS -p tcp --dport 53 -d 127.0.0.53/32 -j REDIRECT --to-ports 5353",
        "-A ISTIO_OUTPUT_DNS -p tcp --dport 53 -d 10.0.0.2/32 -j REDIRECT --to-ports 5353",
        "-A ISTIO_OUTPUT_DNS -p udp --dport 53 -d 127.0.0.53/32 -j REDIRECT --to-ports 5353",
        "-A ISTIO_OUTPUT_DNS -p udp --dport 53 -d 10.0.0.2/32 -j REDIRECT --to-ports 5353",
    ]
    assert lines(6, chain="ISTIO_OUTPUT_DNS", **options) == []
    assert "-A ISTIO_OUTPUT -j ISTIO_OUTPUT_DNS" in lines(**options)
    assert "-A ISTIO_OUTPUT -j ISTIO_OUTPUT_DNS" not in lines(6, **options)
    assert lines(table=Table.RAW, **options) == [
        "-A OUTPUT -j ISTIO_OUTPUT_DNS",
        "-A ISTIO_OUTPUT_DNS -p udp --dport 53 -m owner --uid-owner 1337 -j CT --zone 1",
        "-A ISTIO_OUTPUT_DNS -p udp --sport 5353 -m owner --uid-owner 1337 -j CT --zone 2",
        "-A ISTIO_OUTPUT_DNS -p udp --dport 53 -m owner --gid-owner 1337 -j CT --zone 1",
        "-A ISTIO_OUTPUT_DNS -p udp --sport 5353 -m owner --gid-owner 1337 -j CT --zone 2",
        "-A PREROUTING -j ISTIO_INBOUND",
        "-A ISTIO_OUTPUT_DNS -p udp --dport 53 -d 127.0.0.53/32 -j CT --zone 2",
        "-A ISTIO_OUTPUT_DNS -p udp --dport 53 -d 10.0.0.2/32 -j CT --zone 2",
        "-A ISTIO_INBOUND -p udp --sport 53 -s 127.0.0.53/32 -j CT --zone 1",
        "-A ISTIO_INBOUND -p udp --sport 53 -s 10.0.0.2/32 -j CT --zone 1",
    ]
    # A local DNS server may be one of those captured: loopback to port 53 is not returned early.
    found = lines(chain="ISTIO_OUTPUT", **options)
    assert found[1].startswith(
        "-A ISTIO_OUTPUT -o lo ! -d 127.0.0.1/32 -p tcp -m multiport ! --dports 53,15008 -m owner"
    )
    assert found[2] == "-A ISTIO_OUTPUT -o lo -p tcp ! --dport 53 -m owner ! --uid-owner 1337 -j RETURN"


def test_dns_to_any_server() -> None:
    for family in (4, 6):
        found = lines(family, chain="ISTIO_OUTPUT_DNS", redirect_dns=True, dns_servers=ALL)
        assert found == [
            "-A ISTIO_OUTPUT_DNS -p tcp --dport 53 -j REDIRECT --to-ports 15053",
            "-A ISTIO_OUTPUT_DNS -p udp --dport 53 -j REDIRECT --to-ports 15053",
        ]


def test_tproxy() -> None:
    options = {"inbound_mode": InboundMode.TPROXY, "exclude_inbound_ports": (22,), "proxy_gids": ()}
    assert lines(table=Table.MANGLE, **options) == [
        "-A ISTIO_DIVERT -j MARK --set-mark 1337",
        "-A ISTIO_DIVERT -j ACCEPT",
        "-A ISTIO_TPROXY ! -d 127.0.0.1/32 -p tcp -j TPROXY --on-port 15006 --tproxy-mark 1337/0xffffffff",
        "-A PREROUTING -p tcp -j ISTIO_INBOUND",
        "-A ISTIO_INBOUND -p tcp -m mark --mark 1337 -j CONNMARK --save-mark",
        "-A ISTIO_INBOUND -p tcp -m mark --mark 1337 -j RETURN",
        "-A ISTIO_INBOUND -p tcp -s 127.0.0.6/32 -i lo -j RETURN",
        "-A ISTIO_INBOUND -p tcp -i lo -m mark ! --mark 1338 -j RETURN",
        "-A ISTIO_INBOUND -p tcp --dport 15008 -j RETURN",
        "-A ISTIO_INBOUND -p tcp --dport 22 -j RETURN",
        "-A ISTIO_INBOUND -p tcp -m conntrack --ctstate RELATED,ESTABLISHED -j ISTIO_DIVERT",
        "-A ISTIO_INBOUND -p tcp -j ISTIO_TPROXY",
        "-A OUTPUT -p tcp -j ISTIO_OUTPUT",
        "-A ISTIO_OUTPUT -p tcp -o lo -m mark --mark 1337 -j RETURN",
        "-A ISTIO_OUTPUT ! -d 127.0.0.1/32 -p tcp -o lo -m owner --uid-owner 1337 -j MARK --set-mark 1338",
        "-A ISTIO_OUTPUT -p tcp -m connmark --mark 1337 -j CONNMARK --restore-mark",
    ]
    nat = lines(**options)
    assert not [rule for rule in nat if "PREROUTING" in rule or "-j ISTIO_IN_REDIRECT" in rule]
    listed = lines(table=Table.MANGLE, inbound_mode=InboundMode.TPROXY, inbound_ports=(80,))
    assert "-A ISTIO_INBOUND -p tcp --dport 80 -j ISTIO_TPROXY" in listed
    assert "-A ISTIO_INBOUND -p tcp --dport 80 -m conntrack --ctstate RELATED,ESTABLISHED -j ISTIO_DIVERT" in listed


def test_drop_invalid() -> None:
    assert lines(table=Table.MANGLE, drop_invalid=True) == [
        "-A PREROUTING -m conntrack --ctstate INVALID -j ISTIO_DROP",
        "-A ISTIO_DROP -j DROP",
    ]


@pytest.mark.parametrize("mode", InboundMode)
def test_built_in_chains_get_jumps_alone(mode: InboundMode) -> None:
    asked = InterceptConfig(
        inbound_mode=mode, redirect_dns=True, dns_servers=ALL, drop_invalid=True, exclude_interfaces=("a",),
        virtual_interfaces=("b",), exclude_owner_gids=(5,),
    )  # fmt: skip
    for rule in rules_of(asked):
        assert rule.chain in (*CHAINS, PREROUTING, OUTPUT)
        if rule.chain in BUILT_IN:
            assert rule.verb is Verb.JUMP
        if rule.verb is Verb.JUMP:
            assert rule.arguments[0] in CHAINS
