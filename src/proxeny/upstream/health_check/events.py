"""The log of health check events: a line of JSON each (Envoy: ``HealthCheckEventLoggerImpl``)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from envoy.config.core.v3 import base_pb2
from google.protobuf import json_format

from proxeny.upstream.endpoints import INTERNAL, PIPE
from proxeny.upstream.health_check.contract import FailureType

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.access_log.manager import AccessLogFile
    from proxeny.upstream.endpoints import HostEntry

_encode = msgspec.json.Encoder().encode

_BEFORE_TIME = ("eject_unhealthy_event", "add_healthy_event")
_AT_THE_END = "successful_health_check_event"


def address_json(entry: HostEntry) -> dict[str, Any]:
    """A host's ``core.v3.Address``, with all fields, as JSON."""
    if entry.port == PIPE:
        return {"pipe": {"path": entry.address, "mode": 0}}
    if entry.port == INTERNAL:
        named = {"server_listener_name": entry.address, "endpoint_id": entry.endpoint_id}
        return {"envoy_internal_address": named}
    return {
        "socket_address": {
            "protocol": "TCP",
            "address": entry.address,
            "port_value": entry.port,
            "resolver_name": "",
            "ipv4_compat": False,
            "network_namespace_filepath": "",
        }
    }


def timestamp(seconds: float) -> str:
    """RFC 3339, with as many groups of three digits as it takes."""
    when = datetime.fromtimestamp(seconds, UTC)
    digits = f"{when.microsecond // 1000:03}"
    return when.strftime("%Y-%m-%dT%H:%M:%S") + ("" if digits == "000" else f".{digits}") + "Z"


def _metadata_json(serialized: bytes) -> Any:
    metadata = base_pb2.Metadata.FromString(serialized)
    return _whole_numbers(
        json_format.MessageToDict(metadata, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    )


def _whole_numbers(value: Any) -> Any:
    """Numbers without a fraction are printed without one."""
    if isinstance(value, dict):
        return {key: _whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


class EventLog:
    """Where the events of one health check go."""

    __slots__ = ("_cluster_name", "_files", "_kind", "_now")

    def __init__(self, cluster_name: str, kind: str, files: list[AccessLogFile], now: Callable[[], float]) -> None:
        self._cluster_name = cluster_name
        self._kind = kind
        self._files = files
        self._now = now

    def ejected(self, entry: HostEntry, failure: FailureType, http_status: int) -> None:
        """A host that was healthy is not any more."""
        event = {"failure_type": failure.name, "http_status_code": http_status}
        self._write(entry, "eject_unhealthy_event", event)

    def added(self, entry: HostEntry, first_check: bool) -> None:
        """A host is healthy again, or after its first check."""
        self._write(entry, "add_healthy_event", {"first_check": first_check})

    def failed(self, entry: HostEntry, failure: FailureType, first_check: bool, http_status: int) -> None:
        """A check failed."""
        event = {"failure_type": failure.name, "first_check": first_check, "http_status_code": http_status}
        self._write(entry, "health_check_failure_event", event)

    def succeeded(self, entry: HostEntry) -> None:
        """A check of a healthy host succeeded."""
        self._write(entry, _AT_THE_END, {})

    def degraded(self, entry: HostEntry, degraded: bool) -> None:
        """A host says that it is degraded, or that it is no longer."""
        self._write(entry, "degraded_healthy_host" if degraded else "no_longer_degraded_host", {})

    def _write(self, entry: HostEntry, name: str, event: dict[str, Any]) -> None:
        if not self._files:
            return
        # Fields in the order of their numbers, as protobuf prints them.
        made: dict[str, Any] = {
            "health_checker_type": self._kind,
            "host": address_json(entry),
            "cluster_name": self._cluster_name,
        }
        if name in _BEFORE_TIME:
            made[name] = event
        made["timestamp"] = timestamp(self._now())
        if name not in _BEFORE_TIME and name != _AT_THE_END:
            made[name] = event
        if entry.metadata:
            made["metadata"] = _metadata_json(entry.metadata)
        made["locality"] = {"region": entry.region, "zone": entry.zone, "sub_zone": entry.sub_zone}
        if name == _AT_THE_END:
            made[name] = event
        line = _encode(made) + b"\n"
        for file in self._files:
            file.write(line)
