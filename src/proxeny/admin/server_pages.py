"""Pages about the server itself: /server_info, /ready, /memory, /certs, /runtime ... (Envoy: ServerInfoHandler)."""

from __future__ import annotations

import time
from typing import Any

from envoy.admin.v3 import server_info_pb2

from proxeny.admin.context import LIVE, AdminContext
from proxeny.admin.proto_json import message_to_json
from proxeny.admin.query import Query
from proxeny.admin.response import AdminResponse, respond, respond_json
from proxeny.secret.certificates import ShownCertificate

# Options whose attribute has a unit in its name: field -> (attribute, seconds per unit).
_DURATIONS = {
    "file_flush_interval": ("file_flush_interval_msec", 0.001),
    "drain_time": ("drain_time_s", 1),
    "parent_shutdown_time": ("parent_shutdown_time_s", 1),
}
_MODES = {"serve": "Serve", "validate": "Validate", "init_only": "InitOnly"}


class ServerPages:
    """Read-only pages."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context

    def server_info(self, query: Query, body: bytes) -> AdminResponse:
        """/server_info"""
        context = self._context
        info = server_info_pb2.ServerInfo(
            version=context.version,
            state=context.state(),
            hot_restart_version=context.hot_restart_version,
        )
        info.uptime_current_epoch.seconds = context.uptime_s()
        info.uptime_all_epochs.seconds = context.uptime_all_epochs_s()
        info.command_line_options.CopyFrom(command_line_options(context.options))
        info.node.CopyFrom(context.node)
        # Envoy 1.40 has one field more than the API that xds-protos was made from.
        return respond_json({**message_to_json(info, defaults=True), "hot_restart_initializing": False})

    def ready(self, query: Query, body: bytes) -> AdminResponse:
        """/ready: 200 only when the server is live"""
        state = self._context.state()
        name = server_info_pb2.ServerInfo.State.Name(state)
        return respond(f"{name}\n", 200 if state == LIVE else 503)

    def memory(self, query: Query, body: bytes) -> AdminResponse:
        """/memory: what tcmalloc counts has no counterpart here and is 0"""
        usage = self._context.memory()
        return respond_json(
            {
                "allocated": str(usage.allocated),
                "heap_size": str(usage.heap_size),
                "pageheap_unmapped": "0",
                "pageheap_free": "0",
                "total_thread_cache": "0",
                "total_physical_bytes": str(usage.physical),
            }
        )

    def certs(self, query: Query, body: bytes) -> AdminResponse:
        """/certs: what every TLS context is made of"""
        now = time.time()
        return respond_json(
            {
                "certificates": [
                    {
                        "ca_cert": [_certificate(one, now) for one in context.authorities],
                        "cert_chain": [_certificate(one, now) for one in context.own],
                    }
                    for context in self._context.certificates()
                ]
            }
        )

    def hot_restart_version(self, query: Query, body: bytes) -> AdminResponse:
        """/hot_restart_version"""
        return respond(self._context.hot_restart_version)

    def init_dump(self, query: Query, body: bytes) -> AdminResponse:
        """/init_dump; `mask` names the one part that there is"""
        if query.parameters.get("mask") not in (None, "", "listener"):
            return respond_json({})
        dumps = [
            {"name": one.name, **({"target_names": list(one.targets)} if one.targets else {})}
            for one in self._context.unready_targets()
        ]
        return respond_json({"unready_targets_dumps": dumps} if dumps else {})

    def runtime(self, query: Query, body: bytes) -> AdminResponse:
        """/runtime"""
        layers, table = self._context.runtime.layer_table()
        entries: dict[str, Any] = {}
        for key, values in table.items():
            final = next((value for value in reversed(values) if value), "")
            entries[key] = {"final_value": final, "layer_values": values}
        return respond_json({"layers": layers, "entries": entries})


def _certificate(shown: ShownCertificate, now: float) -> dict[str, Any]:
    """``admin.v3.CertificateDetails``."""
    details: dict[str, Any] = {
        "path": shown.path,
        "serial_number": shown.serial_number,
        "subject_alt_names": [{kind: value} for kind, value in shown.alternative_names()],
        "days_until_expiration": str(shown.days_left(now)),
        "valid_from": _whole(shown.valid_from),
        "expiration_time": _whole(shown.expires_at),
    }
    validity = shown.staple_validity()
    if validity is not None:
        begin, end = validity
        until = {} if end is None else {"expiration": _whole(end)}
        details["ocsp_details"] = {"valid_from": _whole(begin), **until}
    return details


def _whole(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def command_line_options(options: Any) -> Any:
    """``admin.v3.CommandLineOptions`` from an object whose attributes are named as the flags."""
    message: Any = server_info_pb2.CommandLineOptions()
    for field in message.DESCRIPTOR.fields:
        attribute, unit = _DURATIONS.get(field.name, (field.name, 0))
        value = getattr(options, attribute, None)
        if value is None:
            continue
        if field.name in _DURATIONS:
            getattr(message, field.name).FromMilliseconds(int(value * unit * 1000))
        elif field.name == "mode":
            message.mode = message.Mode.Value(_MODES[getattr(value, "value", value)])
        elif field.name == "drain_strategy":
            message.drain_strategy = message.DrainStrategy.Value(str(value).capitalize())
        elif field.name == "local_address_ip_version":
            message.local_address_ip_version = message.IpVersion.Value(value)
        elif not field.is_repeated:
            setattr(message, field.name, value)
    message.stats_tag.extend(f"{name}:{value}" for name, value in (getattr(options, "stats_tags", None) or {}).items())
    return message
