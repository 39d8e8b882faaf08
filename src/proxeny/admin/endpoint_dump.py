"""Endpoints of clusters as /config_dump has them (Envoy: ``ConfigDumpHandler::dumpEndpointConfigs``)."""

from __future__ import annotations

from itertools import groupby
from typing import Any, Final

from envoy.config.endpoint.v3 import endpoint_pb2

from proxeny.admin.clusters import eds_health
from proxeny.upstream.cluster_status import ClusterStatus
from proxeny.upstream.endpoints import INTERNAL, PIPE

_HEALTH: Final = {"HEALTHY": 1, "UNHEALTHY": 2, "DRAINING": 3, "DEGRADED": 5}


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

    for (priority, region, zone, sub_zone), hosts in groupby(sorted(cluster.hosts, key=place), key=place):
        group = assignment.endpoints.add(priority=priority)
        group.locality.region, group.locality.zone, group.locality.sub_zone = region, zone, sub_zone
        group.load_balancing_weight.value = 0
        for host in hosts:
            entry = group.lb_endpoints.add(health_status=_HEALTH[eds_health(host)])
            entry.load_balancing_weight.value = host.weight
            endpoint = entry.endpoint
            endpoint.hostname = host.hostname
            endpoint.health_check_config.SetInParent()
            if host.port == PIPE:
                endpoint.address.pipe.path = host.address
            elif host.port == INTERNAL:
                endpoint.address.envoy_internal_address.server_listener_name = host.address
                endpoint.address.envoy_internal_address.endpoint_id = host.endpoint_id
            else:
                endpoint.address.socket_address.address = host.address
                endpoint.address.socket_address.port_value = host.port
    return assignment
