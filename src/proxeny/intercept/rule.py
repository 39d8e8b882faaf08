"""One interception rule as data: a table, a chain, conditions, an action. Renderers give it a syntax."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Table(Enum):
    """The tables of iptables that are used, in the order that Istio's init container fills them."""

    MANGLE = "mangle"
    NAT = "nat"
    RAW = "raw"


PREROUTING: Final = "PREROUTING"
OUTPUT: Final = "OUTPUT"
BUILT_IN: Final = (PREROUTING, OUTPUT)

INBOUND_CHAIN: Final = "ISTIO_INBOUND"
REDIRECT_CHAIN: Final = "ISTIO_REDIRECT"
IN_REDIRECT_CHAIN: Final = "ISTIO_IN_REDIRECT"
OUTPUT_CHAIN: Final = "ISTIO_OUTPUT"
OUTPUT_DNS_CHAIN: Final = "ISTIO_OUTPUT_DNS"
TPROXY_CHAIN: Final = "ISTIO_TPROXY"
DIVERT_CHAIN: Final = "ISTIO_DIVERT"
DROP_CHAIN: Final = "ISTIO_DROP"
CHAINS: Final = (
    INBOUND_CHAIN, REDIRECT_CHAIN, IN_REDIRECT_CHAIN, OUTPUT_CHAIN, OUTPUT_DNS_CHAIN,
    TPROXY_CHAIN, DIVERT_CHAIN, DROP_CHAIN,
)  # fmt: skip
"""Istio's names, so that what is written about its rules holds for these."""


class Field(Enum):
    """What a condition looks at."""

    PROTOCOL = "protocol"
    IN_INTERFACE = "in interface"
    OUT_INTERFACE = "out interface"
    SOURCE = "source"
    DESTINATION = "destination"
    PORT = "destination port"
    SOURCE_PORT = "source port"
    UID = "owner's uid"
    GID = "owner's gid"
    MARK = "packet mark"
    CONNECTION_MARK = "connection mark"
    STATE = "connection state"


@dataclass(frozen=True, slots=True)
class Condition:
    """Holds when the field has one of the values, or (``negated``) none of them."""

    field: Field
    values: tuple[str, ...]
    negated: bool = False


def when(field: Field, *values: str | int) -> Condition:
    """The field has one of the values."""
    return Condition(field, tuple(str(value) for value in values))


def unless(field: Field, *values: str | int) -> Condition:
    """The field has none of the values."""
    return Condition(field, tuple(str(value) for value in values), negated=True)


class Verb(Enum):
    """What a rule does; the comment says what its argument is."""

    JUMP = "jump"  # the chain
    RETURN = "return"
    ACCEPT = "accept"
    DROP = "drop"
    REDIRECT = "redirect"  # the port
    TPROXY = "tproxy"  # the port, the mark
    SET_MARK = "set mark"  # the mark
    SAVE_MARK = "save mark"  # of the packet in its connection
    RESTORE_MARK = "restore mark"  # of the connection in the packet
    ZONE = "zone"  # the conntrack zone


@dataclass(frozen=True, slots=True)
class Rule:
    """Appended to its chain; ``family`` (4 or 6) limits it to one IP version, None means both."""

    table: Table
    chain: str
    conditions: tuple[Condition, ...]
    verb: Verb
    arguments: tuple[str, ...] = ()
    family: int | None = None
