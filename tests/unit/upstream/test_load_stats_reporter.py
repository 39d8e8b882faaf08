"""Load reports: when they are sent, what they say, and what becomes of a stream that ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.cluster.v3 import cluster_pb2
from envoy.service.load_stats.v3 import lrs_pb2
from google.protobuf import json_format
from tests.unit.upstream.fake_grpc import Client

from proxeny.event.dispatcher import Dispatcher
from proxeny.event.time_source import SimulatedTimeSource
from proxeny.network.factory_context import FactoryContext, LocalInfo
from proxeny.stats.snapshot import StatsView
from proxeny.stats.store import MainStore
from proxeny.upstream.load_stats_reporter import METHOD, RETRY_DELAY_MS, LoadStatsReporter
from proxeny.upstream.main_cluster_manager import MainClusterManager
from proxeny.upstream.stats import (
    HOST_RQ_ACTIVE,
    HOST_RQ_ERROR,
    HOST_RQ_SUCCESS,
    HOST_RQ_TOTAL,
    LOAD_RQ_DROP_OVERLOAD,
    LOAD_RQ_DROPPED,
)


class World:
    """A reporter of clusters whose hosts are counted by hand."""

    def __init__(self) -> None:
        self.time = SimulatedTimeSource()
        self.dispatcher = Dispatcher(self.time)
        self.store = MainStore()
        node = json_format.ParseDict({"id": "n", "locality": {"region": "home"}}, bootstrap_pb2.Bootstrap().node)
        bootstrap = bootstrap_pb2.Bootstrap()
        bootstrap.cluster_manager.load_stats_config.SetInParent()
        self.context = FactoryContext(
            role="main",
            stats=self.store,
            dispatcher=self.dispatcher,
            bootstrap=bootstrap,
            local_info=LocalInfo(node=node),
        )
        self.clusters = MainClusterManager(self.context)
        self.client: Any = Client(METHOD, lrs_pb2.LoadStatsRequest)
        self.reporter = LoadStatsReporter(self.context, self.clusters, self.client, self.dispatcher, self.store)

    def add(self, name: str, *groups: tuple[int, str, int], **fields: Any) -> None:
        """A cluster with groups of hosts: priority, region, how many."""
        endpoints = []
        port = 1
        for priority, region, count in groups:
            hosts = []
            for _ in range(count):
                address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
                hosts.append({"endpoint": {"address": address}})
                port += 1
            endpoints.append({"priority": priority, "locality": {"region": region}, "lb_endpoints": hosts})
        assignment = {"cluster_name": name, "endpoints": endpoints, **fields}
        proto = json_format.ParseDict({"name": name, "load_assignment": assignment}, cluster_pb2.Cluster())
        self.clusters.add_or_update(proto)

    def count(self, name: str, index: int, **counts: int) -> None:
        """Requests to one host of a cluster."""
        cluster = self.clusters.find(name)
        assert cluster is not None
        block = cluster.config.info.host_stats(index)
        slots = {"total": HOST_RQ_TOTAL, "success": HOST_RQ_SUCCESS, "error": HOST_RQ_ERROR, "active": HOST_RQ_ACTIVE}
        for what, number in counts.items():
            block.add(slots[what], number)

    def want(self, *names: str, everything: bool = False, endpoints: bool = False, ms: int = 1000) -> None:
        wish = lrs_pb2.LoadStatsResponse(
            clusters=names, send_all_clusters=everything, report_endpoint_granularity=endpoints
        )
        wish.load_reporting_interval.FromMilliseconds(ms)
        self.reporter.on_message(wish.SerializeToString())

    def sleep(self, ms: int) -> None:
        self.time.advance_ms(ms)
        self.dispatcher.run_once()

    def last(self) -> list[dict[str, Any]]:
        """What the last report says, without its times."""
        request = self.client.streams[-1].sent[-1]
        values = [json_format.MessageToDict(one, preserving_proto_field_name=True) for one in request.cluster_stats]
        for value in values:
            del value["load_report_interval"]
        return values

    def stats(self) -> dict[str, int]:
        return {
            one.name.removeprefix("load_reporter."): one.value
            for one in StatsView(self.store).counters()
            if one.name.startswith("load_reporter.")
        }


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.reporter.close()
    made.clusters.close()
    made.dispatcher.close()


def test_the_first_request_says_who_we_are_and_nothing_else(world: World) -> None:
    world.reporter.start()
    [request] = world.client.streams[0].sent
    assert request.node.id == "n"
    assert list(request.node.client_features) == ["envoy.lrs.supports_send_all_clusters"]
    assert world.last() == []
    world.sleep(60_000)
    assert len(world.client.streams[0].sent) == 1


def test_what_grew_since_the_last_report_by_locality_our_own_first(world: World) -> None:
    world.add("c", (0, "a", 2), (0, "home", 1), (1, "a", 1))
    world.count("c", 0, total=9, success=9)  # before anybody asked
    world.reporter.start()
    world.want("c")
    world.count("c", 0, total=2, success=1, error=1)
    world.count("c", 1, total=1, active=1)
    world.count("c", 2, total=1, success=1)
    world.sleep(1000)
    assert world.last() == [
        {
            "cluster_name": "c",
            "upstream_locality_stats": [
                {"locality": {"region": "home"}, "total_successful_requests": "1", "total_issued_requests": "1"},
                {
                    "locality": {"region": "a"},
                    "total_successful_requests": "1",
                    "total_error_requests": "1",
                    "total_requests_in_progress": "1",
                    "total_issued_requests": "3",
                },
            ],
        }
    ]
    world.sleep(1000)
    [stats] = world.last()
    assert stats["upstream_locality_stats"] == [{"locality": {"region": "a"}, "total_requests_in_progress": "1"}]
    assert world.stats() == {"errors": 0, "requests": 1, "responses": 3, "retries": 0}


def test_a_counter_that_began_anew_grew_from_nothing(world: World) -> None:
    world.add("c", (0, "a", 1))
    world.count("c", 0, total=5)
    world.reporter.start()
    world.want("c")
    cluster = world.clusters.find("c")
    assert cluster is not None
    cluster.config.info.host_stats(0).clear(cluster.config.info.host_stats(0).size)
    world.count("c", 0, total=2)
    world.sleep(1000)
    [stats] = world.last()
    assert stats["upstream_locality_stats"][0]["total_issued_requests"] == "2"


def test_endpoints_and_metrics(world: World) -> None:
    world.add("c", (0, "a", 2))
    world.reporter.start()
    world.want("c", endpoints=True)
    world.count("c", 1, total=1, success=1)
    world.reporter.add_metrics("c", {1: {"m": (1, 0.5)}})
    world.reporter.add_metrics("c", {1: {"m": (2, 1.0)}})
    world.reporter.add_metrics("nobody", {0: {"m": (1, 1.0)}})
    world.sleep(1000)
    [stats] = world.last()
    [locality] = stats["upstream_locality_stats"]
    metric = {"metric_name": "m", "num_requests_finished_with_metric": "3", "total_metric_value": 1.5}
    assert locality["load_metric_stats"] == [metric]
    [endpoint] = locality["upstream_endpoint_stats"]
    assert endpoint["address"]["socket_address"]["port_value"] == 2
    assert (endpoint["total_issued_requests"], endpoint["load_metric_stats"]) == ("1", [metric])


def test_metrics_of_a_host_that_went_are_not_those_of_one_that_comes(world: World) -> None:
    world.add("c", (0, "a", 1))
    world.reporter.start()
    world.want("c")
    world.reporter.add_metrics("c", {1: {"m": (1, 0.5)}})
    world.sleep(1000)
    world.add("c", (0, "a", 2))
    world.count("c", 1, total=1)
    world.sleep(1000)
    [locality] = world.last()[0]["upstream_locality_stats"]
    assert locality["total_issued_requests"] == "1"
    assert "load_metric_stats" not in locality


def test_an_interval_that_is_none_changes_nothing(world: World) -> None:
    world.add("c", (0, "a", 1))
    world.reporter.start()
    world.want("c")
    wish = lrs_pb2.LoadStatsResponse(clusters=["d"])
    wish.load_reporting_interval.seconds = 2**62
    world.reporter.on_message(wish.SerializeToString())
    assert world.stats() == {"errors": 1, "requests": 1, "responses": 1, "retries": 0}
    world.reporter.on_close(14, "")
    world.sleep(RETRY_DELAY_MS)
    assert [one["cluster_name"] for one in world.last()] == ["c"]
    world.sleep(1000)
    assert world.stats() == {"errors": 2, "requests": 1, "responses": 3, "retries": 1}


def test_dropped_requests_by_category(world: World) -> None:
    drops = {"policy": {"drop_overloads": [{"category": "shed", "drop_percentage": {"numerator": 10}}]}}
    world.add("c", (0, "a", 1), **drops)
    cluster = world.clusters.find("c")
    assert cluster is not None
    block = cluster.config.info.load_report
    assert block is not None
    block.add(LOAD_RQ_DROPPED, 7)
    world.reporter.start()
    world.want("c")
    block.add(LOAD_RQ_DROPPED, 3)
    block.add(LOAD_RQ_DROP_OVERLOAD, 2)
    world.sleep(1000)
    assert world.last() == [
        {
            "cluster_name": "c",
            "total_dropped_requests": "3",
            "dropped_requests": [{"category": "shed", "dropped_count": "2"}],
        }
    ]


def test_all_clusters_and_those_that_there_are_not(world: World) -> None:
    world.add("a", (0, "", 1))
    world.add("b", (0, "", 1))
    world.reporter.start()
    world.want("b", "nobody", "b")
    world.sleep(1000)
    assert [one["cluster_name"] for one in world.last()] == ["b"]
    world.want(everything=True)
    world.sleep(1000)
    assert [one["cluster_name"] for one in world.last()] == ["a", "b"]


def test_a_stream_that_fails_or_ends_is_opened_again(world: World) -> None:
    world.client.reachable = False
    world.reporter.start()
    assert world.stats() == {"errors": 1, "requests": 0, "responses": 0, "retries": 0}
    world.client.reachable = True
    world.sleep(RETRY_DELAY_MS)
    assert world.stats() == {"errors": 1, "requests": 0, "responses": 1, "retries": 1}
    world.add("c", (0, "", 1))
    world.want("c")
    world.reporter.on_close(14, "gone")
    world.count("c", 0, total=1)
    world.sleep(1000)
    assert len(world.client.streams) == 1
    world.sleep(RETRY_DELAY_MS)
    # What was wanted is told at once.
    assert world.last()[0]["upstream_locality_stats"][0]["total_issued_requests"] == "1"
    world.reporter.on_close(0, "")
    world.sleep(RETRY_DELAY_MS)
    assert len(world.client.streams) == 3
    assert world.stats()["errors"] == 2


def test_closing_ends_the_stream(world: World) -> None:
    world.reporter.start()
    world.want(ms=100)
    world.reporter.close()
    assert world.client.streams[0].is_reset
    assert world.client.closed
    world.sleep(10_000)
    assert len(world.client.streams[0].sent) == 1
