"""The rule set in nft's syntax."""

from __future__ import annotations

from typing import Any

from proxeny.intercept import config as parse
from proxeny.intercept.config import InboundMode, InterceptConfig
from proxeny.intercept.nftables import replacement, ruleset, tproxy_marks
from proxeny.intercept.rules import rules_of


def text(**options: Any) -> str:
    asked = InterceptConfig(**options).check()
    return ruleset(rules_of(asked), asked.families)


def chain(listing: str, table: str, name: str) -> list[str]:
    """The statements of one chain."""
    body = listing.split(f"table inet istio-proxy-{table} {{\n")[1].split("\n}\n")[0]
    return [line.strip() for line in body.split(f"\tchain {name} {{\n")[1].split("\t}")[0].splitlines()]


def test_default_rules() -> None:
    listing = text()
    assert "mangle" not in listing and "raw" not in listing
    assert chain(listing, "nat", "output") == [
        "type nat hook output priority -100; policy accept;",
        "jump istio-output",
    ]
    assert chain(listing, "nat", "prerouting") == [
        "type nat hook prerouting priority -100; policy accept;",
        "meta l4proto tcp jump istio-inbound",
    ]
    assert chain(listing, "nat", "istio-inbound") == [
        "tcp dport 15008 return",
        "meta l4proto tcp jump istio-in-redirect",
    ]
    assert chain(listing, "nat", "istio-redirect") == ["meta l4proto tcp redirect to :15001"]
    assert chain(listing, "nat", "istio-output") == [
        'oifname "lo" ip saddr 127.0.0.6/32 return',
        'oifname "lo" ip6 saddr ::6/128 return',
        'oifname "lo" ip daddr != 127.0.0.1/32 tcp dport != 15008 meta skuid 1337 jump istio-in-redirect',
        'oifname "lo" ip6 daddr != ::1/128 tcp dport != 15008 meta skuid 1337 jump istio-in-redirect',
        'oifname "lo" meta skuid != 1337 return',
        "meta skuid 1337 return",
        'oifname "lo" ip daddr != 127.0.0.1/32 tcp dport != 15008 meta skgid 1337 jump istio-in-redirect',
        'oifname "lo" ip6 daddr != ::1/128 tcp dport != 15008 meta skgid 1337 jump istio-in-redirect',
        'oifname "lo" meta skgid != 1337 return',
        "meta skgid 1337 return",
        "ip daddr 127.0.0.1/32 return",
        "ip6 daddr ::1/128 return",
        "jump istio-redirect",
    ]


def test_a_chain_stands_before_those_that_jump_to_it_from_outside() -> None:
    listing = text(redirect_dns=True, dns_servers=parse.addresses("10.0.0.2"))
    assert listing.index("chain istio-output {") < listing.index("chain output {")


def test_ipv4_alone_is_told_at_the_door() -> None:
    listing = text(ipv6=False)
    assert chain(listing, "nat", "output")[1] == "meta nfproto ipv4 jump istio-output"
    assert chain(listing, "nat", "prerouting")[1] == "meta nfproto ipv4 meta l4proto tcp jump istio-inbound"
    assert "ip6" not in listing


def test_dns() -> None:
    listing = text(redirect_dns=True, dns_servers=parse.addresses("10.0.0.2"))
    assert "meta nfproto ipv4 jump istio-output-dns" in chain(listing, "nat", "istio-output")
    assert chain(listing, "nat", "istio-output-dns")[1] == "udp dport 53 ip daddr 10.0.0.2/32 redirect to :15053"
    assert 'oifname "lo" tcp dport != 53 meta skuid != 1337 return' in chain(listing, "nat", "istio-output")
    assert chain(listing, "raw", "istio-output-dns") == [
        "udp dport 53 meta skuid 1337 ct zone set 1",
        "udp sport 15053 meta skuid 1337 ct zone set 2",
        "udp dport 53 meta skgid 1337 ct zone set 1",
        "udp sport 15053 meta skgid 1337 ct zone set 2",
        "udp dport 53 ip daddr 10.0.0.2/32 ct zone set 2",
    ]
    assert chain(listing, "raw", "istio-inbound") == ["udp sport 53 ip saddr 10.0.0.2/32 ct zone set 1"]


def test_tproxy() -> None:
    listing = text(
        inbound_mode=InboundMode.TPROXY, proxy_gids=(), drop_invalid=True, exclude_interfaces=("eth+", "a.b")
    )
    assert chain(listing, "mangle", "output")[0] == "type route hook output priority -150; policy accept;"
    assert chain(listing, "mangle", "istio-tproxy") == [
        "ip daddr != 127.0.0.1/32 meta l4proto tcp tproxy ip to :15006 meta mark set 1337 accept",
        "ip6 daddr != ::1/128 meta l4proto tcp tproxy ip6 to :15006 meta mark set 1337 accept",
    ]
    assert chain(listing, "mangle", "istio-divert") == ["meta mark set 1337", "accept"]
    inbound = chain(listing, "mangle", "istio-inbound")
    assert inbound[:4] == [
        'iifname "eth*" return',
        'iifname "a.b" return',
        "meta l4proto tcp meta mark 1337 ct mark set meta mark",
        "meta l4proto tcp meta mark 1337 return",
    ]
    assert inbound[-2:] == [
        "meta l4proto tcp ct state { related, established } jump istio-divert",
        "meta l4proto tcp jump istio-tproxy",
    ]
    assert chain(listing, "mangle", "istio-drop") == ["drop"]
    assert "ct state invalid jump istio-drop" in chain(listing, "mangle", "prerouting")
    assert tproxy_marks(listing) == (1337,)
    assert tproxy_marks("tproxy ip to :15006 meta mark set 0x0000004d accept") == (77,)


def test_several_owners_are_a_set() -> None:
    listing = text(proxy_uids=(3, 4), proxy_gids=())
    assert 'oifname "lo" meta skuid != { 3, 4 } return' in listing


def test_replacement_takes_all_our_tables_away_first() -> None:
    names = ("mangle", "nat", "raw")
    gone = "".join(f"add table inet istio-proxy-{name}\ndelete table inet istio-proxy-{name}\n" for name in names)
    assert replacement("") == gone
    assert replacement("table inet istio-proxy-nat {\n}\n") == gone + "table inet istio-proxy-nat {\n}\n"
