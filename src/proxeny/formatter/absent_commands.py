"""Commands about HTTP/3: absent, as on a plain-text connection of Envoy's."""

from __future__ import annotations

from proxeny.formatter.expression import Expression, Kind, Namespace
from proxeny.formatter.http_commands import Table
from proxeny.formatter.parser import Command
from proxeny.formatter.syntax import Syntax

_ZEROS = ("BYTES_RETRANSMITTED", "PACKETS_RETRANSMITTED")


def _nothing(command: Command, names: Namespace) -> Expression:
    return Expression("None", Kind.BYTES)


def _zero(command: Command, names: Namespace) -> Expression:
    return Expression("0", Kind.INT)


def absent_commands() -> Table:
    """The table of commands."""
    table: Table = {"ROUNDTRIP_DURATION": (Syntax.COMMAND_ONLY, _nothing)}
    table.update({name: (Syntax.COMMAND_ONLY, _zero) for name in _ZEROS})
    return table
