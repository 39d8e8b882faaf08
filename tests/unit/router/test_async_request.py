"""Requests of main's own to a cluster: a real upstream, answers that come whole, and ends that are none."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from google.protobuf import json_format

from proxeny.event.dispatcher import Dispatcher
from proxeny.kernel.randomness import RandomGenerator
from proxeny.network.factory_context import FactoryContext
from proxeny.router.async_request import AsyncRequests
from proxeny.stats.store import MainStore
from proxeny.testing.upstream import Answer, FakeUpstream, ReceivedRequest
from proxeny.upstream.main_cluster_manager import MainClusterManager


class Waiter:
    def __init__(self) -> None:
        self.events: asyncio.Queue[Any] = asyncio.Queue()

    def on_response(self, status: int, body: bytes) -> None:
        self.events.put_nowait((status, body))

    def on_failure(self) -> None:
        self.events.put_nowait(None)


class World:
    def __init__(self) -> None:
        self.loop = Dispatcher()
        context = FactoryContext(role="main", stats=MainStore(), dispatcher=self.loop, random=RandomGenerator())
        self.clusters = MainClusterManager(context)
        self.clusters.initialize(lambda: None)
        self.requests = AsyncRequests(context)

    def add_cluster(self, name: str, *ports: int) -> None:
        hosts = [
            {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}
            for port in ports
        ]
        cluster = {
            "name": name,
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]},
        }
        self.clusters.add_or_update(json_format.ParseDict(cluster, cluster_pb2.Cluster()))

    def post(self, cluster: str, body: bytes = b"{}", timeout_ms: int = 0) -> Any:
        waiter = Waiter()
        self.requests.post(cluster, "/path", body, timeout_ms, waiter)
        assert waiter.events.empty()  # never from inside post

        async def wait() -> Any:
            return await asyncio.wait_for(waiter.events.get(), 20)

        return self.loop.run_until_complete(wait())


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.clusters.close()
    world.loop.close()


def test_a_request_and_its_answer(world: World) -> None:
    with FakeUpstream(lambda request: Answer(201, request.body * 100_000)) as upstream:
        world.add_cluster("there", upstream.port)
        assert world.post("there", b"{abc}", 1500) == (201, b"{abc}" * 100_000)
        (request,) = upstream.requests
    assert (request.method, request.path, request.body) == ("POST", "/path", b"{abc}")
    assert request.headers == {
        "host": "there",
        "content-type": "application/json",
        "content-length": "5",
        "x-envoy-internal": "true",
        "x-forwarded-for": "127.0.0.1",
        "x-envoy-expected-rq-timeout-ms": "1500",
    }


def test_an_answer_without_a_body(world: World) -> None:
    with FakeUpstream(lambda request: Answer(304)) as upstream:
        world.add_cluster("there", upstream.port)
        assert world.post("there", b"") == (304, b"")


def test_nobody_answers(world: World) -> None:
    assert world.post("absent") == (503, b"")
    world.add_cluster("empty")
    assert world.post("empty") == (503, b"no healthy upstream")
    world.add_cluster("nobody", 1)
    status, body = world.post("nobody")
    assert status == 503
    assert b"remote connection failure" in body


def test_it_takes_too_long(world: World) -> None:
    def answer(request: ReceivedRequest) -> Answer:
        done.wait(20)
        return Answer()

    done = threading.Event()
    with FakeUpstream(answer) as upstream:
        world.add_cluster("slow", upstream.port)
        assert world.post("slow", timeout_ms=20) == (504, b"upstream request timeout")
        done.set()


def test_a_cancelled_request_says_nothing(world: World) -> None:
    world.add_cluster("empty")
    waiter = Waiter()
    world.requests.post("empty", "/path", b"", 0, waiter).cancel()
    world.loop.run_until_complete(asyncio.sleep(0.01))
    assert waiter.events.empty()
