"""Plain data about clusters for admin pages (/clusters): what Envoy's ``ClustersHandler`` shows, without its format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxeny.kernel.stats import sum_slots
from proxeny.upstream.discovery import ClusterType
from proxeny.upstream.endpoints import host_address_text
from proxeny.upstream.host import health_flags_text
from proxeny.upstream.load_assignment import DEFAULT_POLICY
from proxeny.upstream.resource_manager import ResourceManager, ResourcePriority
from proxeny.upstream.stats import HOST

if TYPE_CHECKING:
    from proxeny.upstream.endpoints import AssignmentPolicy, CheckTarget, HostEntry
    from proxeny.upstream.main_cluster import MainCluster
    from proxeny.upstream.outlier.detector import OutlierDetector


@dataclass(slots=True)
class CircuitBreakerStatus:
    """The limits of one priority."""

    max_connections: int
    max_pending_requests: int
    max_requests: int
    max_retries: int


@dataclass(slots=True)
class HostStatus:
    """One host; ``counters`` and ``gauges`` are in Envoy's order and summed over the workers."""

    address: str
    """IP address, the path of a unix domain socket (then ``port`` is -1) or the name of an internal listener (-2)."""
    port: int
    hostname: str
    counters: dict[str, int]
    gauges: dict[str, int]
    health_flags: str
    flags: int
    weight: int
    region: str
    zone: str
    sub_zone: str
    canary: bool
    priority: int
    endpoint_id: str = ""
    locality_weight: int = 0
    metadata: bytes = b""
    """A serialized core.v3.Metadata."""
    check: CheckTarget | None = None
    additional_addresses: tuple[tuple[str, int], ...] = ()
    success_rate: float = -1
    """In the last interval of outlier detection; -1: not known."""
    local_origin_success_rate: float = -1

    @property
    def address_text(self) -> str:
        """``127.0.0.1:80``, ``[::1]:80``, the path or ``envoy://listener/id``."""
        return host_address_text(self.address, self.port, self.endpoint_id)


@dataclass(slots=True)
class OutlierStatus:
    """Success rates over the hosts in the last interval, and below what a host's ejects it; -1: not known."""

    average: float
    threshold: float
    local_origin_average: float
    local_origin_threshold: float


@dataclass(slots=True)
class ClusterStatus:
    """One cluster; circuit breakers of the default and the high priority."""

    name: str
    observability_name: str
    added_via_api: bool
    circuit_breakers: tuple[CircuitBreakerStatus, ...]
    hosts: list[HostStatus]
    """By priority."""
    outlier: OutlierStatus | None = None
    """None: no outlier is looked for."""
    eds_service_name: str = ""
    """Which resource its hosts are, where that is not named as the cluster."""
    policy: AssignmentPolicy = DEFAULT_POLICY


def eds_service_name(cluster: MainCluster) -> str:
    """Empty where endpoints are not discovered, or by the cluster's own name."""
    return cluster.config.options.configured_name if cluster.config.type is ClusterType.EDS else ""


def status_of(cluster: MainCluster, detector: OutlierDetector | None) -> ClusterStatus:
    """One cluster with its hosts; host counts are sums over the workers."""
    info = cluster.config.info
    entries = sorted(cluster.members(), key=lambda entry: entry.priority)
    hosts = [_host_status(cluster, entry) for entry in entries]
    outlier = None
    if detector is not None:
        outlier = OutlierStatus(*detector.averages[False], *detector.averages[True])
        records = {record.index: record for record in detector.records.values()}
        for entry, host in zip(entries, hosts, strict=True):
            record = records.get(entry.stat_index)
            if record is not None:
                host.success_rate = record.success_rate
                host.local_origin_success_rate = record.local_origin_success_rate
    return ClusterStatus(
        name=info.name,
        observability_name=info.observability_name,
        added_via_api=cluster.added_via_api,
        circuit_breakers=tuple([_limits_of(info.resource_manager(priority)) for priority in ResourcePriority]),
        hosts=hosts,
        outlier=outlier,
        eds_service_name=eds_service_name(cluster),
        policy=cluster.policy or cluster.config.policy,
    )


def _limits_of(manager: ResourceManager) -> CircuitBreakerStatus:
    """The limits as they are now: the runtime may override what is configured."""
    return CircuitBreakerStatus(
        manager.connections.max, manager.pending_requests.max, manager.requests.max, manager.retries.max
    )


def _host_status(cluster: MainCluster, entry: HostEntry) -> HostStatus:
    values, _ = sum_slots(cluster.blocks_of(entry), HOST.size)
    return HostStatus(
        address=entry.address,
        port=entry.port,
        hostname=entry.hostname,
        counters=dict(zip(HOST.counters, values[: HOST.gauges_from], strict=True)),
        gauges=dict(zip(HOST.gauges, values[HOST.gauges_from :], strict=True)),
        health_flags=health_flags_text(entry.health_flags),
        flags=entry.health_flags,
        weight=entry.weight,
        region=entry.region,
        zone=entry.zone,
        sub_zone=entry.sub_zone,
        canary=entry.canary,
        priority=entry.priority,
        endpoint_id=entry.endpoint_id,
        locality_weight=entry.locality_weight,
        metadata=entry.metadata,
        check=entry.check,
        additional_addresses=entry.additional_addresses,
    )
