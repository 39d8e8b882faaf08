"""Resources over HTTP: what is asked, when it is asked again, and what becomes of every kind of answer."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import base_pb2, config_source_pb2
from envoy.config.route.v3 import route_components_pb2
from google.protobuf import json_format

from proxeny.config.errors import ConfigError
from proxeny.config.loader import LoadOptions
from proxeny.event.dispatcher import Dispatcher
from proxeny.event.time_source import SimulatedTimeSource
from proxeny.stats.snapshot import StatsView
from proxeny.stats.store import MainStore
from proxeny.xds.resource import DecodedResource, ResourceDecoder
from proxeny.xds.rest import RestSubscription
from proxeny.xds.stats import SubscriptionStats
from proxeny.xds.subscription import FailureReason
from proxeny.xds.validation import DynamicValidation

CLUSTER = {"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "foo"}


class Client:
    """Requests that nobody answers but the test."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, Any], int]] = []
        self.callbacks: Any = None
        self.cancelled = 0

    def post(self, cluster: str, path: str, body: bytes, timeout_ms: int, callbacks: Any) -> Client:
        self.requests.append((cluster, path, json.loads(body), timeout_ms))
        self.callbacks = callbacks
        return self

    def cancel(self) -> None:
        self.cancelled += 1


class Owner:
    def __init__(self) -> None:
        self.events: list[Any] = []

    def on_config_update(self, resources: Sequence[DecodedResource], version: str) -> None:
        if version == "bad":
            raise ConfigError("refused")
        self.events.append((version, [one.name for one in resources]))

    def on_config_delta(self, added: Sequence[DecodedResource], removed: Sequence[str], version: str) -> None:
        raise AssertionError("REST has whole states")

    def on_config_update_failed(self, reason: FailureReason, error: ConfigError | None) -> None:
        self.events.append((reason, None if error is None else error.message))


class World:
    def __init__(self, initial_fetch_timeout_ms: int = 300, message: Any = cluster_pb2.Cluster, **fields: Any) -> None:
        self.time = SimulatedTimeSource()
        self.dispatcher = Dispatcher(time_source=self.time)
        self.client = Client()
        self.owner = Owner()
        self.store = MainStore()
        validation = DynamicValidation(LoadOptions())
        source = {"api_type": "REST", "cluster_names": ["x"], "refresh_delay": "0.1s", **fields}
        self.subscription = RestSubscription(
            self.dispatcher,
            lambda: self.client,
            base_pb2.Node(id="me", cluster="us"),
            json_format.ParseDict(source, config_source_pb2.ApiConfigSource()),
            self.owner,
            ResourceDecoder(message, "name", validation),
            SubscriptionStats(self.store, "cds."),
            validation,
            initial_fetch_timeout_ms,
        )

    def pass_ms(self, milliseconds: int) -> None:
        self.time.advance_ms(milliseconds)
        self.dispatcher.run_until_complete(asyncio.sleep(0))

    def answer(self, status: int, body: Any = b"") -> None:
        self.client.callbacks.on_response(status, body if isinstance(body, bytes) else json.dumps(body).encode())

    def stat(self, name: str) -> int | None:
        return StatsView(self.store).value(f"cds.{name}")


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.subscription.close()
    world.dispatcher.close()


def test_it_asks_and_asks_again(world: World) -> None:
    world.subscription.start(["b", "a"])
    asked = {
        "node": {"id": "me", "cluster": "us"},
        "resource_names": ["a", "b"],
        "type_url": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
    }
    assert world.client.requests == [("x", "/v3/discovery:clusters", asked, 1000)]
    world.answer(200, {"version_info": "1", "resources": [CLUSTER]})
    assert world.owner.events == [("1", ["foo"])]
    world.subscription.update_names(["c"])
    world.pass_ms(99)
    assert len(world.client.requests) == 1
    world.pass_ms(101)
    assert world.client.requests[1][2] == {**asked, "version_info": "1", "resource_names": ["c"]}
    world.answer(304)
    assert world.owner.events == [("1", ["foo"])]
    world.pass_ms(200)
    assert len(world.client.requests) == 3


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, b"{bad", "Unable to parse JSON as proto (INVALID_ARGUMENT"),
        (200, b"", "Unable to parse JSON as proto (INVALID_ARGUMENT"),
        (200, b"[]", "Unable to parse JSON as proto (INVALID_ARGUMENT"),
        (200, b"\xff", "Unable to parse JSON as proto (INVALID_ARGUMENT: invalid UTF-8"),
        (200, {"version_info": "1", "resources": [{**CLUSTER, "connect_timeout": "x"}]}, ""),
        (
            200,
            {"version_info": "1", "resources": [{**CLUSTER, "connect_timeout": "-1s"}]},
            "Expected positive duration",
        ),
        (200, {"version_info": "bad", "resources": [CLUSTER]}, "refused"),
    ],
)
def test_what_is_rejected(world: World, caplog: pytest.LogCaptureFixture, status: int, body: Any, words: str) -> None:
    world.subscription.start()
    world.answer(status, body)
    ((reason, message),) = world.owner.events
    assert reason is FailureReason.UPDATE_REJECTED
    assert words in message
    assert world.stat("update_rejected") == 1
    assert "REST config for /v3/discovery:clusters rejected" in caplog.text
    world.pass_ms(200)
    assert "version_info" not in world.client.requests[1][2]
    # The wait for a first answer is over.
    world.pass_ms(300)
    assert world.stat("init_fetch_timeout") == 0


@pytest.mark.parametrize("status", [503, 404, 204, 0])
def test_what_cannot_be_had_is_asked_for_again(world: World, caplog: pytest.LogCaptureFixture, status: int) -> None:
    world.subscription.start()
    if status:
        world.answer(status)
    else:
        world.client.callbacks.on_failure()
    assert world.owner.events == []
    assert world.stat("update_failure") == 1
    assert "REST update for /v3/discovery:clusters failed" in caplog.text
    world.pass_ms(200)
    assert len(world.client.requests) == 2
    world.pass_ms(100)
    assert world.owner.events == [(FailureReason.FETCH_TIMED_OUT, None)]
    assert world.stat("init_fetch_timeout") == 1
    assert world.stat("update_attempt") == 2


def test_unknown_fields_are_passed_over_and_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        world.subscription.start()
        world.answer(200, {"versionInfo": "1", "resources": [{**CLUSTER, "nope": 1}]})
    assert world.owner.events == [("1", ["foo"])]
    assert "nope" in caplog.text


def test_nothing_more_once_it_is_closed(world: World) -> None:
    class Closer(Owner):
        def on_config_update(self, resources: Sequence[DecodedResource], version: str) -> None:
            world.subscription.close()

    world.subscription.start()
    world.subscription.close()
    assert world.client.cancelled == 1
    other = World(request_timeout="2s")
    other.subscription.start()
    assert other.client.requests[0][3] == 2000
    other.subscription._callbacks = Closer()
    other.subscription.close()
    other.answer(200, {})
    other.pass_ms(300)
    assert len(other.client.requests) == 1
    other.dispatcher.close()


def test_what_rest_cannot_be() -> None:
    with pytest.raises(ConfigError, match="refresh_delay is required for REST API configuration sources"):
        World(refresh_delay=None)
    with pytest.raises(ConfigError, match="cannot be had over REST"):
        World(message=route_components_pb2.VirtualHost)


def test_a_delay_of_less_than_a_millisecond_is_one() -> None:
    world = World(refresh_delay="0.0001s")
    world.subscription.start()
    world.answer(304)
    world.pass_ms(2)
    assert len(world.client.requests) == 2
    world.subscription.close()
    world.dispatcher.close()
