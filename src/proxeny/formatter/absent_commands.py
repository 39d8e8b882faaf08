"""Commands about TLS and HTTP/3: absent on what this proxy speaks, as on a plain-text connection of Envoy's."""

from __future__ import annotations

from proxeny.formatter.expression import Expression, Kind, Namespace
from proxeny.formatter.http_commands import Table
from proxeny.formatter.parser import Command
from proxeny.formatter.syntax import Syntax
from proxeny.formatter.times import time_text

_TEXTS = (
    *("DOWNSTREAM_HANDSHAKE_DURATION", "ROUNDTRIP_DURATION", "UPSTREAM_SERVER_NAME"),
    *[f"UPSTREAM_TLS_{fact}" for fact in ("CIPHER", "VERSION", "SESSION_ID", "GROUP")],
    *[f"DOWNSTREAM_TLS_{fact}" for fact in ("CIPHER", "VERSION", "SESSION_ID", "GROUP")],
    *[f"UPSTREAM_PEER_{fact}" for fact in ("ISSUER", "CERT", "SUBJECT", "URI_SAN", "DNS_SAN", "IP_SAN")],
    *[f"UPSTREAM_LOCAL_{fact}_SAN" for fact in ("URI", "DNS", "IP")],
    *[
        f"DOWNSTREAM_{side}_{fact}_SAN"
        for side in ("PEER", "LOCAL")
        for fact in ("URI", "DNS", "IP", "EMAIL", "OTHERNAME")
    ],
    "DOWNSTREAM_LOCAL_SUBJECT",
    *[
        f"DOWNSTREAM_PEER_{fact}"
        for fact in (
            "SUBJECT",
            "ISSUER",
            "SERIAL",
            "CERT",
            "FINGERPRINT_256",
            "FINGERPRINT_1",
            "CHAIN_FINGERPRINTS_256",
            "CHAIN_FINGERPRINTS_1",
            "CHAIN_SERIALS",
            "ISSUER_FINGERPRINT_256",
            "ISSUER_SERIAL",
        )
    ],
)
_TIMES = tuple([f"{side}_PEER_CERT_V_{end}" for side in ("DOWNSTREAM", "UPSTREAM") for end in ("START", "END")])
_ZEROS = ("BYTES_RETRANSMITTED", "PACKETS_RETRANSMITTED")


def _nothing(command: Command, names: Namespace) -> Expression:
    return Expression("None", Kind.BYTES)


def _no_time(command: Command, names: Namespace) -> Expression:
    # The format is checked all the same.
    time_text(command.argument)
    return Expression("None", Kind.BYTES)


def _zero(command: Command, names: Namespace) -> Expression:
    return Expression("0", Kind.INT)


def absent_commands() -> Table:
    """The table of commands."""
    table: Table = {name: (Syntax.COMMAND_ONLY, _nothing) for name in _TEXTS}
    table.update({name: (Syntax.PARAMS_OPTIONAL, _no_time) for name in _TIMES})
    table.update({name: (Syntax.COMMAND_ONLY, _zero) for name in _ZEROS})
    return table
