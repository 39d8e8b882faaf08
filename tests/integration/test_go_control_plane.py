"""A real control plane: go-control-plane's snapshot cache, in both protocols, over ADS and over separate streams."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2  # noqa: F401  (stands in an Any)
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2  # noqa: F401
from google.protobuf import json_format
from tests.go_plane import GoControlPlane

from proxeny.testing import RunningProxy
from proxeny.testing.upstream import FakeUpstream

Start = Callable[..., RunningProxy]
TYPES = "type.googleapis.com/envoy"
WAIT_S = 20.0


def bootstrap(port: int, api_type: str, ads: bool) -> str:
    options = {
        "@type": f"{TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    host = {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}
    cluster = {
        "name": "plane",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
        "load_assignment": {"cluster_name": "plane", "endpoints": [{"lb_endpoints": [host]}]},
    }
    dynamic: dict[str, Any] = {"lds_config": source(api_type, ads), "cds_config": source(api_type, ads)}
    if ads:
        dynamic["ads_config"] = api(api_type)
    return json.dumps(
        {
            "node": {"id": "me", "cluster": "us"},
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
            "dynamic_resources": dynamic,
            "static_resources": {"clusters": [cluster]},
        }
    )


def api(api_type: str) -> dict[str, Any]:
    service = {"envoy_grpc": {"cluster_name": "plane"}}
    return {"api_type": api_type, "transport_api_version": "V3", "grpc_services": [service]}


def source(api_type: str, ads: bool) -> dict[str, Any]:
    where = {"ads": {}} if ads else {"api_config_source": api(api_type)}
    return {**where, "resource_api_version": "V3"}


class World:
    """What a snapshot has: a listener, its routes, clusters and their hosts."""

    def __init__(self, own: dict[str, Any]) -> None:
        self._own = own

    def messages(self, hosts: dict[str, int], *, route_to: str, timeout: str = "5s") -> list[Any]:
        router = {"name": "r", "typed_config": {"@type": f"{TYPES}.extensions.filters.http.router.v3.Router"}}
        manager = {
            "@type": f"{TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "web",
            "rds": {"route_config_name": "routes", "config_source": self._own},
            "http_filters": [router],
        }
        listener = {
            "name": "web",
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
            "filter_chains": [{"filters": [{"name": "h", "typed_config": manager}]}],
        }
        route = {"match": {"prefix": "/"}, "route": {"cluster": route_to}}
        virtual_host = {"name": "all", "domains": ["*"], "routes": [route]}
        made: list[Any] = [
            json_format.ParseDict(listener, listener_pb2.Listener()),
            json_format.ParseDict({"name": "routes", "virtual_hosts": [virtual_host]}, route_pb2.RouteConfiguration()),
        ]
        for name, port in hosts.items():
            eds = {"eds_config": self._own}
            cluster = {"name": name, "type": "EDS", "connect_timeout": timeout, "eds_cluster_config": eds}
            host = {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}
            assignment = {"cluster_name": name, "endpoints": [{"lb_endpoints": [host]}]}
            made.append(json_format.ParseDict(cluster, cluster_pb2.Cluster()))
            made.append(json_format.ParseDict(assignment, endpoint_pb2.ClusterLoadAssignment()))
        return made


@pytest.fixture
def upstreams() -> Iterator[list[FakeUpstream]]:
    made = [FakeUpstream(name=name) for name in ("one", "two")]
    yield made
    for upstream in made:
        upstream.close()


def get(port: int) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/")
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


VARIANTS = {
    "sotw-ads": ("GRPC", True),
    "delta-ads": ("DELTA_GRPC", True),
    "sotw-separate": ("GRPC", False),
    "delta-separate": ("DELTA_GRPC", False),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_snapshot_its_changes_and_a_refusal(proxy: Start, upstreams: list[FakeUpstream], variant: str) -> None:
    api_type, ads = VARIANTS[variant]
    event = "delta" if api_type.startswith("DELTA") else "request"
    plane = GoControlPlane(ads)
    try:
        world = World(source(api_type, ads))
        ports = {one.name: one.port for one in upstreams}
        plane.set("v1", world.messages({"one": ports["one"]}, route_to="one"))
        running = proxy(bootstrap(plane.port, api_type, ads))
        until(lambda: running.stat("listener_manager.total_listeners_active"))
        port = running.port("web")
        assert get(port) == (200, "one: GET /\n")
        # Another cluster, and once it is warm the route to it: whoever asks meanwhile is answered by one or the other.
        plane.set("v2", world.messages(ports, route_to="one"))
        until(lambda: running.stat("cluster_manager.active_clusters") == 3)
        plane.set("v2b", world.messages(ports, route_to="two"))
        answers = []
        until(lambda: answers.append(get(port)) or answers[-1] == (200, "two: GET /\n"))
        assert set(answers) <= {(200, "one: GET /\n"), (200, "two: GET /\n")}
        # The hosts of a cluster move.
        plane.set("v3", world.messages({"one": ports["one"], "two": ports["one"]}, route_to="two"))
        until(lambda: get(port) == (200, "one: GET /\n"))
        # A cluster that is refused: what there was serves, and the control plane hears why.
        plane.set("v4", world.messages({"one": ports["one"], "two": ports["one"]}, route_to="two", timeout="0s"))
        refused = plane.wait(lambda one: one["event"] == event and "error" in one)
        assert "ConnectTimeout" in refused["error"]
        assert get(port) == (200, "one: GET /\n")
        # And one that goes.
        plane.set("v5", world.messages({"two": ports["two"]}, route_to="two"))
        until(lambda: get(port) == (200, "two: GET /\n") and running.stat("cluster_manager.active_clusters") == 2)
        # In the state-of-the-world protocol it sends what was refused again and again.
        assert running.stat("cluster_manager.cds.update_rejected") >= 1
        asked = plane.asked(event, "config.listener.v3.Listener")
        assert [one for one in asked if "error" in one] == []
    finally:
        plane.close()
