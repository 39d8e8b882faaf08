"""Endpoints as /config_dump?include_eds shows them."""

from __future__ import annotations

from typing import Any

from proxeny.admin.endpoint_dump import assignment_of
from proxeny.upstream.cluster_status import ClusterStatus, HostStatus
from proxeny.upstream.endpoints import INTERNAL, PIPE


def host(address: str, port: int, **more: Any) -> HostStatus:
    return HostStatus(
        address, port, "", {}, {}, "healthy", 0, weight=1, region="", zone="", sub_zone="", canary=False, priority=0,
        **more,
    )  # fmt: skip


def test_every_kind_of_address() -> None:
    hosts = [
        host("127.0.0.1", 1, additional_addresses=(("::1", 2), ("/other", PIPE))),
        host("/socket", PIPE),
        host("listener", INTERNAL, endpoint_id="x"),
    ]
    (group,) = assignment_of(ClusterStatus("a", "a", True, (), hosts)).endpoints
    first, second, third = [entry.endpoint for entry in group.lb_endpoints]
    assert (first.address.socket_address.address, first.address.socket_address.port_value) == ("127.0.0.1", 1)
    more = [one.address for one in first.additional_addresses]
    assert (more[0].socket_address.address, more[0].socket_address.port_value) == ("::1", 2)
    assert more[1].pipe.path == "/other"
    assert second.address.pipe.path == "/socket"
    assert third.address.envoy_internal_address.server_listener_name == "listener"
    assert third.address.envoy_internal_address.endpoint_id == "x"
