"""The rule set of a sidecar: what Istio's init container installs, in its order, as data.

The path of a connection that the application opens: ``OUTPUT`` -> ``ISTIO_OUTPUT``, which returns (lets alone) what
is excluded, the proxy's own and what stays on loopback, and sends the rest to ``ISTIO_REDIRECT``. One that comes from
outside: ``PREROUTING`` -> ``ISTIO_INBOUND`` -> ``ISTIO_IN_REDIRECT``, or with TPROXY (table mangle) ``ISTIO_TPROXY``.

Unlike Istio's, built-in chains get nothing but jumps: rules of other software that follow see every packet, and
what is ours can be told and removed without knowing how it was installed. Further differences, each told below: lists
of proxy owners; under TPROXY the tunnel port, and the user that the proxy runs as.
"""

from __future__ import annotations

from collections.abc import Iterator

from proxeny.intercept.config import ALL, LOOPBACK, OUTBOUND_MARK, PASSTHROUGH, All, InterceptConfig, of_family
from proxeny.intercept.rule import (
    DIVERT_CHAIN,
    DROP_CHAIN,
    IN_REDIRECT_CHAIN,
    INBOUND_CHAIN,
    OUTPUT,
    OUTPUT_CHAIN,
    OUTPUT_DNS_CHAIN,
    PREROUTING,
    REDIRECT_CHAIN,
    TPROXY_CHAIN,
    Condition,
    Field,
    Rule,
    Table,
    Verb,
    unless,
    when,
)

TCP = when(Field.PROTOCOL, "tcp")
UDP = when(Field.PROTOCOL, "udp")
FROM_LOOPBACK = when(Field.IN_INTERFACE, "lo")
OVER_LOOPBACK = when(Field.OUT_INTERFACE, "lo")
DNS_PORT = 53
PROXY_ZONE, CLIENT_ZONE = 1, 2
"""Conntrack zones: between the proxy and DNS servers; between the application and the proxy."""


def rules_of(config: InterceptConfig) -> tuple[Rule, ...]:
    """All rules, in the order in which their chains hold them."""
    found = [*_mangle(config), *_nat_inbound(config), *_nat_outbound(config)]
    if config.redirect_dns:
        found += _dns_zones(config)
    return tuple(rule for rule in found if rule.family in (None, *config.families))


def _jump(table: Table, chain: str, to: str, *conditions: Condition, family: int | None = None) -> Rule:
    return Rule(table, chain, conditions, Verb.JUMP, (to,), family)


def _return(table: Table, chain: str, *conditions: Condition, family: int | None = None) -> Rule:
    return Rule(table, chain, conditions, Verb.RETURN, (), family)


def _dports(*ports: int) -> Condition:
    return when(Field.PORT, *ports)


# -- inbound -------------------------------------------------------------------------------------------------------


def _nat_inbound(config: InterceptConfig) -> Iterator[Rule]:
    nat = Table.NAT
    captures = config.inbound_ports != () and not config.is_tproxy
    if captures or config.virtual_interfaces:
        yield _jump(nat, PREROUTING, INBOUND_CHAIN, TCP)
    yield from _excluded_interfaces(config, nat)
    for device in config.virtual_interfaces:
        yield from _included(config, INBOUND_CHAIN, when(Field.IN_INTERFACE, device))
        yield _return(nat, INBOUND_CHAIN, when(Field.IN_INTERFACE, device))
    yield _return(nat, INBOUND_CHAIN, TCP, _dports(config.inbound_tunnel_port))
    yield Rule(nat, REDIRECT_CHAIN, (TCP,), Verb.REDIRECT, (str(config.envoy_port),))
    yield Rule(nat, IN_REDIRECT_CHAIN, (TCP,), Verb.REDIRECT, (str(config.inbound_capture_port),))
    if not captures:
        return
    if isinstance(config.inbound_ports, All):
        for port in config.exclude_inbound_ports:
            yield _return(nat, INBOUND_CHAIN, TCP, _dports(port))
        yield _jump(nat, INBOUND_CHAIN, IN_REDIRECT_CHAIN, TCP)
    else:
        for port in config.inbound_ports:
            yield _jump(nat, INBOUND_CHAIN, IN_REDIRECT_CHAIN, TCP, _dports(port))


def _excluded_interfaces(config: InterceptConfig, table: Table) -> Iterator[Rule]:
    for device in config.exclude_interfaces:
        yield _return(table, INBOUND_CHAIN, when(Field.IN_INTERFACE, device))
        yield _return(table, OUTPUT_CHAIN, when(Field.OUT_INTERFACE, device))


def _mangle(config: InterceptConfig) -> Iterator[Rule]:
    mangle = Table.MANGLE
    if config.drop_invalid:
        # A packet outside of its window is dropped; let through, its connection would be reset.
        yield _jump(mangle, PREROUTING, DROP_CHAIN, when(Field.STATE, "INVALID"))
        yield Rule(mangle, DROP_CHAIN, (), Verb.DROP)
    if config.is_tproxy:
        yield from _tproxy_inbound(config)
        yield from _tproxy_marks(config)


def _tproxy_inbound(config: InterceptConfig) -> Iterator[Rule]:
    mangle, mark = Table.MANGLE, str(config.tproxy_mark)
    marked = when(Field.MARK, mark)
    yield Rule(mangle, DIVERT_CHAIN, (), Verb.SET_MARK, (mark,))
    yield Rule(mangle, DIVERT_CHAIN, (), Verb.ACCEPT)
    for family in (4, 6):
        arguments = (str(config.inbound_capture_port), mark)
        conditions = (unless(Field.DESTINATION, LOOPBACK[family]), TCP)
        yield Rule(mangle, TPROXY_CHAIN, conditions, Verb.TPROXY, arguments, family)
    yield _jump(mangle, PREROUTING, INBOUND_CHAIN, TCP)
    yield from _excluded_interfaces(config, mangle)
    for device in config.virtual_interfaces:
        yield _return(mangle, INBOUND_CHAIN, when(Field.IN_INTERFACE, device))
    # What original_src marked is remembered, so that the application's answers come back to the proxy, not captured.
    yield Rule(mangle, INBOUND_CHAIN, (TCP, marked), Verb.SAVE_MARK)
    yield _return(mangle, INBOUND_CHAIN, TCP, marked)
    for family in (4, 6):
        source = when(Field.SOURCE, PASSTHROUGH[family])
        yield _return(mangle, INBOUND_CHAIN, TCP, source, FROM_LOOPBACK, family=family)
    yield _return(mangle, INBOUND_CHAIN, TCP, FROM_LOOPBACK, unless(Field.MARK, OUTBOUND_MARK))
    # Istio returns the tunnel port in table nat alone, which TPROXY never reaches.
    yield _return(mangle, INBOUND_CHAIN, TCP, _dports(config.inbound_tunnel_port))
    established = when(Field.STATE, "RELATED", "ESTABLISHED")
    if isinstance(config.inbound_ports, All):
        for port in config.exclude_inbound_ports:
            yield _return(mangle, INBOUND_CHAIN, TCP, _dports(port))
        yield _jump(mangle, INBOUND_CHAIN, DIVERT_CHAIN, TCP, established)
        yield _jump(mangle, INBOUND_CHAIN, TPROXY_CHAIN, TCP)
    else:
        for port in config.inbound_ports:
            yield _jump(mangle, INBOUND_CHAIN, DIVERT_CHAIN, TCP, _dports(port), established)
            yield _jump(mangle, INBOUND_CHAIN, TPROXY_CHAIN, TCP, _dports(port))


def _tproxy_marks(config: InterceptConfig) -> Iterator[Rule]:
    mangle, mark = Table.MANGLE, str(config.tproxy_mark)
    yield _jump(mangle, OUTPUT, OUTPUT_CHAIN, TCP)
    yield _return(mangle, OUTPUT_CHAIN, TCP, OVER_LOOPBACK, when(Field.MARK, mark))
    for owner in _proxy_owners(config):
        for family in (4, 6):
            conditions = (unless(Field.DESTINATION, LOOPBACK[family]), TCP, OVER_LOOPBACK, owner)
            yield Rule(mangle, OUTPUT_CHAIN, conditions, Verb.SET_MARK, (str(OUTBOUND_MARK),), family)
    yield Rule(mangle, OUTPUT_CHAIN, (TCP, when(Field.CONNECTION_MARK, mark)), Verb.RESTORE_MARK)


def _proxy_owners(config: InterceptConfig) -> Iterator[Condition]:
    for uid in config.proxy_uids:
        yield when(Field.UID, uid)
    for gid in config.proxy_gids:
        yield when(Field.GID, gid)


# -- outbound ------------------------------------------------------------------------------------------------------


def _nat_outbound(config: InterceptConfig) -> Iterator[Rule]:
    nat = Table.NAT
    yield _jump(nat, OUTPUT, OUTPUT_CHAIN)
    for port in config.exclude_outbound_ports:
        yield _return(nat, OUTPUT_CHAIN, TCP, _dports(port))
        yield _return(nat, OUTPUT_CHAIN, UDP, _dports(port))
    for family in (4, 6):
        source = when(Field.SOURCE, PASSTHROUGH[family])
        yield _return(nat, OUTPUT_CHAIN, OVER_LOOPBACK, source, family=family)
    dns_too = (DNS_PORT,) if config.redirect_dns else ()
    yield from _own_traffic(config, Field.UID, config.proxy_uids, dns_too)
    yield from _own_traffic(config, Field.GID, config.proxy_gids, ())
    yield from _other_owners(Field.UID, config.owner_uids, config.exclude_owner_uids)
    yield from _other_owners(Field.GID, config.owner_gids, config.exclude_owner_gids)
    if config.redirect_dns:
        yield from _dns_redirect(config)
    for family in (4, 6):
        yield _return(nat, OUTPUT_CHAIN, when(Field.DESTINATION, LOOPBACK[family]), family=family)
    for family in (4, 6):
        for cidr in of_family(config.exclude_outbound_cidrs, family):
            yield _return(nat, OUTPUT_CHAIN, when(Field.DESTINATION, cidr), family=family)
    for port in config.outbound_ports:
        yield _jump(nat, OUTPUT_CHAIN, REDIRECT_CHAIN, TCP, _dports(port))
    yield from _included(config, OUTPUT_CHAIN)


def _included(config: InterceptConfig, chain: str, *conditions: Condition) -> Iterator[Rule]:
    if isinstance(config.outbound_cidrs, All):
        yield _jump(Table.NAT, chain, REDIRECT_CHAIN, *conditions)
        return
    for family in (4, 6):
        for cidr in of_family(config.outbound_cidrs, family):
            destination = when(Field.DESTINATION, cidr)
            yield _jump(Table.NAT, chain, REDIRECT_CHAIN, *conditions, destination, family=family)


def _own_traffic(
    config: InterceptConfig, field: Field, owners: tuple[int, ...], direct_ports: tuple[int, ...]
) -> Iterator[Rule]:
    """What the proxy sends, and what the application sends over loopback."""
    if not owners:
        return
    not_captured = unless(Field.PORT, *direct_ports, config.inbound_tunnel_port)
    # The application called its own service address: its sidecar's outbound side calls the inbound side. With TPROXY
    # the marks of table mangle lead there; redirected here too, what original_src marked would never reach the
    # application. (Istio's rules rely on such a proxy being root, in the proxy's group alone.)
    for owner in owners if not config.is_tproxy else ():
        for family in (4, 6):
            beyond = unless(Field.DESTINATION, LOOPBACK[family])
            conditions = (OVER_LOOPBACK, beyond, TCP, not_captured, when(field, owner))
            yield _jump(Table.NAT, OUTPUT_CHAIN, IN_REDIRECT_CHAIN, *conditions, family=family)
    if not _captures_loopback(config):
        # Istio writes one such rule per owner, so that the first returns what the second should let through.
        strangers = unless(field, *owners)
        if config.redirect_dns:
            dns = unless(Field.PORT, DNS_PORT)
            yield _return(Table.NAT, OUTPUT_CHAIN, OVER_LOOPBACK, TCP, dns, strangers)
        else:
            yield _return(Table.NAT, OUTPUT_CHAIN, OVER_LOOPBACK, strangers)
    for owner in owners:
        yield _return(Table.NAT, OUTPUT_CHAIN, when(field, owner))


def _captures_loopback(config: InterceptConfig) -> bool:
    return config.outbound_cidrs is not ALL and any(cidr.is_loopback for cidr in config.outbound_cidrs)


def _other_owners(field: Field, included: tuple[int, ...] | All, excluded: tuple[int, ...]) -> Iterator[Rule]:
    if not isinstance(included, All):
        yield _return(Table.NAT, OUTPUT_CHAIN, unless(field, *included))
    for owner in excluded:
        yield _return(Table.NAT, OUTPUT_CHAIN, when(field, owner))


# -- DNS -----------------------------------------------------------------------------------------------------------


def _servers(config: InterceptConfig, field: Field) -> Iterator[tuple[int | None, tuple[Condition, ...]]]:
    """Families and conditions that single out the captured DNS servers."""
    if isinstance(config.dns_servers, All):
        yield None, ()
        return
    for family in (4, 6):
        for cidr in of_family(config.dns_servers, family):
            yield family, (when(field, cidr),)


def _dns_redirect(config: InterceptConfig) -> Iterator[Rule]:
    families = {family for family, _ in _servers(config, Field.DESTINATION)}
    for family in sorted(families, key=str):
        yield _jump(Table.NAT, OUTPUT_CHAIN, OUTPUT_DNS_CHAIN, family=family)
    for protocol in (TCP, UDP):
        for family, server in _servers(config, Field.DESTINATION):
            conditions = (protocol, _dports(DNS_PORT), *server)
            yield Rule(Table.NAT, OUTPUT_DNS_CHAIN, conditions, Verb.REDIRECT, (str(config.dns_port),), family)


def _dns_zones(config: InterceptConfig) -> Iterator[Rule]:
    """Keep a query and the proxy's own query for it apart: with equal ports they would be one conntrack entry."""
    raw = Table.RAW
    from_proxy = when(Field.SOURCE_PORT, config.dns_port)
    yield _jump(raw, OUTPUT, OUTPUT_DNS_CHAIN)
    for owner in _proxy_owners(config):
        yield Rule(raw, OUTPUT_DNS_CHAIN, (UDP, _dports(DNS_PORT), owner), Verb.ZONE, (str(PROXY_ZONE),))
        yield Rule(raw, OUTPUT_DNS_CHAIN, (UDP, from_proxy, owner), Verb.ZONE, (str(CLIENT_ZONE),))
    families = {family for family, _ in _servers(config, Field.DESTINATION)}
    for family in sorted(families, key=str):
        yield _jump(raw, PREROUTING, INBOUND_CHAIN, family=family)
    for family, server in _servers(config, Field.DESTINATION):
        yield Rule(raw, OUTPUT_DNS_CHAIN, (UDP, _dports(DNS_PORT), *server), Verb.ZONE, (str(CLIENT_ZONE),), family)
    for family, server in _servers(config, Field.SOURCE):
        conditions = (UDP, when(Field.SOURCE_PORT, DNS_PORT), *server)
        yield Rule(raw, INBOUND_CHAIN, conditions, Verb.ZONE, (str(PROXY_ZONE),), family)
