"""Commands about the stream, its connection and its upstream (Envoy: stream_info_formatter.cc)."""

from __future__ import annotations

import os
import re
import socket
import time
import uuid
from collections.abc import Callable
from typing import Any

from proxeny.config.errors import ConfigError
from proxeny.formatter import values
from proxeny.formatter.expression import ABSENT, Expression, Kind, Namespace
from proxeny.formatter.http_commands import Build, Table
from proxeny.formatter.parser import Command
from proxeny.formatter.syntax import Syntax
from proxeny.formatter.times import time_text
from proxeny.network.stream_info import StreamInfo

_ONLY = Syntax.COMMAND_ONLY
_SPACE = re.compile(r"[ \t\f\v\n\r]")
_NOT_HOSTNAME = re.compile(r"[^A-Za-z0-9._-]")

# Names of COMMON_DURATION's points in time; those that are not recorded here are absent.
_TIME_POINTS = {
    "DS_RX_BEG": "si.start_ns",
    "DS_RX_END": "si.last_downstream_rx_ns",
    "US_TX_BEG": "si.first_upstream_tx_ns",
    "US_TX_END": "si.last_upstream_tx_ns",
    "US_RX_BEG": "si.first_upstream_rx_ns",
    "US_RX_END": "si.last_upstream_rx_ns",
    "DS_TX_BEG": "si.first_downstream_tx_ns",
    "DS_TX_END": "si.last_downstream_tx_ns",
}
_PRECISION = {"ms": 1_000_000, "us": 1_000, "ns": 1}

# TLS facts and others that no connection of this build has: absent, as on a plain-text connection of Envoy's.
_ABSENT_COMMANDS = [
    "DOWNSTREAM_HANDSHAKE_DURATION",
    "ROUNDTRIP_DURATION",
    "UPSTREAM_CONNECTION_POOL_READY_DURATION",
    "UPSTREAM_TLS_CIPHER",
    "UPSTREAM_TLS_VERSION",
    "UPSTREAM_TLS_SESSION_ID",
    "UPSTREAM_TLS_GROUP",
    "UPSTREAM_PEER_ISSUER",
    "UPSTREAM_PEER_CERT",
    "UPSTREAM_PEER_SUBJECT",
    "UPSTREAM_PEER_URI_SAN",
    "UPSTREAM_PEER_DNS_SAN",
    "UPSTREAM_PEER_IP_SAN",
    "UPSTREAM_LOCAL_URI_SAN",
    "UPSTREAM_LOCAL_DNS_SAN",
    "UPSTREAM_LOCAL_IP_SAN",
    "DOWNSTREAM_PEER_URI_SAN",
    "DOWNSTREAM_PEER_DNS_SAN",
    "DOWNSTREAM_PEER_IP_SAN",
    "DOWNSTREAM_PEER_EMAIL_SAN",
    "DOWNSTREAM_PEER_OTHERNAME_SAN",
    "DOWNSTREAM_LOCAL_URI_SAN",
    "DOWNSTREAM_LOCAL_DNS_SAN",
    "DOWNSTREAM_LOCAL_IP_SAN",
    "DOWNSTREAM_LOCAL_EMAIL_SAN",
    "DOWNSTREAM_LOCAL_OTHERNAME_SAN",
    "DOWNSTREAM_PEER_SUBJECT",
    "DOWNSTREAM_LOCAL_SUBJECT",
    "DOWNSTREAM_TLS_SESSION_ID",
    "DOWNSTREAM_TLS_CIPHER",
    "DOWNSTREAM_TLS_VERSION",
    "DOWNSTREAM_TLS_GROUP",
    "DOWNSTREAM_PEER_FINGERPRINT_256",
    "DOWNSTREAM_PEER_FINGERPRINT_1",
    "DOWNSTREAM_PEER_SERIAL",
    "DOWNSTREAM_PEER_ISSUER",
    "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256",
    "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1",
    "DOWNSTREAM_PEER_CHAIN_SERIALS",
    "DOWNSTREAM_PEER_ISSUER_FINGERPRINT_256",
    "DOWNSTREAM_PEER_ISSUER_SERIAL",
    "DOWNSTREAM_PEER_CERT",
    "DOWNSTREAM_LOCAL_CLOSE_REASON",
    "UPSTREAM_LOCAL_CLOSE_REASON",
    "UPSTREAM_DETECTED_CLOSE_TYPE",
    "UPSTREAM_HOSTS_ATTEMPTED",
    "UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT",
    "UPSTREAM_HOST_NAMES_ATTEMPTED",
    "UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT",
    "UPSTREAM_CONNECTION_IDS_ATTEMPTED",
]
_ABSENT_TIMES = (
    "DOWNSTREAM_PEER_CERT_V_START",
    "DOWNSTREAM_PEER_CERT_V_END",
    "UPSTREAM_PEER_CERT_V_START",
    "UPSTREAM_PEER_CERT_V_END",
)
_ZERO_COMMANDS = [
    "BYTES_RETRANSMITTED",
    "PACKETS_RETRANSMITTED",
    "UPSTREAM_HEADER_BYTES_RECEIVED",
    "UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED",
    "UPSTREAM_HEADER_BYTES_SENT",
    "UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT",
    "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED",
    "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT",
    "DOWNSTREAM_CX_RTT",
]


def _simple(source: str, kind: Kind) -> tuple[Syntax, Build]:
    return _ONLY, lambda command, names: Expression(source, kind)


def _call(function: Callable[..., Any], kind: Kind, *, present: bool = False) -> tuple[Syntax, Build]:
    return _ONLY, lambda command, names: Expression(f"{names.bind(function)}(si)", kind, present=present)


_flag_texts: dict[int, bytes] = {0: ABSENT}


def _flags(info: StreamInfo) -> bytes:
    # The order differs between requests and connections: those of connections are kept under the negative mask.
    key = info.flags if info.protocol is not None else -info.flags
    text = _flag_texts.get(key)
    if text is None:
        text = info.flags_short().encode()
        # Few of the possible sets ever occur; the cap only guards memory.
        if len(_flag_texts) < 1024:
            _flag_texts[key] = text
    return text


def _upstream_host_name(info: StreamInfo) -> str | None:
    host = info.upstream_host
    if host is None:
        return None
    name: str = host.hostname or host.address.as_string()
    return name


def _upstream_host_name_without_port(info: StreamInfo) -> str | None:
    name = _upstream_host_name(info)
    if name is None:
        return None
    head, colon, port = name.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or (":" in head and not head.endswith("]")):
        return name
    return head


def _without_port(address: Any) -> str | None:
    if address is None:
        return None
    text: str = getattr(address, "ip", None) or address.as_string()
    return text


def _port(address: Any) -> int | None:
    port = getattr(address, "port", None)
    return port if address is not None and getattr(address, "ip", None) else None


def _address(source: str) -> dict[str, tuple[Syntax, Build]]:
    def whole(command: Command, names: Namespace) -> Expression:
        return Expression(f"(u.as_string() if (u := {source}) is not None else None)", Kind.STR)

    def host(command: Command, names: Namespace) -> Expression:
        return Expression(f"{names.bind(_without_port)}({source})", Kind.STR)

    def port(command: Command, names: Namespace) -> Expression:
        return Expression(f"{names.bind(_port)}({source})", Kind.OPTIONAL_INT)

    return {"ADDRESS": (_ONLY, whole), "ADDRESS_WITHOUT_PORT": (_ONLY, host), "PORT": (_ONLY, port)}


def _addresses() -> Table:
    table: Table = {}
    for stem, source in (
        ("DOWNSTREAM_LOCAL_", "si.connection.local_address"),
        ("DOWNSTREAM_DIRECT_LOCAL_", "si.connection.direct_local_address"),
        ("DOWNSTREAM_REMOTE_", "si.downstream_remote_address"),
        ("DOWNSTREAM_DIRECT_REMOTE_", "si.connection.direct_remote_address"),
        ("UPSTREAM_LOCAL_", "si.upstream_local_address"),
        ("UPSTREAM_REMOTE_", "si.upstream_remote_address"),
    ):
        for suffix, entry in _address(source).items():
            table[stem + suffix] = entry
        # Only Envoy's internal listeners have endpoint ids; others print nothing at all.
        table[f"{stem}ADDRESS_ENDPOINT_ID"] = (
            _ONLY,
            lambda command, names: Expression("b''", Kind.BYTES, present=True),
        )
    return table


def _no_spaces(text: str) -> str:
    return _SPACE.sub("_", text) if text else text


def _details(command: Command, names: Namespace) -> Expression:
    if command.argument == "ALLOW_WHITESPACES":
        return Expression("si.response_code_details", Kind.STR)
    return Expression(f"{names.bind(_no_spaces)}(si.response_code_details)", Kind.STR)


def _transport_failure(source: str) -> tuple[Syntax, Build]:
    return _simple(f"({source} or '').replace(' ', '_')", Kind.STR)


def _server_name(command: Command, names: Namespace) -> Expression:
    order, _, host_header = command.argument.partition(":")
    if order not in ("", "SNI_ONLY", "SNI_FIRST", "HOST_FIRST"):
        raise ConfigError(
            f"Invalid REQUESTED_SERVER_NAME option: '{order}', only 'SNI_ONLY'/'SNI_FIRST'/'HOST_FIRST' are allowed"
        )
    clean = names.bind(_clean_host)
    sni = f"{clean}(si.connection.requested_server_name)"
    if order in ("", "SNI_ONLY"):
        return Expression(sni, Kind.STR)
    headers = {
        "ORIG": "rq.get(b'x-envoy-original-host')",
        "HOST": "rq.get(b':authority')",
        "": "(rq.get(b'x-envoy-original-host') or rq.get(b':authority'))",
        "ORIG_OR_HOST": "(rq.get(b'x-envoy-original-host') or rq.get(b':authority'))",
    }
    if host_header not in headers:
        raise ConfigError(
            f"Invalid REQUESTED_SERVER_NAME option: '{host_header}', only 'ORIG_OR_HOST'/'HOST'/'ORIG' are allowed"
        )
    host = f"{names.bind(_host_of)}({headers[host_header]})"
    return Expression(f"({sni} or {host})" if order == "SNI_FIRST" else f"({host} or {sni})", Kind.STR)


def _clean_host(name: str) -> str:
    # What a client put into SNI must not write log lines of its own (header values cannot hold line ends).
    clean = _NOT_HOSTNAME.sub("_", name)
    return clean if clean == name else f"invalid:{clean}"


def _host_of(value: bytes | None) -> str:
    if not value:
        return ""
    return value.decode("utf-8", "surrogateescape")


def _common_duration(command: Command, names: Namespace) -> Expression:
    parts = command.argument.split(":")
    if len(parts) not in (2, 3):
        raise ConfigError(f"Invalid common duration configuration: {command.argument}.")
    precision = _PRECISION.get(parts[2] if len(parts) == 3 else "ms")
    if precision is None:
        raise ConfigError(f"Invalid common duration precision: {parts[2]}.")
    start, end = _TIME_POINTS.get(parts[0]), _TIME_POINTS.get(parts[1])
    if start is None or end is None:
        return Expression("None", Kind.OPTIONAL_INT)
    return Expression(
        f"(({end} - {start}) // {precision} if {start} and {end} >= {start} else None)", Kind.OPTIONAL_INT
    )


def _since_start(source: str) -> tuple[Syntax, Build]:
    return _simple(f"(({source} - si.start_ns) // 1000000 if {source} else None)", Kind.OPTIONAL_INT)


def _time(source: str, local: bool) -> tuple[Syntax, Build]:
    def build(command: Command, names: Namespace) -> Expression:
        text = names.bind(time_text(command.argument, local))
        names.names["system_time"] = time.time
        return Expression(f"{text}({source})", Kind.BYTES, present=True)

    return Syntax.PARAMS_OPTIONAL, build


def _absent_time(command: Command, names: Namespace) -> Expression:
    time_text(command.argument)
    return Expression("None", Kind.BYTES)


def _metadata(source: str) -> tuple[Syntax, Build]:
    def build(command: Command, names: Namespace) -> Expression:
        namespace, *path = command.argument.split(":")
        return metadata_expression(source, namespace, tuple(path), command.max_length, names)

    return Syntax.PARAMS_REQUIRED | Syntax.LENGTH_ALLOWED, build


def metadata_expression(
    source: str, namespace: str, path: tuple[str, ...], max_length: int | None, names: Namespace
) -> Expression:
    """An expression for one value of the metadata that ``source`` evaluates to."""
    look_up = names.bind(values.metadata_value)
    arguments = f"{source}, {names.bind(namespace)}, {names.bind(path)}"
    return Expression(f"{look_up}({arguments})", Kind.VALUE, max_length=max_length)


def _filter_state(command: Command, names: Namespace) -> Expression:
    key, _, rest = command.argument.partition(":")
    form, _, field = rest.partition(":")
    if not key:
        raise ConfigError("Invalid filter state configuration, key cannot be empty.")
    form = form or "TYPED"
    if form not in ("PLAIN", "TYPED", "FIELD"):
        raise ConfigError("Invalid filter state serialize type, only support PLAIN/TYPED/FIELD.")
    if (form == "FIELD") != bool(field):
        raise ConfigError("Invalid filter state serialize type, FIELD should be used with the field name.")
    state = "None" if command.name == "UPSTREAM_FILTER_STATE" else "si.filter_state_map"
    if form == "FIELD":
        source = f"{names.bind(values.filter_state_field)}({state}, {names.bind(key)}, {names.bind(field)})"
    else:
        read = values.plain_filter_state if form == "PLAIN" else values.typed_filter_state
        source = f"{names.bind(read)}({state}, {names.bind(key)})"
    text = None
    if form == "TYPED":
        text = f"{names.bind(values.typed_filter_state_text)}({state}, {names.bind(key)})"
    return TypedText(source, text, command.max_length)


class TypedText(Expression):
    """A value whose text form is not the one of its JSON value."""

    __slots__ = ("_text",)

    def __init__(self, source: str, text: str | None, max_length: int | None) -> None:
        super().__init__(source, Kind.VALUE, max_length=max_length)
        self._text = text

    def text(self) -> str:
        if self._text is None:
            return super().text()
        cut = "" if self.max_length is None else f"[:{self.max_length}]"
        return f"(v{cut} if (v := {self._text}) is not None else None)"


def _environment(command: Command, names: Namespace) -> Expression:
    value = os.environb.get(command.argument.encode("utf-8", "surrogateescape"), ABSENT)
    if command.max_length is not None:
        value = value[: command.max_length]
    return Expression(names.bind(value), Kind.BYTES, present=True)


def _hostname(command: Command, names: Namespace) -> Expression:
    return Expression(names.bind(socket.gethostname().encode()), Kind.BYTES, present=True)


def _unique_id(info: StreamInfo) -> bytes:
    return str(uuid.uuid4()).encode()


def _cluster_name(attribute: str) -> tuple[Syntax, Build]:
    return _simple(f"(u.{attribute} if (u := si.upstream_cluster) is not None else None)", Kind.STR)


def stream_commands() -> Table:
    """The table of commands."""
    metadata_of_host = "(u.metadata if (u := si.upstream_host) is not None else None)"
    metadata_of_cluster = "(u.metadata if (u := si.upstream_cluster) is not None else None)"
    host_address = "(u.address.as_string() if (u := si.upstream_host) is not None else None)"
    filter_state = Syntax.PARAMS_OPTIONAL | Syntax.LENGTH_ALLOWED
    table: Table = {
        "REQUEST_DURATION": _since_start("si.last_downstream_rx_ns"),
        "REQUEST_TX_DURATION": _since_start("si.last_upstream_tx_ns"),
        "RESPONSE_DURATION": _since_start("si.first_upstream_rx_ns"),
        "RESPONSE_TX_DURATION": _simple(
            "((si.last_downstream_tx_ns - si.first_upstream_rx_ns) // 1000000"
            " if si.last_downstream_tx_ns and si.first_upstream_rx_ns else None)",
            Kind.OPTIONAL_INT,
        ),
        "DURATION": (_ONLY, _duration),
        "COMMON_DURATION": (Syntax.PARAMS_REQUIRED, _common_duration),
        "BYTES_RECEIVED": _simple("si.bytes_received", Kind.INT),
        "BYTES_SENT": _simple("si.bytes_sent", Kind.INT),
        "UPSTREAM_WIRE_BYTES_RECEIVED": _simple("si.upstream_wire_bytes_received", Kind.INT),
        "UPSTREAM_WIRE_BYTES_SENT": _simple("si.upstream_wire_bytes_sent", Kind.INT),
        "DOWNSTREAM_WIRE_BYTES_RECEIVED": _simple("si.wire_bytes_received", Kind.INT),
        "DOWNSTREAM_WIRE_BYTES_SENT": _simple("si.wire_bytes_sent", Kind.INT),
        "DOWNSTREAM_HEADER_BYTES_RECEIVED": _simple("si.request_header_bytes", Kind.INT),
        "DOWNSTREAM_HEADER_BYTES_SENT": _simple("si.response_header_bytes", Kind.INT),
        "PROTOCOL": _simple("si.protocol", Kind.STR),
        "UPSTREAM_PROTOCOL": _simple("si.upstream_protocol", Kind.STR),
        "RESPONSE_CODE": _simple("si.response_code", Kind.INT),
        "RESPONSE_CODE_DETAILS": (Syntax.PARAMS_OPTIONAL, _details),
        # Those of the connection: a request has none of its own in Envoy.
        "CONNECTION_TERMINATION_DETAILS": _simple(
            "(si.connection.termination_details if si.protocol is None else None)", Kind.STR
        ),
        "RESPONSE_FLAGS": _call(_flags, Kind.BYTES, present=True),
        "RESPONSE_FLAGS_LONG": _simple("si.flags_long()", Kind.STR),
        "CUSTOM_FLAGS": (_ONLY, lambda command, names: Expression("b''", Kind.BYTES, present=True)),
        "UPSTREAM_HOST": _simple(host_address, Kind.STR),
        "UPSTREAM_HOST_NAME": _call(_upstream_host_name, Kind.STR),
        "UPSTREAM_HOST_NAME_WITHOUT_PORT": _call(_upstream_host_name_without_port, Kind.STR),
        "UPSTREAM_CONNECTION_ID": _simple("(si.upstream_connection_id or 0)", Kind.INT),
        "UPSTREAM_CLUSTER": _cluster_name("observability_name"),
        "UPSTREAM_CLUSTER_RAW": _cluster_name("name"),
        "UPSTREAM_REQUEST_ATTEMPT_COUNT": _simple("si.attempt_count", Kind.INT),
        "UPSTREAM_TRANSPORT_FAILURE_REASON": _transport_failure("si.upstream_transport_failure_reason"),
        # That of the connection: a request has none of its own in Envoy.
        "DOWNSTREAM_TRANSPORT_FAILURE_REASON": _transport_failure(
            "(si.connection.transport_failure_reason if si.protocol is None else None)"
        ),
        "DOWNSTREAM_DETECTED_CLOSE_TYPE": (_ONLY, lambda command, names: Expression("b'Normal'", Kind.BYTES)),
        "CONNECTION_ID": _simple("si.connection.connection_id", Kind.INT),
        # Envoy's stream id of an HTTP request is its x-request-id.
        "STREAM_ID": _simple("(si.stream_id or rq.get(b'x-request-id'))", Kind.BYTES),
        "UNIQUE_ID": _call(_unique_id, Kind.BYTES, present=True),
        "TLS_JA3_FINGERPRINT": _simple("si.connection.ja3_hash", Kind.STR),
        "TLS_JA4_FINGERPRINT": _simple("si.connection.ja4_hash", Kind.STR),
        "REQUESTED_SERVER_NAME": (Syntax.PARAMS_OPTIONAL, _server_name),
        "ROUTE_NAME": _simple("si.route_name", Kind.STR),
        "VIRTUAL_CLUSTER_NAME": _simple("getattr(si, 'virtual_cluster_name', None)", Kind.STR),
        "FILTER_CHAIN_NAME": _simple("si.connection.filter_chain_name", Kind.STR),
        "HOSTNAME": (_ONLY, _hostname),
        "ENVIRONMENT": (Syntax.PARAMS_REQUIRED | Syntax.LENGTH_ALLOWED, _environment),
        "START_TIME": _time("si.start_time", False),
        "START_TIME_LOCAL": _time("si.start_time", True),
        "EMIT_TIME": _time("system_time()", False),
        "EMIT_TIME_LOCAL": _time("system_time()", True),
        "DYNAMIC_METADATA": _metadata("si.dynamic_metadata_map"),
        "CLUSTER_METADATA": _metadata(metadata_of_cluster),
        "UPSTREAM_METADATA": _metadata(metadata_of_host),
        "FILTER_STATE": (filter_state, _filter_state),
        "UPSTREAM_FILTER_STATE": (filter_state, _filter_state),
    }
    table.update(_addresses())
    table.update({name: _simple("None", Kind.BYTES) for name in _ABSENT_COMMANDS})
    table.update({name: (Syntax.PARAMS_OPTIONAL, _absent_time) for name in _ABSENT_TIMES})
    table.update({name: _simple("0", Kind.INT) for name in _ZERO_COMMANDS})
    return table


def _duration(command: Command, names: Namespace) -> Expression:
    # A stream that has not ended (a periodic or start log) lasts until now.
    names.names["monotonic_ns"] = time.monotonic_ns
    return Expression("(((si.end_ns or monotonic_ns()) - si.start_ns) // 1000000)", Kind.INT)
