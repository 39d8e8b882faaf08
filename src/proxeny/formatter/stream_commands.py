"""Commands about the stream, its connection and its upstream (Envoy: stream_info_formatter.cc)."""

from __future__ import annotations

import os
import re
import socket
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

from proxeny.config.errors import ConfigError
from proxeny.formatter import values
from proxeny.formatter.absent_commands import absent_commands
from proxeny.formatter.address_commands import address_commands
from proxeny.formatter.byte_counts import (
    downstream_decompressed_received,
    downstream_header_received,
    downstream_header_sent,
)
from proxeny.formatter.expression import ABSENT, Expression, Kind, Namespace
from proxeny.formatter.http_commands import Build, Table
from proxeny.formatter.line_program import INFO_STEPS, Step
from proxeny.formatter.parser import Command
from proxeny.formatter.syntax import Syntax
from proxeny.formatter.times import time_text
from proxeny.formatter.tls_commands import UPSTREAM_SESSION, tls_commands
from proxeny.formatter.upstream_commands import upstream_commands, upstream_filter_state
from proxeny.kernel.headers import HeaderMap
from proxeny.kernel.sockets import get_option
from proxeny.network.stream_info import StreamInfo

_ONLY = Syntax.COMMAND_ONLY
_RTT_AT = 68
"""Where ``struct tcp_info`` (linux/tcp.h) has ``tcpi_rtt``."""
_FILTER_STATE = Syntax.PARAMS_OPTIONAL | Syntax.LENGTH_ALLOWED
_SPACE = re.compile(r"[ \t\f\v\n\r]")
_NOT_HOSTNAME = re.compile(r"[^A-Za-z0-9._-]")

# Names of COMMON_DURATION's points in time; any other is one that a filter may set.
_TIME_POINTS = {
    "DS_RX_BEG": "si.start_ns",
    "DS_RX_END": "si.last_downstream_rx_ns",
    "US_CX_BEG": "(u._start_ns if (u := si.upstream_connection) is not None else 0)",
    "US_CX_END": "(u.connected_ns if (u := si.upstream_connection) is not None else 0)",
    "US_HS_END": f"(s.handshake_done_ns if (s := {UPSTREAM_SESSION}) is not None else 0)",
    "US_TX_BEG": "(si.first_upstream_tx_ns if si.protocol else 0)",
    "US_TX_END": "si.last_upstream_tx_ns",
    "US_RX_BEG": "si.first_upstream_rx_ns",
    "US_RX_BODY_BEG": "si.first_upstream_body_ns",
    "US_RX_END": "si.last_upstream_rx_ns",
    "DS_TX_BEG": "si.first_downstream_tx_ns",
    "DS_TX_END": "si.last_downstream_tx_ns",
}
_PRECISION = {"ms": 1_000_000, "us": 1_000, "ns": 1}


def _simple(source: str, kind: Kind) -> tuple[Syntax, Build]:
    return _ONLY, lambda command, names: _with_step(Expression(source, kind), source)


def _with_step(expression: Expression, step: str, function: Callable[..., Any] | None = None) -> Expression:
    number = INFO_STEPS.get(step)
    if number is not None:
        expression.step = Step(number, function=function)
    return expression


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


def _no_spaces(text: str) -> str:
    return _SPACE.sub("_", text) if text else text


def _details(command: Command, names: Namespace) -> Expression:
    if command.argument == "ALLOW_WHITESPACES":
        return Expression("si.response_code_details", Kind.STR)
    return Expression(f"{names.bind(_no_spaces)}(si.response_code_details)", Kind.STR)


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
    start, end = _time_point(parts[0], names), _time_point(parts[1], names)
    # A point that was never reached is 0.
    source = f"((e - b) // {precision} if (b := {start}) and (e := {end}) >= b else None)"
    return Expression(source, Kind.OPTIONAL_INT)


def _time_point(name: str, names: Namespace) -> str:
    source = _TIME_POINTS.get(name)
    if source is None:
        source = f"(u.get({names.bind(name)}, 0) if (u := si.time_points) is not None else 0)"
    return source


def _since_start(source: str) -> tuple[Syntax, Build]:
    return _simple(f"(({source} - si.start_ns) // 1000000 if {source} else None)", Kind.OPTIONAL_INT)


def _time(source: str, local: bool) -> tuple[Syntax, Build]:
    def build(command: Command, names: Namespace) -> Expression:
        text = names.bind(time_text(command.argument, local))
        names.names["system_time"] = time.time
        made = Expression(f"{text}({source})", Kind.BYTES, present=True)
        return made if command.argument or local else _with_step(made, command.name)

    return Syntax.PARAMS_OPTIONAL, build


def _metadata(source: str, length: Syntax = Syntax.COMMAND_ONLY) -> tuple[Syntax, Build]:
    def build(command: Command, names: Namespace) -> Expression:
        namespace, *path = command.argument.split(":")
        return metadata_expression(source, namespace, tuple(path), command.max_length, names)

    return Syntax.PARAMS_REQUIRED | length, build


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
    state = "si.filter_state_map"
    if command.name == "UPSTREAM_FILTER_STATE":
        state = f"{names.bind(upstream_filter_state)}(si)"
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


def _stream_id(info: StreamInfo, request: HeaderMap) -> bytes | None:
    # Of a request: its x-request-id. A TCP session gets one when somebody asks.
    if info.stream_id is None:
        return None
    if not info.stream_id:
        if info.protocol is not None or info.upstream_cluster is None:
            return request.get(b"x-request-id")
        info.stream_id = str(uuid.uuid4()).encode()
    return info.stream_id


def _round_trip_ms(info: StreamInfo) -> int:
    # What the kernel measured last; of a closed connection nothing is known any more.
    fd = info.connection.fd
    try:
        facts = get_option(fd, socket.IPPROTO_TCP, socket.TCP_INFO, _RTT_AT + 4) if fd >= 0 else b""
    except OSError:
        return 0
    return int.from_bytes(facts[_RTT_AT:], sys.byteorder) // 1000


def _downstream(expression: str, tcp: str = "0") -> tuple[Syntax, Build]:
    """A size that the codec's stream knows; a TCP session has its own."""
    return _simple(f"({expression} if (u := si.downstream_stream) is not None else {tcp})", Kind.INT)


def stream_commands() -> Table:
    """The table of commands."""
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
        "DOWNSTREAM_WIRE_BYTES_RECEIVED": _downstream("u.bytes_received", "si.wire_bytes_received"),
        "DOWNSTREAM_WIRE_BYTES_SENT": _downstream("u.bytes_sent", "si.wire_bytes_sent"),
        "DOWNSTREAM_HEADER_BYTES_RECEIVED": _call(downstream_header_received, Kind.INT),
        "DOWNSTREAM_HEADER_BYTES_SENT": _call(downstream_header_sent, Kind.INT),
        "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED": _call(downstream_decompressed_received, Kind.INT),
        "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT": _call(downstream_header_sent, Kind.INT),
        "DOWNSTREAM_CX_RTT": _call(_round_trip_ms, Kind.INT),
        # An attempt without a stream has none; its stream ID is None.
        "PROTOCOL": _simple("(si.protocol or (None if si.stream_id is None else si.connection.protocol))", Kind.STR),
        "RESPONSE_CODE": _simple("si.response_code", Kind.INT),
        "RESPONSE_CODE_DETAILS": (Syntax.PARAMS_OPTIONAL, _details),
        # Those of the connection: a request has none of its own in Envoy.
        "CONNECTION_TERMINATION_DETAILS": _simple(
            "(si.connection.termination_details if si.protocol is None else None)", Kind.STR
        ),
        "RESPONSE_FLAGS": (
            _ONLY,
            lambda command, names: _with_step(
                Expression(f"{names.bind(_flags)}(si)", Kind.BYTES, present=True), command.name, _flags
            ),
        ),
        "RESPONSE_FLAGS_LONG": _simple("si.flags_long()", Kind.STR),
        "CUSTOM_FLAGS": (
            _ONLY,
            lambda command, names: Expression(
                "si.custom_flags.encode('utf-8', 'surrogateescape')", Kind.BYTES, present=True
            ),
        ),
        # That of the connection: a request has none of its own in Envoy.
        "DOWNSTREAM_TRANSPORT_FAILURE_REASON": _simple(
            "((si.connection.transport_failure_reason if si.protocol is None else None) or '').replace(' ', '_')",
            Kind.STR,
        ),
        "DOWNSTREAM_DETECTED_CLOSE_TYPE": _simple(
            "(si.connection.detected_close_type if si.protocol is None else 'Normal')", Kind.STR
        ),
        "DOWNSTREAM_LOCAL_CLOSE_REASON": _simple("si.connection.local_close_reason", Kind.STR),
        "CONNECTION_ID": _simple("si.connection.connection_id", Kind.INT),
        "STREAM_ID": (_ONLY, lambda command, names: Expression(f"{names.bind(_stream_id)}(si, rq)", Kind.BYTES)),
        "UNIQUE_ID": _call(_unique_id, Kind.BYTES, present=True),
        "TLS_JA3_FINGERPRINT": _simple("si.connection.ja3_hash", Kind.STR),
        "TLS_JA4_FINGERPRINT": _simple("si.connection.ja4_hash", Kind.STR),
        "REQUESTED_SERVER_NAME": (Syntax.PARAMS_OPTIONAL, _server_name),
        "ROUTE_NAME": _simple("si.route_name", Kind.STR),
        "ROUTE_RESOLUTION_COUNT": _simple("si.route_resolutions", Kind.INT),
        "ROUTE_RESOLUTION_TIME_US": _simple(
            "(si.route_resolution_ns // 1000 if si.route_resolutions else None)", Kind.OPTIONAL_INT
        ),
        "VIRTUAL_CLUSTER_NAME": _simple(
            "(u.name if (u := si.virtual_cluster) is not None and u.headers else None)", Kind.STR
        ),
        "FILTER_CHAIN_NAME": _simple("si.connection.filter_chain_name", Kind.STR),
        "LISTENER_NAME": _simple("(u.name if (u := si.connection.listener) is not None else None)", Kind.STR),
        "HOSTNAME": (_ONLY, _hostname),
        "ENVIRONMENT": (Syntax.PARAMS_REQUIRED | Syntax.LENGTH_ALLOWED, _environment),
        "START_TIME": _time("si.start_time", False),
        "START_TIME_LOCAL": _time("si.start_time", True),
        "EMIT_TIME": _time("system_time()", False),
        "EMIT_TIME_LOCAL": _time("system_time()", True),
        "DYNAMIC_METADATA": _metadata("si.dynamic_metadata_map", Syntax.LENGTH_ALLOWED),
        "CLUSTER_METADATA": _metadata("(u.metadata if (u := si.upstream_cluster) is not None else None)"),
        "UPSTREAM_METADATA": _metadata("(u.metadata if (u := si.upstream_host) is not None else None)"),
        "FILTER_STATE": (_FILTER_STATE, _filter_state),
        "UPSTREAM_FILTER_STATE": (_FILTER_STATE, _filter_state),
        **upstream_commands(),
        **address_commands(),
        **tls_commands(),
        **absent_commands(),
    }
    return table


def _duration(command: Command, names: Namespace) -> Expression:
    # A stream that has not ended (a periodic or start log) lasts until now.
    names.names["monotonic_ns"] = time.monotonic_ns
    source = "(((si.end_ns or monotonic_ns()) - si.start_ns) // 1000000)"
    return _with_step(Expression(source, Kind.INT), command.name)
