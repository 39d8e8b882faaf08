"""/clusters and /listeners (Envoy: ClustersHandler, ListenersHandler)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from proxeny.admin.context import AdminContext
from proxeny.admin.json_pieces import respond_json_list
from proxeny.admin.numbers import general, plain
from proxeny.admin.query import Query
from proxeny.admin.response import AdminResponse, json_text, respond, respond_in_pieces, respond_json
from proxeny.admin.stats_params import compile_filter
from proxeny.upstream.cluster_status import CircuitBreakerStatus, ClusterStatus, HostStatus, OutlierStatus
from proxeny.upstream.endpoints import INTERNAL, PIPE

_PRIORITIES = ("default", "high")
_LIMITS = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
_EDS_FIELD = "eds_health_status"
# A health flag's name (in /clusters) -> the field of HostHealthStatus that shows it, in the order of their numbers.
_HEALTH_FIELDS = {
    "/failed_active_hc": "failed_active_health_check",
    "/failed_outlier_check": "failed_outlier_check",
    "": _EDS_FIELD,
    "/degraded_active_hc": "failed_active_degraded_check",
    "/pending_dynamic_removal": "pending_dynamic_removal",
    "/pending_active_hc": "pending_active_hc",
    "/excluded_via_immediate_hc_fail": "excluded_via_immediate_hc_fail",
    "/active_hc_timeout": "active_hc_timeout",
    "/degraded_outlier_detection": "failed_degraded_outlier_detection",
}
_EDS_HEALTH = (
    ("/failed_eds_health", "UNHEALTHY"),
    ("/eds_status_draining", "DRAINING"),
    ("/degraded_eds_health", "DEGRADED"),
)


class ListingHandler:
    """Pages about clusters and listeners."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context

    def clusters(self, query: Query, body: bytes) -> AdminResponse:
        """/clusters, as text or JSON; `filter` is a regex over names."""
        text = query.parameters.get("filter", "")
        accepts: Callable[[str], bool] | None = None
        if text:
            try:
                regex = compile_filter(text)
            except ValueError:
                return respond("Invalid re2 regex", 400)

            def accepts(name: str) -> bool:
                return regex.search(name) is not None

        clusters = self._context.clusters(accepts)
        if query.parameters.get("format") == "json":
            statuses = (iter((json_text(_cluster_json(cluster), 2),)) for cluster in clusters)
            return respond_json_list("cluster_statuses", statuses)
        return respond_in_pieces(map(_cluster_text, clusters))

    def listeners(self, query: Query, body: bytes) -> AdminResponse:
        """/listeners, as text or JSON."""
        listeners = self._context.listeners()
        if query.parameters.get("format") != "json":
            lines = [f"{one.name}::{address.as_string()}\n" for one in listeners for address in one.addresses]
            return respond("".join(lines))
        statuses = []
        for listener in listeners:
            status: dict[str, Any] = {"name": listener.name} if listener.name else {}
            addresses = [address_json(address) for address in listener.addresses]
            if addresses:
                status["local_address"] = addresses[0]
            if len(addresses) > 1:
                status["additional_local_addresses"] = addresses[1:]
            statuses.append(status)
        return respond_json({"listener_statuses": statuses} if statuses else {})


def address_json(address: Any) -> dict[str, Any]:
    """``config.core.v3.Address`` of any kind of address."""
    if getattr(address, "is_internal", False):
        return _internal_json(address.listener_name, address.endpoint_id)
    if getattr(address, "ip", None):
        found = {"address": address.ip, "port_value": address.port}
        if getattr(address, "network_namespace", ""):
            found["network_namespace_filepath"] = address.network_namespace
        return {"socket_address": found}
    return {"pipe": {"path": address.as_string()}}


def _internal_json(listener_name: str, endpoint_id: str) -> dict[str, Any]:
    named = {"server_listener_name": listener_name}
    return {"envoy_internal_address": {**named, "endpoint_id": endpoint_id} if endpoint_id else named}


def _cluster_text(cluster: ClusterStatus) -> str:
    head = cluster.name
    lines = [f"{head}::observability_name::{cluster.observability_name}\n"]
    if cluster.outlier is not None:
        lines += [f"{head}::outlier::{name}::{general(value)}\n" for name, value in _outlier_facts(cluster.outlier)]
    for priority, limits in zip(_PRIORITIES, cluster.circuit_breakers, strict=False):
        lines += [f"{head}::{priority}_priority::{limit}::{getattr(limits, limit)}\n" for limit in _LIMITS]
    lines.append(f"{head}::added_via_api::{_bool(cluster.added_via_api)}\n")
    if cluster.eds_service_name:
        lines.append(f"{head}::eds_service_name::{cluster.eds_service_name}\n")
    for host in cluster.hosts:
        prefix = f"{head}::{host.address_text}::"
        statistics = {**host.counters, **host.gauges}
        lines += [f"{prefix}{name}::{statistics[name]}\n" for name in sorted(statistics)]
        lines += [f"{prefix}{name}::{value}\n" for name, value in _host_facts(host)]
    return "".join(lines)


def _outlier_facts(outlier: OutlierStatus) -> list[tuple[str, float]]:
    return [
        ("success_rate_average", outlier.average),
        ("success_rate_ejection_threshold", outlier.threshold),
        ("local_origin_success_rate_average", outlier.local_origin_average),
        ("local_origin_success_rate_ejection_threshold", outlier.local_origin_threshold),
    ]


def _host_facts(host: HostStatus) -> list[tuple[str, object]]:
    return [
        ("hostname", host.hostname),
        ("health_flags", host.health_flags),
        ("weight", host.weight),
        ("region", host.region),
        ("zone", host.zone),
        ("sub_zone", host.sub_zone),
        ("canary", _bool(host.canary)),
        ("priority", host.priority),
        ("success_rate", plain(float(host.success_rate))),
        ("local_origin_success_rate", plain(float(host.local_origin_success_rate))),
    ]


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _cluster_json(cluster: ClusterStatus) -> dict[str, Any]:
    status: dict[str, Any] = {"name": cluster.name}
    if cluster.added_via_api:
        status["added_via_api"] = True
    outlier = cluster.outlier
    if outlier is not None and outlier.threshold > 0:
        status["success_rate_ejection_threshold"] = _percent(outlier.threshold)
    hosts = [_host_json(host) for host in cluster.hosts]
    if hosts:
        status["host_statuses"] = hosts
    if outlier is not None and outlier.local_origin_threshold > 0:
        status["local_origin_success_rate_ejection_threshold"] = _percent(outlier.local_origin_threshold)
    thresholds = [_limits_json(index, limits) for index, limits in enumerate(cluster.circuit_breakers)]
    status["circuit_breakers"] = {"thresholds": thresholds}
    status["observability_name"] = cluster.observability_name
    if cluster.eds_service_name:
        status["eds_service_name"] = cluster.eds_service_name
    return status


def _percent(value: float) -> dict[str, float]:
    """``type.v3.Percent``; whole numbers have no fraction, and 0 is left out."""
    if not value:
        return {}
    return {"value": int(value) if value == int(value) else value}


def _limits_json(index: int, limits: CircuitBreakerStatus) -> dict[str, Any]:
    head = {"priority": "HIGH"} if index == 1 else {}
    return {**head, **{limit: getattr(limits, limit) for limit in _LIMITS}}


def _host_json(host: HostStatus) -> dict[str, Any]:
    address: dict[str, Any] = {"socket_address": {"address": host.address, "port_value": host.port}}
    if host.port == PIPE:
        address = {"pipe": {"path": host.address}}
    elif host.port == INTERNAL:
        address = _internal_json(host.address, host.endpoint_id)
    statistics = [_statistic(None, name, value) for name, value in host.counters.items()]
    statistics += [_statistic("GAUGE", name, value) for name, value in host.gauges.items()]
    made: dict[str, Any] = {"address": address, "stats": statistics, "health_status": _health_json(host)}
    if host.success_rate >= 0:
        made["success_rate"] = _percent(host.success_rate)
    made["weight"] = host.weight
    if host.hostname:
        made["hostname"] = host.hostname
    if host.priority:
        made["priority"] = host.priority
    if host.local_origin_success_rate >= 0:
        made["local_origin_success_rate"] = _percent(host.local_origin_success_rate)
    locality = {"region": host.region, "zone": host.zone, "sub_zone": host.sub_zone}
    made["locality"] = {name: value for name, value in locality.items() if value}
    return made


def _statistic(kind: str | None, name: str, value: int) -> dict[str, str]:
    made = {"type": kind} if kind else {}
    if value:
        made["value"] = str(value)
    return {**made, "name": name}


def eds_health(host: HostStatus) -> str:
    """``config.core.v3.HealthStatus`` as the endpoint's configuration has it."""
    return next((name for flag, name in _EDS_HEALTH if flag in host.health_flags), "HEALTHY")


def _health_json(host: HostStatus) -> dict[str, Any]:
    made: dict[str, Any] = {field: True for flag, field in _HEALTH_FIELDS.items() if flag in host.health_flags}
    made[_EDS_FIELD] = eds_health(host)
    return made
