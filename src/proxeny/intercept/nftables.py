"""Rules in the syntax of ``nft -f``: three tables of family inet, which are replaced as a whole and at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from proxeny.intercept.rule import BUILT_IN, OUTPUT, PREROUTING, Condition, Field, Rule, Table, Verb

TABLES: Final = {table: f"istio-proxy-{table.value}" for table in Table}
"""Istio's names of the tables."""

_HOOKS: Final = {
    (Table.NAT, PREROUTING): "type nat hook prerouting priority -100; policy accept;",
    (Table.NAT, OUTPUT): "type nat hook output priority -100; policy accept;",
    (Table.MANGLE, PREROUTING): "type filter hook prerouting priority -150; policy accept;",
    # Only a chain of type route has a packet routed again once its mark has changed.
    (Table.MANGLE, OUTPUT): "type route hook output priority -150; policy accept;",
    (Table.RAW, PREROUTING): "type filter hook prerouting priority -300; policy accept;",
    (Table.RAW, OUTPUT): "type filter hook output priority -300; policy accept;",
}


def chain_name(chain: str) -> str:
    """Istio's name of a chain in nftables: ``ISTIO_IN_REDIRECT`` is ``istio-in-redirect``."""
    return chain.lower().replace("_", "-")


def ruleset(rules: Iterable[Rule], families: tuple[int, ...]) -> str:
    """The tables with these rules, as ``nft -f`` takes them."""
    tables: dict[Table, dict[str, list[str]]] = {}
    for rule in rules:
        chains = tables.setdefault(rule.table, {})
        if rule.verb is Verb.JUMP:
            chains.setdefault(rule.arguments[0], [])
        chains.setdefault(rule.chain, []).append(rule_text(rule, families))
    parts = []
    for table, chains in tables.items():
        parts.append(f"table inet {TABLES[table]} {{\n")
        # A chain stands before those that jump to it.
        for chain in sorted(chains, key=lambda name: name in BUILT_IN):
            lines = [_HOOKS[table, chain]] if chain in BUILT_IN else []
            body = "".join(f"\t\t{line}\n" for line in (*lines, *chains[chain]))
            parts.append(f"\tchain {chain_name(chain)} {{\n{body}\t}}\n")
        parts.append("}\n")
    return "".join(parts)


def replacement(tables: str) -> str:
    """Input of ``nft -f`` after which these tables are the only ones of ours, in one transaction."""
    gone = "".join(f"add table inet {name}\ndelete table inet {name}\n" for name in TABLES.values())
    return gone + tables


def rule_text(rule: Rule, families: tuple[int, ...] = (4, 6)) -> str:
    """The statement of one rule; only IPv4 enters where IPv6 is not captured."""
    words = []
    if rule.family is not None and not _tells_family(rule):
        words.append(f"meta nfproto ipv{rule.family}")
    elif rule.chain in BUILT_IN and 6 not in families:
        words.append("meta nfproto ipv4")
    protocol = next((one.values[0] for one in rule.conditions if one.field is Field.PROTOCOL), "")
    with_ports = any(one.field in (Field.PORT, Field.SOURCE_PORT) for one in rule.conditions)
    for condition in rule.conditions:
        if condition.field is Field.PROTOCOL and with_ports:
            continue
        words += _condition(condition, protocol, rule.family)
    words.append(_STATEMENTS[rule.verb](rule))
    return " ".join(words)


def _tells_family(rule: Rule) -> bool:
    return any(condition.field in (Field.SOURCE, Field.DESTINATION) for condition in rule.conditions)


def _condition(condition: Condition, protocol: str, family: int | None) -> Iterable[str]:
    key = _KEYS[condition.field].format(protocol=protocol, ip="ip6" if family == 6 else "ip")
    values = [value.lower() for value in condition.values]
    if condition.field in (Field.IN_INTERFACE, Field.OUT_INTERFACE):
        values = [f'"{value[:-1]}*"' if value.endswith("+") else f'"{value}"' for value in condition.values]
    if not values:
        return
    text = values[0] if len(values) == 1 else f"{{ {', '.join(values)} }}"
    yield f"{key} {'!= ' if condition.negated else ''}{text}"


_KEYS: Final[Mapping[Field, str]] = {
    Field.PROTOCOL: "meta l4proto",
    Field.IN_INTERFACE: "iifname",
    Field.OUT_INTERFACE: "oifname",
    Field.SOURCE: "{ip} saddr",
    Field.DESTINATION: "{ip} daddr",
    Field.PORT: "{protocol} dport",
    Field.SOURCE_PORT: "{protocol} sport",
    Field.UID: "meta skuid",
    Field.GID: "meta skgid",
    Field.MARK: "meta mark",
    Field.CONNECTION_MARK: "ct mark",
    Field.STATE: "ct state",
}


def _tproxy(rule: Rule) -> str:
    port, mark = rule.arguments
    return f"tproxy {'ip6' if rule.family == 6 else 'ip'} to :{port} meta mark set {mark} accept"


_STATEMENTS: Final[Mapping[Verb, Callable[[Rule], str]]] = {
    Verb.JUMP: lambda rule: f"jump {chain_name(rule.arguments[0])}",
    Verb.RETURN: lambda rule: "return",
    Verb.ACCEPT: lambda rule: "accept",
    Verb.DROP: lambda rule: "drop",
    Verb.REDIRECT: lambda rule: f"redirect to :{rule.arguments[0]}",
    Verb.TPROXY: _tproxy,
    Verb.SET_MARK: lambda rule: f"meta mark set {rule.arguments[0]}",
    Verb.SAVE_MARK: lambda rule: "ct mark set meta mark",
    Verb.RESTORE_MARK: lambda rule: "meta mark set ct mark",
    Verb.ZONE: lambda rule: f"ct zone set {rule.arguments[0]}",
}

_MARK: Final = re.compile(r"tproxy ip6? to :\d+ (?:meta )?mark set (0x[0-9a-f]+|\d+)")


def tproxy_marks(listing: str) -> tuple[int, ...]:
    """The packet marks of the TPROXY rules in what ``nft list table`` printed."""
    return tuple(dict.fromkeys(int(found, 0) for found in _MARK.findall(listing)))
