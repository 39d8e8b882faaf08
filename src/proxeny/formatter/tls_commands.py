"""Commands about TLS sessions and certificates of both sides; nothing of them is there on a plain-text connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from proxeny.formatter.expression import Expression, Kind, Namespace
from proxeny.formatter.http_commands import Build, Table
from proxeny.formatter.parser import Command
from proxeny.formatter.syntax import Syntax
from proxeny.formatter.times import TimeText, time_text
from proxeny.network.stream_info import StreamInfo

_DOWNSTREAM: Final = "si.connection.ssl"
UPSTREAM_SESSION: Final = "(c.connection_info.ssl if (c := si.upstream_connection) is not None else None)"

_TEXTS: Final = {
    "TLS_CIPHER": "cipher",
    "TLS_VERSION": "version",
    "TLS_SESSION_ID": "session_id",
    "TLS_GROUP": "group",
    "PEER_SUBJECT": "subject_peer_certificate",
    "PEER_ISSUER": "issuer_peer_certificate",
    "PEER_CERT": "url_encoded_pem_peer_certificate",
}
"""Of both sides: the property of ``SslConnectionInfo``."""
_LISTS: Final = {
    "PEER_URI_SAN": "uri_sans_peer_certificate",
    "PEER_DNS_SAN": "dns_sans_peer_certificate",
    "PEER_IP_SAN": "ip_sans_peer_certificate",
    "LOCAL_URI_SAN": "uri_sans_local_certificate",
    "LOCAL_DNS_SAN": "dns_sans_local_certificate",
    "LOCAL_IP_SAN": "ip_sans_local_certificate",
}
"""Of both sides: properties whose values are joined by commas."""
_DOWNSTREAM_TEXTS: Final = {
    "LOCAL_SUBJECT": "subject_local_certificate",
    "PEER_SERIAL": "serial_number_peer_certificate",
    "PEER_FINGERPRINT_256": "sha256_peer_certificate_digest",
    "PEER_FINGERPRINT_1": "sha1_peer_certificate_digest",
    "PEER_ISSUER_FINGERPRINT_256": "sha256_peer_certificate_issuer_digest",
    "PEER_ISSUER_SERIAL": "serial_number_peer_certificate_issuer",
}
_DOWNSTREAM_LISTS: Final = {
    "PEER_EMAIL_SAN": "email_sans_peer_certificate",
    "PEER_OTHERNAME_SAN": "othername_sans_peer_certificate",
    "LOCAL_EMAIL_SAN": "email_sans_local_certificate",
    "LOCAL_OTHERNAME_SAN": "othername_sans_local_certificate",
    "PEER_CHAIN_FINGERPRINTS_256": "sha256_peer_certificate_chain_digests",
    "PEER_CHAIN_FINGERPRINTS_1": "sha1_peer_certificate_chain_digests",
    "PEER_CHAIN_SERIALS": "serial_numbers_peer_certificates",
}
_TIMES: Final = {"PEER_CERT_V_START": "valid_from_peer_certificate", "PEER_CERT_V_END": "expiration_peer_certificate"}


def _text(session: str, fact: str) -> tuple[Syntax, Build]:
    source = f"(s.{fact} if (s := {session}) is not None else None)"
    return Syntax.COMMAND_ONLY, lambda command, names: Expression(source, Kind.STR)


def _list(session: str, fact: str) -> tuple[Syntax, Build]:
    source = f"(','.join(s.{fact}) if (s := {session}) is not None else None)"
    return Syntax.COMMAND_ONLY, lambda command, names: Expression(source, Kind.STR)


def _formatted(text: TimeText) -> Callable[[int | None], bytes | None]:
    return lambda seconds: None if seconds is None else text(seconds)


def _time(session: str, fact: str) -> tuple[Syntax, Build]:
    def build(command: Command, names: Namespace) -> Expression:
        write = names.bind(_formatted(time_text(command.argument)))
        return Expression(f"({write}(s.{fact}) if (s := {session}) is not None else None)", Kind.BYTES)

    return Syntax.PARAMS_OPTIONAL, build


def _handshake_ms(info: StreamInfo) -> int | None:
    """From the beginning of a request, which comes later, so it is below zero, as in Envoy; sessions have none."""
    ssl = info.connection.ssl
    if ssl is None or info.protocol is None or not ssl.handshake_done_ns:
        return None
    passed = ssl.handshake_done_ns - info.start_ns
    return passed // 1_000_000 if passed >= 0 else -(-passed // 1_000_000)


def _handshake(command: Command, names: Namespace) -> Expression:
    return Expression(f"{names.bind(_handshake_ms)}(si)", Kind.OPTIONAL_INT)


def tls_commands() -> Table:
    """The table of commands."""
    table: Table = {
        "UPSTREAM_SERVER_NAME": _text(UPSTREAM_SESSION, "server_name"),
        "DOWNSTREAM_HANDSHAKE_DURATION": (Syntax.COMMAND_ONLY, _handshake),
    }
    for side, session in (("DOWNSTREAM", _DOWNSTREAM), ("UPSTREAM", UPSTREAM_SESSION)):
        table.update({f"{side}_{name}": _text(session, fact) for name, fact in _TEXTS.items()})
        table.update({f"{side}_{name}": _list(session, fact) for name, fact in _LISTS.items()})
        table.update({f"{side}_{name}": _time(session, fact) for name, fact in _TIMES.items()})
    table.update({f"DOWNSTREAM_{name}": _text(_DOWNSTREAM, fact) for name, fact in _DOWNSTREAM_TEXTS.items()})
    table.update({f"DOWNSTREAM_{name}": _list(_DOWNSTREAM, fact) for name, fact in _DOWNSTREAM_LISTS.items()})
    return table
