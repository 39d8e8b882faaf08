"""What of ours is installed, what should be, and the steps between them; a failure undoes what was done."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from proxeny.intercept import iptables, nftables
from proxeny.intercept.config import InterceptConfig, InterceptError
from proxeny.intercept.rules import rules_of
from proxeny.intercept.system import Step, System

PASSTHROUGH_V6: Final = "::6"
"""Istio's source address of a sidecar's IPv6 connections to its application; 127.0.0.6 needs no address of its own."""


class Backend(Enum):
    """What holds the rules."""

    NFT = "nft"
    IPTABLES = "iptables"


@dataclass(frozen=True, slots=True)
class Installed:
    """Our part of a network namespace's configuration."""

    iptables: Mapping[int, iptables.State] = field(default_factory=dict)
    """By IP version; versions without any are left out."""
    nftables: str = ""
    """Our tables as ``nft -f`` takes them."""
    policies: frozenset[tuple[int, int, str]] = frozenset()
    """TPROXY: IP version, packet mark and the routing table that it selects."""
    routes: frozenset[tuple[int, str]] = frozenset()
    """TPROXY: IP version and routing table that delivers everything locally."""
    passthrough: bool = False
    """Whether ``::6`` is an address of ``lo``."""

    @property
    def backends(self) -> tuple[Backend, ...]:
        """What holds rules of ours."""
        held = {Backend.NFT: bool(self.nftables), Backend.IPTABLES: bool(self.iptables)}
        return tuple(backend for backend, holds in held.items() if holds)

    def __bool__(self) -> bool:
        return self != Installed()


def wanted(config: InterceptConfig, backend: Backend) -> Installed:
    """What is to be installed."""
    rules = rules_of(config)
    table = str(config.tproxy_route_table)
    diverted = config.families if config.is_tproxy else ()
    is_nft = backend is Backend.NFT
    return Installed(
        iptables={} if is_nft else {family: iptables.state_of(rules, family) for family in config.families},
        nftables=nftables.ruleset(rules, config.families) if is_nft else "",
        policies=frozenset((family, config.tproxy_mark, table) for family in diverted),
        routes=frozenset((family, table) for family in diverted),
        passthrough=config.ipv6,
    )


# -- what is there -------------------------------------------------------------------------------------------------


def read_installed(system: System, marks: Iterable[int] = (), tables: Iterable[str] = ()) -> Installed:
    """What of ours is there; policies of these ``marks`` and ``tables`` are looked for besides those of the rules."""
    states = {family: state for family in (4, 6) if (state := _read_iptables(system, family))}
    listing = _read_nftables(system)
    ours = {*nftables.tproxy_marks(listing)}
    for state in states.values():
        ours.update(iptables.tproxy_marks(state))
    asked = {(mark, table) for mark in marks for table in tables}
    policies = {
        policy
        for family in (4, 6)
        for policy in _read_policies(system, family)
        if policy[1] in ours or policy[1:] in asked
    }
    candidates = {*tables, *(table for _, _, table in policies)}
    routes = {(family, table) for family in (4, 6) for table in candidates if _delivers_locally(system, family, table)}
    return Installed(states, listing, frozenset(policies), frozenset(routes), _has_passthrough(system))


def _read_iptables(system: System, family: int) -> iptables.State:
    command = iptables.SAVE[family]
    # A kernel without IPv6 has no tables of it to read.
    if not system.has(command) or (family == 6 and not os.path.exists("/proc/net/if_inet6")):
        return {}
    return iptables.parse_saved(system.read(command))


def _read_nftables(system: System) -> str:
    if not system.has("nft"):
        return ""
    present = {line.rpartition(" ")[2] for line in system.read("nft", "list", "tables", "inet").split("\n")}
    names = [name for name in nftables.TABLES.values() if name in present]
    return "".join(system.read("nft", "list", "table", "inet", name) for name in names)


def _read_policies(system: System, family: int) -> Iterator[tuple[int, int, str]]:
    for rule in system.read_json("ip", "-json", f"-{family}", "rule", "show"):
        if "fwmark" in rule and "table" in rule and rule.get("fwmask", "0xffffffff") == "0xffffffff":
            yield family, int(str(rule["fwmark"]), 0), str(rule["table"])


def _delivers_locally(system: System, family: int, table: str) -> bool:
    try:
        routes = system.read_json("ip", "-json", f"-{family}", "route", "show", "table", table)
    except InterceptError:
        return False  # iproute2 calls a table that has no routes an error
    return any(
        route.get("type") == "local" and route.get("dst") == "default" and route.get("dev") == "lo" for route in routes
    )


def _has_passthrough(system: System) -> bool:
    devices = system.read_json("ip", "-json", "-6", "address", "show", "dev", "lo")
    found = [address for device in devices for address in device.get("addr_info", ())]
    return any(address.get("local") == PASSTHROUGH_V6 for address in found)


# -- from one to the other -----------------------------------------------------------------------------------------


def steps(present: Installed, target: Installed) -> list[Step]:
    """The commands that lead from what is there to the target: routes before the rules that need them."""
    return [*_additions(present, target), *_removals(present, target)]


def _additions(present: Installed, target: Installed) -> Iterator[Step]:
    if target.passthrough and not present.passthrough:
        yield Step(("ip", "-6", "address", "add", f"{PASSTHROUGH_V6}/128", "dev", "lo"))
    for family, table in sorted(target.routes - present.routes):
        yield Step(("ip", f"-{family}", "route", "add", "local", "default", "dev", "lo", "table", table))
    for family, mark, table in sorted(target.policies - present.policies):
        yield Step(("ip", f"-{family}", "rule", "add", "fwmark", str(mark), "lookup", table))
    if target.nftables:
        yield Step(("nft", "-f", "-"), nftables.replacement(target.nftables))
    for family, state in target.iptables.items():
        yield _restore(family, present.iptables.get(family, {}), state)


def _removals(present: Installed, target: Installed) -> Iterator[Step]:
    if present.nftables and not target.nftables:
        yield Step(("nft", "-f", "-"), nftables.replacement(""))
    for family, state in present.iptables.items():
        if family not in target.iptables:
            yield _restore(family, state, {})
    for family, mark, table in sorted(present.policies - target.policies):
        yield Step(("ip", f"-{family}", "rule", "delete", "fwmark", str(mark), "lookup", table))
    for family, table in sorted(present.routes - target.routes):
        yield Step(("ip", f"-{family}", "route", "delete", "local", "default", "dev", "lo", "table", table))
    if present.passthrough and not target.passthrough:
        yield Step(("ip", "-6", "address", "delete", f"{PASSTHROUGH_V6}/128", "dev", "lo"))


def _restore(family: int, present: iptables.State, target: iptables.State) -> Step:
    return Step((iptables.RESTORE[family], "--wait=10", "--noflush"), iptables.restore_text(present, target))


def apply(system: System, present: Installed, target: Installed) -> None:
    """Run the steps. When one fails, all is as it was before; raises InterceptError that says why."""
    marks = {mark for _, mark, _ in target.policies | present.policies}
    tables = {table for _, table in target.routes | present.routes}
    for step in steps(present, target):
        try:
            system.run(step)
        except InterceptError as error:
            try:
                for back in steps(read_installed(system, marks, tables), present):
                    system.run(back)
            except InterceptError as second:
                raise InterceptError(f"{error}; and undoing what was done failed: {second}") from None
            raise InterceptError(f"{error}; what was done has been undone") from None


def choose_backend(system: System, present: Installed) -> Backend:
    """The one that holds our rules already, else nftables (one transaction for all tables), else iptables."""
    for backend in present.backends:
        return backend
    if system.has("nft"):
        return Backend.NFT
    if system.has("iptables-restore"):
        return Backend.IPTABLES
    raise InterceptError("neither nft nor iptables-restore is installed (Debian: nftables, iptables)")
