"""What a control plane has checked: clusters that come, stay and go; streams that end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from envoy.config.core.v3 import base_pb2
from envoy.service.health.v3 import hds_pb2
from google.protobuf import json_format
from tests.unit.upstream.fake_grpc import Client

from proxeny import extensions
from proxeny.event.dispatcher import Dispatcher
from proxeny.event.time_source import SimulatedTimeSource
from proxeny.network.factory_context import FactoryContext, LocalInfo
from proxeny.stats.snapshot import StatsView
from proxeny.stats.store import MainStore
from proxeny.upstream.endpoints import ACTIVE_HC_TIMEOUT, FAILED_ACTIVE_HC
from proxeny.upstream.health_discovery import METHOD, RETRY_INITIAL_DELAY_MS, HdsDelegate, cluster_of
from proxeny.upstream.main_cluster import MainCluster
from proxeny.upstream.main_cluster_manager import MainClusterManager

CHECK = {
    "timeout": "5s", "interval": "600s", "unhealthy_threshold": 1, "healthy_threshold": 1, "tcp_health_check": {},
}  # fmt: skip


class World:
    def __init__(self) -> None:
        extensions.install()
        self.time = SimulatedTimeSource()
        self.dispatcher = Dispatcher(self.time)
        self.store = MainStore()
        info = LocalInfo(node=base_pb2.Node(id="n"))
        self.context = FactoryContext(role="main", stats=self.store, dispatcher=self.dispatcher, local_info=info)
        self.clusters = MainClusterManager(self.context)
        self.client: Any = Client(METHOD, hds_pb2.HealthCheckRequestOrEndpointHealthResponse)
        self.hds = HdsDelegate(self.context, self.clusters, self.client, self.dispatcher, self.store)
        self.hds.start()

    def ask(self, *checks: dict[str, Any], interval: str = "1s") -> None:
        value = {"cluster_health_checks": checks, "interval": interval}
        specifier = json_format.ParseDict(value, hds_pb2.HealthCheckSpecifier())
        self.hds.on_message(specifier.SerializeToString())

    def sleep(self, ms: int) -> None:
        self.time.advance_ms(ms)
        self.dispatcher.run_once()

    def last(self) -> list[tuple[str, list[tuple[str, list[tuple[int, int]]]]]]:
        """Clusters, their localities' regions, their hosts' ports and states."""
        response = self.client.streams[-1].sent[-1].endpoint_health_response
        return [
            (
                cluster.cluster_name,
                [
                    (
                        group.locality.region,
                        [
                            (one.endpoint.address.socket_address.port_value, one.health_status)
                            for one in group.endpoints_health
                        ],
                    )
                    for group in cluster.locality_endpoints_health
                ],
            )
            for cluster in response.cluster_endpoints_health
        ]

    def stats(self) -> dict[str, int]:
        counters = StatsView(self.store).counters()
        return {one.name.rpartition(".")[2]: one.value for one in counters if one.name.startswith("hds_delegate.")}


def check(name: str, *ports: int, region: str = "", **fields: Any) -> dict[str, Any]:
    addresses = [{"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}} for port in ports]
    group = {"endpoints": addresses, "locality": {"region": region}}
    return {"cluster_name": name, "health_checks": [CHECK], "locality_endpoints": [group], **fields}


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.hds.close()
    made.clusters.close()
    made.dispatcher.close()


def test_hosts_are_unhealthy_until_they_are_checked(world: World) -> None:
    world.ask(check("a", 1, 2, region="r"), check("b", 3))
    world.sleep(1000)
    assert world.last() == [("a", [("r", [(1, 2), (2, 2)])]), ("b", [("", [(3, 2)])])]
    flat = world.client.streams[0].sent[-1].endpoint_health_response.endpoints_health
    assert [one.endpoint.address.socket_address.port_value for one in flat] == [1, 2, 3]
    assert world.stats() == {"errors": 0, "requests": 1, "responses": 2, "updates": 1}


def test_states(world: World) -> None:
    world.ask(check("a", 1, 2, 3))
    hosts = world.hds._clusters["a"].members()
    hosts[0].health_flags = 0
    hosts[1].health_flags = FAILED_ACTIVE_HC | ACTIVE_HC_TIMEOUT
    world.sleep(1000)
    assert world.last() == [("a", [("", [(1, 1), (2, 4), (3, 2)])])]


def test_of_two_clusters_of_one_name_the_first_is_let_go(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[MainCluster] = []
    close = MainCluster.close

    def record(cluster: MainCluster) -> None:
        closed.append(cluster)
        close(cluster)

    monkeypatch.setattr(MainCluster, "close", record)
    world.ask(check("a", 1), check("a", 2))
    kept = world.hds._clusters["a"]
    assert [entry.port for entry in kept.members()] == [2]
    assert [[entry.port for entry in one.members()] for one in closed] == [[1]]
    world.ask(check("a", 3), check("a", 2))
    assert world.hds._clusters["a"] is kept
    assert kept not in closed
    world.ask()
    assert closed[-1] is kept
    assert not [key for key in world.store.entries if key[1].startswith("cluster.a.")]


def test_what_stays_keeps_its_health_and_what_goes_its_statistics_too(world: World) -> None:
    world.ask(check("a", 1, 2), check("b", 3))
    same = world.hds._clusters["b"]
    world.hds._clusters["a"].members()[1].health_flags = 0
    world.ask(check("a", 2, 4), check("b", 3))
    assert world.hds._clusters["b"] is same
    world.sleep(1000)
    assert world.last() == [("a", [("", [(2, 1), (4, 2)])]), ("b", [("", [(3, 2)])])]
    assert any(prefix == "cluster.a." for _, prefix in world.store.entries)
    world.ask(check("b", 3))
    assert not any(prefix == "cluster.a." for _, prefix in world.store.entries)


def test_a_specifier_is_taken_as_a_whole_or_not_at_all(world: World) -> None:
    world.ask(check("a", 1))
    entries = set(world.store.entries)
    world.ask(check("b", 2), check("c", 3, health_checks=[{**CHECK, "tcp_health_check": {"send": {"text": "zz"}}}]))
    world.ask(check("d", 4, health_checks=[{"timeout": "1s"}]))
    world.sleep(1000)
    assert world.last() == [("a", [("", [(1, 2)])])]
    assert set(world.store.entries) == entries
    assert (world.stats()["errors"], world.stats()["updates"]) == (2, 1)


def test_nothing_to_check_and_no_interval(world: World) -> None:
    world.ask(check("empty"))
    world.sleep(1000)
    assert world.last() == [("empty", [])]
    world.hds.on_message(b"")
    world.sleep(1000)
    assert world.last() == []


def test_a_stream_that_fails_is_opened_again_with_back_off(world: World) -> None:
    world.ask(check("a", 1))
    world.client.reachable = False
    world.hds.on_close(14, "gone")
    world.sleep(RETRY_INITIAL_DELAY_MS)
    assert world.stats()["errors"] == 2
    world.client.reachable = True
    world.sleep(2 * RETRY_INITIAL_DELAY_MS)
    assert len(world.client.streams) == 2
    assert world.client.streams[1].sent[0].HasField("health_check_request")
    # The same specifier counts anew on another stream.
    world.ask(check("a", 1))
    world.sleep(1000)
    assert world.last() == [("a", [("", [(1, 2)])])]


def test_the_cluster_that_stands_for_a_check() -> None:
    value = check("a", 1, region="r", transport_socket_matches=[{"name": "m"}])
    cluster = cluster_of(json_format.ParseDict(value, hds_pb2.ClusterHealthCheck()))
    assert (cluster.name, cluster.connect_timeout.seconds) == ("a", 1)
    assert cluster.per_connection_buffer_limit_bytes.value == 32768
    assert cluster.load_assignment.endpoints[0].locality.region == "r"
    assert len(cluster.health_checks) == len(cluster.transport_socket_matches) == 1
