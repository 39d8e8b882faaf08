"""Hosts on demand: which destination counts, how hosts come and go, and what main makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from google.protobuf import json_format

from proxeny.event.dispatcher import Dispatcher
from proxeny.event.time_source import SimulatedTimeSource
from proxeny.kernel.headers import HeaderMap
from proxeny.network.address import ip_address, pipe_address
from proxeny.network.factory_context import FactoryContext
from proxeny.network.stream_info import ConnectionInfo, StreamInfo
from proxeny.stats.store import MainStore
from proxeny.upstream import cluster_config
from proxeny.upstream.endpoints import HostChange
from proxeny.upstream.main_cluster_manager import MainClusterManager
from proxeny.upstream.original_dst import FILTER_STATE_KEY, OriginalDstHosts
from proxeny.upstream.original_dst_config import HOST_BLOCKS
from proxeny.upstream.stats import CLUSTER, HOST_CX_TOTAL

HERE = ip_address("127.0.0.1", 15001)
PEER = ip_address("10.1.1.1", 1)


class Request:
    """The load balancer's context: a request on a connection."""

    def __init__(self, *headers: tuple[bytes, bytes]) -> None:
        info = ConnectionInfo(HERE, PEER, 1)
        self.downstream_connection: Any = SimpleNamespace(connection_info=info, stream_info=StreamInfo(info, 0.0, 0))
        self.request_stream_info: Any = StreamInfo(info, 0.0, 0)
        self.downstream_headers: Any = HeaderMap(list(headers))

    def restored(self, ip: str, port: int) -> Request:
        info = self.downstream_connection.connection_info
        info.local_address, info.local_address_restored = ip_address(ip, port), True
        return self


def message(**fields: Any) -> Any:
    fields = {"name": "c", "type": "ORIGINAL_DST", "lbPolicy": "CLUSTER_PROVIDED", **fields}
    return json_format.ParseDict(fields, cluster_pb2.Cluster())


class World:
    """A cluster's hosts in worker 1 of 2."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher
        self.context = FactoryContext(role="main", stats=MainStore(), dispatcher=dispatcher, concurrency=2)
        self.changes: list[HostChange] = []
        self.hosts: OriginalDstHosts

    def make(self, **fields: Any) -> OriginalDstHosts:
        config = cluster_config.compile(message(**fields), self.context)
        assert config.options is not None
        self.info = config.info
        self.hosts = OriginalDstHosts(config.info, config.options, self.dispatcher, 1, self.changes.extend)
        return self.hosts

    def choose(self, request: Request) -> str | None:
        host = self.hosts.choose_host(request)  # type: ignore[arg-type]
        return None if host is None else host.address.as_string()

    def stat(self, name: str) -> int:
        return int(self.info.stats.get(CLUSTER.slot(name)))


@pytest.fixture
def world(dispatcher: Dispatcher) -> World:
    return World(dispatcher)


def test_restored_local_address(world: World) -> None:
    world.make()
    assert world.choose(Request().restored("192.0.2.1", 80)) == "192.0.2.1:80"
    assert world.choose(Request().restored("2001:db8::1", 80)) == "[2001:db8::1]:80"
    assert [(change.address, change.port) for change in world.changes] == [("192.0.2.1", 80), ("2001:db8::1", 80)]


def test_without_destination(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.make()
    assert world.choose(Request()) is None
    assert world.hosts.choose_host(None) is None
    assert "No downstream connection or no original_dst." in caplog.text
    without = Request()
    without.downstream_connection = without.request_stream_info = without.downstream_headers = None
    assert world.choose(without) is None


def test_known_destinations_are_the_same_host(world: World) -> None:
    hosts = world.make()
    first = hosts.choose_host(Request().restored("192.0.2.1", 80))  # type: ignore[arg-type]
    assert hosts.choose_host(Request().restored("192.0.2.1", 80)) is first  # type: ignore[arg-type]
    assert first is not None and first.hostname == "c192.0.2.1:80"
    assert len(world.changes) == 1


def test_the_header_wins_over_the_connection(world: World) -> None:
    world.make(originalDstLbConfig={"useHttpHeader": True})
    request = Request((b"x-envoy-original-dst-host", b"192.0.2.7:70")).restored("192.0.2.1", 80)
    assert world.choose(request) == "192.0.2.7:70"
    assert world.choose(Request().restored("192.0.2.1", 80)) == "192.0.2.1:80"


def test_a_bad_header_counts_and_the_connection_decides(world: World) -> None:
    world.make(originalDstLbConfig={"useHttpHeader": True})
    assert world.choose(Request((b"x-envoy-original-dst-host", b"x")).restored("192.0.2.1", 80)) == "192.0.2.1:80"
    assert world.stat("original_dst_host_invalid") == 1


METADATA = {"originalDstLbConfig": {"metadataKey": {"key": "ns", "path": [{"key": "a"}, {"key": "b"}]}}}


@pytest.mark.parametrize("value", ["192.0.2.9:9", ["192.0.2.9:9", "192.0.2.8:8"]])
def test_metadata(world: World, value: Any) -> None:
    world.make(**METADATA)
    request = Request().restored("192.0.2.1", 80)
    request.request_stream_info.dynamic_metadata["ns"] = {"a": {"b": value}}
    assert world.choose(request) == "192.0.2.9:9"


def test_metadata_of_the_connection(world: World) -> None:
    world.make(**METADATA)
    request = Request()
    request.downstream_connection.stream_info.dynamic_metadata["ns"] = {"a": {"b": "192.0.2.9:9"}}
    assert world.choose(request) == "192.0.2.9:9"
    request.request_stream_info.dynamic_metadata["ns"] = {"a": {"b": "bad"}}
    assert world.choose(request) is None
    assert world.stat("original_dst_host_invalid") == 1


@pytest.mark.parametrize("value", [None, {}, {"a": None}, {"a": "text"}, {"a": {"b": 7}}, {"a": {"b": []}}])
def test_metadata_that_says_nothing(world: World, value: Any) -> None:
    world.make(**METADATA)
    request = Request().restored("192.0.2.1", 80)
    request.request_stream_info.dynamic_metadata["ns"] = value
    assert world.choose(request) == "192.0.2.1:80"


def test_metadata_wins_over_the_header(world: World) -> None:
    world.make(originalDstLbConfig={"useHttpHeader": True, **METADATA["originalDstLbConfig"]})
    request = Request((b"x-envoy-original-dst-host", b"192.0.2.7:70"))
    request.request_stream_info.dynamic_metadata["ns"] = {"a": {"b": "192.0.2.9:9"}}
    assert world.choose(request) == "192.0.2.9:9"


@pytest.mark.parametrize("value", [ip_address("192.0.2.5", 5), "192.0.2.5:5"])
def test_filter_state_wins_over_all(world: World, value: Any) -> None:
    world.make(originalDstLbConfig={"useHttpHeader": True})
    request = Request((b"x-envoy-original-dst-host", b"192.0.2.7:70")).restored("192.0.2.1", 80)
    request.downstream_connection.stream_info.filter_state[FILTER_STATE_KEY] = value
    assert world.choose(request) == "192.0.2.5:5"
    request.request_stream_info.filter_state[FILTER_STATE_KEY] = ip_address("192.0.2.6", 6)
    assert world.choose(request) == "192.0.2.6:6"


def test_a_pipe_is_no_destination(world: World) -> None:
    world.make(originalDstLbConfig={"upstreamPortOverride": 99})
    request = Request()
    request.request_stream_info.filter_state[FILTER_STATE_KEY] = pipe_address("/s")
    assert world.choose(request) is None


def test_port_override(world: World) -> None:
    world.make(originalDstLbConfig={"upstreamPortOverride": 99})
    assert world.choose(Request().restored("192.0.2.1", 80)) == "192.0.2.1:99"
    assert world.choose(Request().restored("192.0.2.1", 81)) == "192.0.2.1:99"
    assert len(world.changes) == 1


def test_hosts_beyond_the_blocks_share_one(world: World) -> None:
    hosts = world.make()
    for port in range(HOST_BLOCKS + 5):
        world.choose(Request().restored("192.0.2.1", 1 + port))
    blocks = [change.block for change in world.changes]
    assert blocks[: HOST_BLOCKS - 1] == list(range(1, HOST_BLOCKS))
    assert blocks[HOST_BLOCKS - 1 :] == [0] * 6
    assert hosts.hosts()[0].entry.stat_index == HOST_BLOCKS + 1, "worker 1's own"


@pytest.fixture
def simulated() -> Iterator[tuple[World, SimulatedTimeSource]]:
    time = SimulatedTimeSource()
    dispatcher = Dispatcher(time)
    yield World(dispatcher), time
    dispatcher.close()


def test_unused_hosts_go(simulated: tuple[World, SimulatedTimeSource]) -> None:
    world, time = simulated
    hosts = world.make(cleanupInterval="1s")

    def turn() -> None:
        time.advance_ms(1000)
        world.dispatcher.run_once()

    world.choose(Request().restored("192.0.2.1", 80))
    world.choose(Request().restored("192.0.2.2", 80))
    turn()
    assert len(hosts.hosts()) == 2, "used since the last time"
    world.choose(Request().restored("192.0.2.2", 80))
    hosts.hosts()[0].stats.inc(HOST_CX_TOTAL)
    gone = hosts.hosts()[0]
    turn()
    assert [host.address.ip for host in hosts.hosts()] == ["192.0.2.2"]
    assert world.changes[-1] == HostChange(False, "192.0.2.1", 80, 1)
    assert gone.stats.get(HOST_CX_TOTAL) == 0, "its counts are not the next host's"
    turn()
    assert hosts.hosts() == []
    world.choose(Request().restored("192.0.2.3", 80))
    assert world.changes[-1].block in (1, 2)


def test_many_hosts_are_swept_some_at_a_time(simulated: tuple[World, SimulatedTimeSource]) -> None:
    world, time = simulated
    hosts = world.make(cleanupInterval="1s")
    for number in range(1200):
        world.choose(Request().restored("192.0.2.1", 1 + number))

    def pass_by(ms: int) -> int:
        time.advance_ms(ms)
        world.dispatcher.run_once()
        return len(hosts.hosts())

    assert [pass_by(1000), pass_by(1), pass_by(1)] == [1200, 1200, 1200]
    assert [pass_by(1000), pass_by(1), pass_by(1)] == [700, 200, 0]


def test_hosts_in_use_stay(simulated: tuple[World, SimulatedTimeSource]) -> None:
    world, time = simulated
    hosts = world.make(cleanupInterval="1s")
    chosen = hosts.choose_host(Request().restored("192.0.2.1", 80))  # type: ignore[arg-type]
    assert chosen is not None
    pool = SimpleNamespace(is_idle=False, drain=lambda: None)
    chosen.tcp_pools[0] = pool  # type: ignore[assignment]
    for _ in range(5):
        time.advance_ms(1000)
        world.dispatcher.run_once()
    assert hosts.hosts() == [chosen]
    pool.is_idle = True
    time.advance_ms(1000)
    world.dispatcher.run_once()
    assert hosts.hosts() == []


def test_close_tells_main(world: World) -> None:
    hosts = world.make()
    world.choose(Request().restored("192.0.2.1", 80))
    hosts.close()
    assert [change.added for change in world.changes] == [True, False]


Make = Callable[[], MainClusterManager]


@pytest.fixture
def main(dispatcher: Dispatcher) -> Iterator[MainClusterManager]:
    context = FactoryContext(role="main", stats=MainStore(), dispatcher=dispatcher, concurrency=2)
    manager = MainClusterManager(context, 2)
    manager.add_or_update(message(), added_via_api=False)
    yield manager
    manager.close()


def members(main: MainClusterManager) -> list[str]:
    (status,) = main.clusters()
    return [f"{host.address_text} {host.counters['cx_total']}" for host in status.hosts]


def test_main_unites_the_workers_hosts(main: MainClusterManager) -> None:
    store = main._store
    segments = [store.create_worker_segment(index) for index in (0, 1)]
    main.on_host_changes(0, "c", [HostChange(True, "192.0.2.1", 80, 3), HostChange(True, "::1", 81, 0)])
    main.on_host_changes(1, "c", [HostChange(True, "192.0.2.1", 80, 7)])
    for worker, block in ((0, 3), (1, 7)):
        base = store.entries["host", f"cluster.c.host.{worker * HOST_BLOCKS + block}."].base
        segments[worker].block(base, 8).inc(HOST_CX_TOTAL)
    assert members(main) == ["192.0.2.1:80 2", "[::1]:81 0"]
    main.on_host_changes(0, "c", [HostChange(False, "192.0.2.1", 80, 3)])
    assert members(main) == ["192.0.2.1:80 1", "[::1]:81 0"]
    main.worker_started(1)
    assert members(main) == ["[::1]:81 0"]
    main.on_host_changes(0, "c", [HostChange(False, "::1", 81, 0), HostChange(False, "::1", 82, 0)])
    assert members(main) == []
    main.on_host_changes(0, "unknown", [])


def test_membership(main: MainClusterManager) -> None:
    def gauge(name: str) -> int:
        return int(main._store.block(CLUSTER, "cluster.c.").get(CLUSTER.slot(name)))

    assert gauge("membership_change") == 0
    main.on_host_changes(0, "c", [HostChange(True, "192.0.2.1", 80, 1)])
    main.on_host_changes(1, "c", [HostChange(True, "192.0.2.1", 80, 1)])
    assert (gauge("membership_total"), gauge("membership_healthy"), gauge("membership_change")) == (1, 1, 1)
    main.on_host_changes(0, "c", [HostChange(False, "192.0.2.1", 80, 1)])
    main.on_host_changes(1, "c", [HostChange(False, "192.0.2.1", 80, 1)])
    assert (gauge("membership_total"), gauge("membership_healthy"), gauge("membership_change")) == (0, 0, 2)


def test_a_dead_workers_counts_do_not_come_back(main: MainClusterManager) -> None:
    store = main._store
    segment = store.create_worker_segment(0)
    base = store.entries["host", "cluster.c.host.5."].base
    segment.block(base, 8).inc(HOST_CX_TOTAL)
    main.on_host_changes(0, "c", [HostChange(True, "192.0.2.1", 80, 5)])
    store.retire_worker(0)
    assert members(main) == ["192.0.2.1:80 1"]
    store.create_worker_segment(0)
    main.worker_started(0)
    main.on_host_changes(0, "c", [HostChange(True, "192.0.2.2", 80, 5)])
    assert members(main) == ["192.0.2.2:80 0"]
