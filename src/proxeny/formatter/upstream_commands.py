"""Commands about the upstream of a request or a TCP session: hosts, attempts, the connection, its bytes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from proxeny.formatter.address_commands import without_port
from proxeny.formatter.byte_counts import upstream_counts
from proxeny.formatter.expression import Expression, Kind, Namespace
from proxeny.formatter.http_commands import Build, Table
from proxeny.formatter.line_program import INFO_STEPS, Step
from proxeny.formatter.parser import Command
from proxeny.formatter.syntax import Syntax
from proxeny.network.stream_info import StreamInfo

_ONLY = Syntax.COMMAND_ONLY
_PORT = re.compile(r":[0-9]+", re.ASCII)


def host_name(host: Any) -> str:
    """A host's name, or its address where it has none."""
    name: str = host.hostname or host.address.as_string()
    return name


def name_without_port(host: Any) -> str:
    """Likewise, without a port."""
    name = host_name(host)
    head, _, port = name.rpartition(":")
    if not _PORT.fullmatch(f":{port}") or (":" in head and not head.endswith("]")):
        return name
    return head


def _upstream_host_name(info: StreamInfo) -> str | None:
    host = info.upstream_host
    return None if host is None else host_name(host)


def _upstream_host_name_without_port(info: StreamInfo) -> str | None:
    host = info.upstream_host
    return None if host is None else name_without_port(host)


def _attempted(read: Callable[[Any], str | None]) -> Callable[[StreamInfo], str | None]:
    """Of a TCP session: every host it tried. Of a request: that of the last attempt, if it found a connection."""

    def attempted(info: StreamInfo) -> str | None:
        hosts = info.attempted_hosts
        if hosts is None:
            if info.upstream_connection is None or info.upstream_host is None:
                return None
            hosts = [info.upstream_host]
        return ",".join([read(host) or "" for host in hosts])

    return attempted


def _host_address(host: Any) -> str:
    text: str = host.address.as_string()
    return text


def _host_ip(host: Any) -> str | None:
    return without_port(host.address)


def _connection_ids(info: StreamInfo) -> str | None:
    connection = info.upstream_connection
    return None if connection is None else str(connection.id)


def _has_upstream(info: StreamInfo) -> bool:
    # Envoy's upstream info: a request has it once a host was chosen.
    return info.upstream_host is not None


def _close_type(info: StreamInfo) -> bytes | None:
    connection = info.upstream_connection
    if info.protocol is None and connection is not None and connection.remote_reset:
        return b"RemoteReset"
    # Every TCP session has upstream info.
    return b"Normal" if info.protocol is None or _has_upstream(info) else None


def _local_close_reason(info: StreamInfo) -> str | None:
    # Only a session's timeouts have one, and they end both connections.
    return info.connection.local_close_reason if info.protocol is None and info.upstream_connection else None


def _pool_ready_ms(info: StreamInfo) -> int | None:
    if not _has_upstream(info):
        return None
    asked = info.upstream_asked_ns
    if not asked:
        return 0
    done = info.upstream_failed_ns or info.first_upstream_tx_ns
    return (done - asked) // 1_000_000 if done >= asked else None


def _filter_state(info: StreamInfo) -> Any:
    connection = info.upstream_connection
    return None if connection is None else connection.filter_state_map


upstream_filter_state = _filter_state


def _call(function: Callable[..., Any], kind: Kind, *, present: bool = False) -> tuple[Syntax, Build]:
    return _ONLY, lambda command, names: Expression(f"{names.bind(function)}(si)", kind, present=present)


def _count(attribute: str, tcp: str = "0") -> tuple[Syntax, Build]:
    """A number of ``UpstreamCounts``; a TCP session has its own."""

    def build(command: Command, names: Namespace) -> Expression:
        counts = names.bind(upstream_counts)
        return Expression(f"({counts}(si, rq).{attribute} if si.protocol else {tcp})", Kind.INT)

    return _ONLY, build


def _cluster_name(attribute: str) -> tuple[Syntax, Build]:
    source = f"(u.{attribute} if (u := si.upstream_cluster) is not None else None)"
    return _ONLY, lambda command, names: Expression(source, Kind.STR)


def _simple(source: str, kind: Kind) -> tuple[Syntax, Build]:
    return _ONLY, lambda command, names: Expression(source, kind)


def _host(command: Command, names: Namespace) -> Expression:
    made = Expression("(u.address.as_string() if (u := si.upstream_host) is not None else None)", Kind.STR)
    made.step = Step(INFO_STEPS["UPSTREAM_HOST"])
    return made


def upstream_commands() -> Table:
    """The table of commands."""
    return {
        "UPSTREAM_HOST": (_ONLY, _host),
        "UPSTREAM_HOST_NAME": _call(_upstream_host_name, Kind.STR),
        "UPSTREAM_HOST_NAME_WITHOUT_PORT": _call(_upstream_host_name_without_port, Kind.STR),
        "UPSTREAM_HOSTS_ATTEMPTED": _call(_attempted(_host_address), Kind.STR),
        "UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT": _call(_attempted(_host_ip), Kind.STR),
        "UPSTREAM_HOST_NAMES_ATTEMPTED": _call(_attempted(host_name), Kind.STR),
        "UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT": _call(_attempted(name_without_port), Kind.STR),
        "UPSTREAM_CONNECTION_ID": _simple("si.upstream_connection_id", Kind.INT),
        "UPSTREAM_CONNECTION_IDS_ATTEMPTED": _call(_connection_ids, Kind.STR),
        "UPSTREAM_CLUSTER": _cluster_name("observability_name"),
        "UPSTREAM_CLUSTER_RAW": _cluster_name("name"),
        "UPSTREAM_PROTOCOL": _simple("si.upstream_protocol", Kind.STR),
        "UPSTREAM_REQUEST_ATTEMPT_COUNT": _simple("si.attempt_count", Kind.INT),
        "UPSTREAM_TRANSPORT_FAILURE_REASON": _simple(
            "(si.upstream_transport_failure_reason or '').replace(' ', '_')", Kind.STR
        ),
        "UPSTREAM_DETECTED_CLOSE_TYPE": _call(_close_type, Kind.BYTES),
        "UPSTREAM_LOCAL_CLOSE_REASON": _call(_local_close_reason, Kind.STR),
        "UPSTREAM_CONNECTION_POOL_READY_DURATION": _call(_pool_ready_ms, Kind.OPTIONAL_INT),
        "UPSTREAM_WIRE_BYTES_RECEIVED": _count("wire_received", "si.upstream_wire_bytes_received"),
        "UPSTREAM_WIRE_BYTES_SENT": _count("wire_sent", "si.upstream_wire_bytes_sent"),
        "UPSTREAM_HEADER_BYTES_RECEIVED": _count("header_received"),
        "UPSTREAM_HEADER_BYTES_SENT": _count("header_sent"),
        "UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED": _count("decompressed_received"),
        "UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT": _count("decompressed_sent"),
    }
