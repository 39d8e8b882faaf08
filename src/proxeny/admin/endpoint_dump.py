"""Endpoints of clusters as /config_dump has them (Envoy: ``ConfigDumpHandler::dumpEndpointConfigs``)."""

from __future__ import annotations

from itertools import groupby
from typing import Any, Final

from envoy.config.endpoint.v3 import endpoint_pb2

from proxeny.upstream.cluster_status import ClusterStatus, HostStatus
from proxeny.upstream.endpoints import write_address
from proxeny.upstream.host import Health, health_of

_HEALTH: Final = {Health.HEALTHY: 1, Health.UNHEALTHY: 2, Health.DEGRADED: 5}
"""``config.core.v3.HealthStatus`` of what a host is, whoever said so."""


def assignment_of(cluster: ClusterStatus) -> Any:
    """A ``ClusterLoadAssignment`` with the hosts as they are now."""
    assignment = endpoint_pb2.ClusterLoadAssignment(cluster_name=cluster.eds_service_name or cluster.name)
    policy = cluster.policy
    assignment.policy.overprovisioning_factor.value = policy.overprovisioning_factor
    if policy.drop_overload:
        share = assignment.policy.drop_overloads.add(category=policy.drop_category).drop_percentage
        share.numerator, share.denominator = round(policy.drop_overload * 1_000_000), 2

    def place(host: Any) -> tuple[int, str, str, str]:
        return host.priority, host.region, host.zone, host.sub_zone

    for (priority, region, zone, sub_zone), group_hosts in groupby(sorted(cluster.hosts, key=place), key=place):
        hosts = list(group_hosts)
        group = assignment.endpoints.add(priority=priority)
        group.locality.region, group.locality.zone, group.locality.sub_zone = region, zone, sub_zone
        group.load_balancing_weight.value = max(host.locality_weight for host in hosts)
        for host in hosts:
            _put_host(group.lb_endpoints.add(), host)
    return assignment


def _put_host(entry: Any, host: HostStatus) -> None:
    if host.metadata:
        entry.metadata.ParseFromString(host.metadata)
    entry.health_status = _HEALTH[health_of(host.flags)]
    entry.load_balancing_weight.value = host.weight
    endpoint = entry.endpoint
    endpoint.hostname = host.hostname
    endpoint.health_check_config.SetInParent()
    if host.check is not None:
        check = host.check
        endpoint.health_check_config.hostname = check.hostname
        if check.address not in ("", host.address) or check.port not in (0, host.port):
            endpoint.health_check_config.port_value = check.port or host.port
    write_address(endpoint.address, host.address, host.port, host.endpoint_id)
    for address, port in host.additional_addresses:
        write_address(endpoint.additional_addresses.add().address, address, port)
