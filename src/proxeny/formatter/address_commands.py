"""Commands about addresses: whole, without port, masked, the port alone, the endpoint of an internal one."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any

from proxeny.formatter.expression import Expression, Kind, Namespace
from proxeny.formatter.http_commands import Build, Table
from proxeny.formatter.parser import Command
from proxeny.formatter.syntax import Syntax

# What absl::SimpleAtoi takes.
_NUMBER = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]{1,9})[ \t\n\v\f\r]*", re.ASCII)

_SOURCES = (
    ("DOWNSTREAM_LOCAL_", "si.connection.local_address"),
    ("DOWNSTREAM_DIRECT_LOCAL_", "si.connection.direct_local_address"),
    ("DOWNSTREAM_REMOTE_", "si.downstream_remote_address"),
    ("DOWNSTREAM_DIRECT_REMOTE_", "si.connection.direct_remote_address"),
    ("UPSTREAM_LOCAL_", "si.upstream_local_address"),
    ("UPSTREAM_REMOTE_", "si.upstream_remote_address"),
)
_ENDPOINT_IDS = ("DOWNSTREAM_LOCAL_", "DOWNSTREAM_DIRECT_LOCAL_", "UPSTREAM_REMOTE_")


def without_port(address: Any) -> str | None:
    """An address without its port; one that has none is whole."""
    if address is None:
        return None
    text: str = getattr(address, "ip", None) or address.as_string()
    return text


def _port(address: Any) -> int | None:
    port = getattr(address, "port", None)
    return port if address is not None and getattr(address, "ip", None) else None


def _endpoint_id(address: Any) -> bytes | None:
    if address is None:
        return None
    text: str = getattr(address, "endpoint_id", "")
    return text.encode("utf-8", "surrogateescape")


def _masked(length: int) -> Callable[[Any], str | None]:
    def masked(address: Any) -> str | None:
        if address is None:
            return None
        ip = getattr(address, "ip", None)
        if not ip:
            return without_port(address)
        if length < 0:
            return ""
        number = ipaddress.ip_address(ip.partition("%")[0])
        network = ipaddress.ip_network((number, min(length, number.max_prefixlen)), strict=False)
        return network.with_prefixlen

    return masked


def _whole(source: str) -> Build:
    return lambda command, names: Expression(f"(u.as_string() if (u := {source}) is not None else None)", Kind.STR)


def _host(source: str) -> Build:
    def build(command: Command, names: Namespace) -> Expression:
        number = _NUMBER.fullmatch(command.argument)
        read = without_port if number is None else _masked(int(number.group(1)))
        text = Expression(f"{names.bind(read)}({source})", Kind.STR)
        # A mask that is none leaves nothing, which is not the same as absent.
        text.empty_is_absent = number is None
        return text

    return build


def _number(source: str) -> Build:
    return lambda command, names: Expression(f"{names.bind(_port)}({source})", Kind.OPTIONAL_INT)


def _endpoint(source: str) -> Build:
    return lambda command, names: Expression(f"{names.bind(_endpoint_id)}({source})", Kind.BYTES)


def address_commands() -> Table:
    """The table of commands."""
    table: Table = {}
    for stem, source in _SOURCES:
        table[f"{stem}ADDRESS"] = (Syntax.COMMAND_ONLY, _whole(source))
        table[f"{stem}ADDRESS_WITHOUT_PORT"] = (Syntax.PARAMS_OPTIONAL, _host(source))
        table[f"{stem}PORT"] = (Syntax.COMMAND_ONLY, _number(source))
        if stem in _ENDPOINT_IDS:
            table[f"{stem}ADDRESS_ENDPOINT_ID"] = (Syntax.COMMAND_ONLY, _endpoint(source))
    return table
