"""Health checks on behalf of a control plane (HDS): what Envoy and Proxeny tell the same one of the same hosts."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from envoy.service.health.v3 import hds_pb2
from google.protobuf import json_format
from tests.bidi_server import BidiServer
from tests.differential.proxies import Proxy
from tests.differential.sides import Sides

from proxeny.testing.upstream import Answer, FakeUpstream

METHOD = "/envoy.service.health.v3.HealthDiscoveryService/StreamHealthCheck"
Case = Callable[["Side"], Any]
CASES: dict[str, Case] = {}
CONFIG = """
node: {id: me, cluster: us, locality: {region: home}}
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
hds_config: {api_type: GRPC, transport_api_version: V3, grpc_services: [{envoy_grpc: {cluster_name: hds}}]}
static_resources:
  clusters:
  - name: hds
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
    load_assignment: {cluster_name: hds, endpoints: [{lb_endpoints: [
      {endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %d}}}}]}]}
"""
CHECK = {"timeout": "0.2s", "interval": "0.05s", "unhealthy_threshold": 1, "healthy_threshold": 1}
HTTP = {**CHECK, "http_health_check": {"path": "/hc"}}
TCP = {**CHECK, "tcp_health_check": {}}


def case(function: Case) -> Case:
    CASES[function.__name__] = function
    return function


class Side:
    """Envoy or Proxeny, its control plane, and hosts that are well, ill, silent and away."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.server = BidiServer(METHOD, hds_pb2.HealthCheckRequestOrEndpointHealthResponse)
        self.well, self.ill = FakeUpstream(), FakeUpstream(lambda request: Answer(503))
        self.silent = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.away = socket.socket()
        self.away.bind(("127.0.0.1", 0))
        self.ports = {
            "well": self.well.port,
            "ill": self.ill.port,
            "silent": self.silent.getsockname()[1],
            "away": self.away.getsockname()[1],
        }
        self.wanted: list[str] = []
        """The clusters that were asked for last."""
        self.names = {port: name for name, port in self.ports.items()}
        self.proxy = Proxy(kind, CONFIG % self.server.port, folder)
        self.server.wait(lambda: self.server.requests)

    def cluster(self, name: str, *hosts: str, region: str = "", checks: Any = (HTTP,)) -> dict[str, Any]:
        """A ``ClusterHealthCheck`` of hosts in one locality."""
        addresses = [
            {"address": {"socket_address": {"address": "127.0.0.1", "port_value": self.ports[one]}}} for one in hosts
        ]
        group: dict[str, Any] = {"endpoints": addresses}
        if region:
            group["locality"] = {"region": region}
        return {"cluster_name": name, "health_checks": list(checks), "locality_endpoints": [group]}

    def ask(self, *clusters: dict[str, Any], interval: str = "0.05s") -> None:
        """Want these checked."""
        self.wanted = [cluster["cluster_name"] for cluster in clusters]
        specifier = {"cluster_health_checks": clusters, "interval": interval}
        self.server.send(json_format.ParseDict(specifier, hds_pb2.HealthCheckSpecifier()))

    def reported(self, **hosts: str) -> Any:
        """The last report of the clusters that were asked for, once these hosts are in this state."""
        found: list[Any] = []

        def look() -> bool:
            for request in reversed(self.server.requests):
                response = request.endpoint_health_response
                states = {self._name(one): _state(one) for one in response.endpoints_health}
                clusters = [one.cluster_name for one in response.cluster_endpoints_health]
                if states == hosts and clusters == self.wanted:
                    found.append(response)
                    return True
            return False

        self.server.wait(look)
        return self.shown(found[0])

    def _name(self, endpoint: Any) -> str:
        return self.names[endpoint.endpoint.address.socket_address.port_value]

    def shown(self, response: Any) -> Any:
        """Without ports."""
        text = json_format.MessageToJson(response, preserving_proto_field_name=True, indent=None)
        for port, name in self.names.items():
            text = text.replace(f'"port_value": {port}', f'"port_value": "{name}"')
        return text

    def moved(self, what: str, by: int, since: dict[str, int]) -> bool:
        self.server.wait(lambda: self.proxy.stats("^hds_delegate")[f"hds_delegate.{what}"] - since[what] >= by)
        return True

    def counters(self) -> dict[str, int]:
        return {name.rpartition(".")[2]: value for name, value in self.proxy.stats("^hds_delegate").items()}

    def close(self) -> None:
        self.proxy.close()
        self.server.close()
        for upstream in (self.well, self.ill):
            upstream.close()
        self.silent.close()
        self.away.close()


def _state(endpoint: Any) -> str:
    names = {1: "HEALTHY", 2: "UNHEALTHY", 4: "TIMEOUT"}
    return names[endpoint.health_status]


@case
def the_first_request(side: Side) -> Any:
    request = side.server.requests[0].health_check_request
    return request.node.id, request.node.locality.region, list(request.capability.health_check_protocols)


@case
def http_checks(side: Side) -> Any:
    side.ask(side.cluster("http", "well", "ill", "silent", "away", region="r"))
    return side.reported(well="HEALTHY", ill="UNHEALTHY", silent="TIMEOUT", away="UNHEALTHY")


@case
def tcp_checks(side: Side) -> Any:
    side.ask(side.cluster("tcp", "well", "away", checks=[TCP]))
    return side.reported(well="HEALTHY", away="UNHEALTHY")


@case
def several_clusters(side: Side) -> Any:
    side.ask(side.cluster("one", "well", region="a"), side.cluster("two", "ill", region="b"))
    return side.reported(well="HEALTHY", ill="UNHEALTHY")


@case
def several_localities(side: Side) -> Any:
    both = side.cluster("both", "well", region="b")
    both["locality_endpoints"] += side.cluster("", "ill", region="a")["locality_endpoints"]
    side.ask(both)
    return side.reported(well="HEALTHY", ill="UNHEALTHY")


@case
def other_hosts_of_a_cluster(side: Side) -> Any:
    side.ask(side.cluster("changing", "well"))
    first = side.reported(well="HEALTHY")
    side.ask(side.cluster("changing", "well", "away"))
    second = side.reported(well="HEALTHY", away="UNHEALTHY")
    side.ask(side.cluster("changing", "away"))
    return first, second, side.reported(away="UNHEALTHY")


@case
def a_specifier_that_is_unchanged(side: Side) -> Any:
    before = side.counters()
    for _ in range(2):
        side.ask(side.cluster("again", "well"))
    side.moved("requests", 2, before)
    side.reported(well="HEALTHY")
    after = side.counters()
    return after["updates"] - before["updates"], after["errors"] - before["errors"]


@case
def a_specifier_that_is_invalid(side: Side) -> Any:
    side.ask(side.cluster("good", "well"))
    side.reported(well="HEALTHY")
    before = side.counters()
    side.ask(side.cluster("bad", "ill", checks=[CHECK]))
    side.moved("errors", 1, before)
    after = side.counters()
    at = len(side.server.requests)
    side.server.wait(lambda: len(side.server.requests) > at)
    shown = side.shown(side.server.requests[-1].endpoint_health_response)
    return after["updates"] - before["updates"], shown


@case
def statistics_of_the_checks(side: Side) -> Any:
    side.ask(side.cluster("counted", "well", "away"))
    side.reported(well="HEALTHY", away="UNHEALTHY")
    found = side.proxy.stats("^cluster.counted.(health_check|membership)")
    return {name: bool(value) for name, value in found.items()}


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides[Side]]:
    made = Sides(Side, tmp_path_factory.mktemp("hds"))
    yield made
    made.close()


@pytest.mark.parametrize("name", CASES)
def test_health_discovery(sides: Sides[Side], name: str) -> None:
    sides.check(CASES[name])
