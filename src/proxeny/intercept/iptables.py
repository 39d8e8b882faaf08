"""Rules in the syntax of iptables-restore, and what iptables-save prints read back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from proxeny.intercept.rule import BUILT_IN, CHAINS, Condition, Field, Rule, Table, Verb

SAVE: Final = {4: "iptables-save", 6: "ip6tables-save"}
RESTORE: Final = {4: "iptables-restore", 6: "ip6tables-restore"}


@dataclass(frozen=True, slots=True)
class TableState:
    """Our part of one table: our chains, and the rules in them or leading to them (``-A CHAIN ...``)."""

    chains: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()

    @property
    def jumps(self) -> tuple[str, ...]:
        """The rules in built-in chains."""
        return tuple(rule for rule in self.rules if rule.split(" ", 2)[1] in BUILT_IN)


State = Mapping[Table, TableState]
"""Our part of all tables of one IP version; tables without any of it are left out."""


# -- rules to text -------------------------------------------------------------------------------------------------


def state_of(rules: Iterable[Rule], family: int) -> State:
    """The rules of one IP version, as iptables-restore takes them."""
    tables: dict[Table, tuple[dict[str, None], list[str]]] = {}
    for rule in rules:
        if rule.family not in (None, family):
            continue
        chains, lines = tables.setdefault(rule.table, ({}, []))
        for chain in (rule.chain, *(rule.arguments if rule.verb is Verb.JUMP else ())):
            if chain not in BUILT_IN:
                chains[chain] = None
        lines.append(rule_text(rule))
    return {table: TableState(tuple(chains), tuple(lines)) for table, (chains, lines) in tables.items()}


def rule_text(rule: Rule) -> str:
    """``-A CHAIN conditions -j TARGET``."""
    words = ["-A", rule.chain]
    for condition in rule.conditions:
        words += _CONDITIONS[condition.field](condition)
    return " ".join((*words, "-j", *_TARGETS[rule.verb](*rule.arguments)))


def _simple(option: str, *module: str) -> Callable[[Condition], Iterator[str]]:
    """One value: ``[-m module] [!] option value``; with several negated ones, each in turn."""

    def words(condition: Condition) -> Iterator[str]:
        for value in condition.values:
            yield from module
            if condition.negated:
                yield "!"
            yield from (option, value)

    return words


def _ports(option: str, many: str) -> Callable[[Condition], Iterator[str]]:
    def words(condition: Condition) -> Iterator[str]:
        several = len(condition.values) > 1
        if several:
            yield from ("-m", "multiport")
        if condition.negated:
            yield "!"
        yield from (many if several else option, ",".join(condition.values))

    return words


def _state(condition: Condition) -> Iterator[str]:
    yield from ("-m", "conntrack", *(("!",) if condition.negated else ()), "--ctstate", ",".join(condition.values))


_CONDITIONS: Final[Mapping[Field, Callable[[Condition], Iterator[str]]]] = {
    Field.PROTOCOL: _simple("-p"),
    Field.IN_INTERFACE: _simple("-i"),
    Field.OUT_INTERFACE: _simple("-o"),
    Field.SOURCE: _simple("-s"),
    Field.DESTINATION: _simple("-d"),
    Field.PORT: _ports("--dport", "--dports"),
    Field.SOURCE_PORT: _ports("--sport", "--sports"),
    Field.UID: _simple("--uid-owner", "-m", "owner"),
    Field.GID: _simple("--gid-owner", "-m", "owner"),
    Field.MARK: _simple("--mark", "-m", "mark"),
    Field.CONNECTION_MARK: _simple("--mark", "-m", "connmark"),
    Field.STATE: _state,
}

_TARGETS: Final[Mapping[Verb, Callable[..., tuple[str, ...]]]] = {
    Verb.JUMP: lambda chain: (chain,),
    Verb.RETURN: lambda: ("RETURN",),
    Verb.ACCEPT: lambda: ("ACCEPT",),
    Verb.DROP: lambda: ("DROP",),
    Verb.REDIRECT: lambda port: ("REDIRECT", "--to-ports", port),
    Verb.TPROXY: lambda port, mark: ("TPROXY", "--on-port", port, "--tproxy-mark", f"{mark}/0xffffffff"),
    Verb.SET_MARK: lambda mark: ("MARK", "--set-mark", mark),
    Verb.SAVE_MARK: lambda: ("CONNMARK", "--save-mark"),
    Verb.RESTORE_MARK: lambda: ("CONNMARK", "--restore-mark"),
    Verb.ZONE: lambda zone: ("CT", "--zone", zone),
}


# -- text to state, and the way from one state to another ------------------------------------------------------------


def parse_saved(text: str) -> State:
    """Our part of what iptables-save printed."""
    found: dict[Table, TableState] = {}
    table: Table | None = None
    chains: list[str] = []
    rules: list[str] = []
    for line in text.split("\n"):
        if line.startswith("*"):
            table = next((known for known in Table if known.value == line[1:].strip(" ")), None)
            chains, rules = [], []
        elif line.startswith(":") and (name := line[1:].split(" ", 1)[0]) in CHAINS:
            chains.append(name)
        elif line.startswith("-A ") and _is_ours(line):
            rules.append(line.rstrip(" "))
        elif line == "COMMIT" and table is not None and (chains or rules):
            found[table] = TableState(tuple(chains), tuple(rules))
    return found


def _is_ours(rule: str) -> bool:
    words = rule.split(" ")
    target = words[words.index("-j") + 1] if "-j" in words[:-1] else ""
    return words[1] in CHAINS or (words[1] in BUILT_IN and target in CHAINS)


def restore_text(present: State, wanted: State) -> str:
    """Input of ``iptables-restore --noflush`` that leads from one state to another, each table at once.

    What is not ours is not touched. Empty when there is nothing to do.
    """
    parts: list[str] = []
    for table in Table:
        before, after = present.get(table, TableState()), wanted.get(table, TableState())
        if before == after == TableState():
            continue
        parts.append(f"*{table.value}")
        # Declaring a chain makes it, or empties it when it is there.
        parts += (f":{chain} - [0:0]" for chain in dict.fromkeys((*after.chains, *before.chains)))
        parts += (f"-D{jump[2:]}" for jump in before.jumps)
        parts += (f"-X {chain}" for chain in before.chains if chain not in after.chains)
        parts += after.rules
        parts.append("COMMIT")
    return "".join(f"{part}\n" for part in parts)


def tproxy_marks(state: State) -> tuple[int, ...]:
    """The packet marks of the TPROXY rules that are there."""
    marks = []
    for rule in state.get(Table.MANGLE, TableState()).rules:
        words = rule.split(" ")
        if "--tproxy-mark" in words:
            marks.append(int(words[words.index("--tproxy-mark") + 1].partition("/")[0], 0))
    return tuple(dict.fromkeys(marks))
