"""The filter for server names: which connections wait, and for what."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3 import sni_dynamic_forward_proxy_pb2 as messages
from google.protobuf import json_format

from proxeny.event.dispatcher import Dispatcher
from proxeny.extensions.network_filters.sni_dynamic_forward_proxy import CONTINUE, FACTORY, STOP
from proxeny.kernel.buffer import Buffer
from proxeny.network.address import ip_address
from proxeny.network.factory_context import FactoryContext
from proxeny.network.filter import ConnectionEvent
from proxeny.network.filter_state import UpstreamAddress
from proxeny.network.stream_info import ConnectionInfo, StreamInfo
from proxeny.stats.store import MainStore
from proxeny.upstream.dns_cache.caches import WorkerDnsCaches
from proxeny.upstream.dns_cache.entry import DnsEntry


class World:
    """A worker; connections note what is done to them."""

    def __init__(self) -> None:
        self.dispatcher = Dispatcher()
        self.context = FactoryContext("worker", MainStore(), self.dispatcher)
        self.caches = WorkerDnsCaches.of(self.context)

    def connect(self, server_name: str, state: dict[str, Any] | None = None, **config: Any) -> Any:
        fields = {"dns_cache_config": {"name": "foo", **config.pop("cache", {})}, "port_value": 443, **config}
        message = json_format.ParseDict(fields, messages.FilterConfig())
        made = FACTORY.create_filter_factory(message, self.context).create()
        info = ConnectionInfo(ip_address("127.0.0.1", 1), ip_address("127.0.0.1", 2), 1)
        info.requested_server_name = server_name
        did: list[Any] = []
        connection: Any = SimpleNamespace(
            connection_info=info,
            stream_info=StreamInfo(info, 0.0, 0),
            add_connection_callbacks=lambda callbacks: None,
            read_disable=lambda disable: did.append(disable),
            continue_reading=lambda filter: did.append("on"),
            close=lambda kind: did.append("close"),
        )
        connection.stream_info.filter_state.update(state or {})
        made.initialize(connection)
        return SimpleNamespace(filter=made, did=did, info=connection.stream_info, status=made.on_new_connection())


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.dispatcher.close()


def test_a_connection_waits_for_its_server(world: World) -> None:
    client = world.connect("a.test", save_upstream_address=True)
    assert (client.status, client.did) == (STOP, [True])
    assert client.filter.on_data(Buffer(), False) is STOP
    assert client.info.filter_state["envoy.upstream.dynamic_port"] == 443
    world.caches.on_resolved("foo", DnsEntry("a.test:443", 443, ["127.0.0.1"], ""))
    assert client.did == [True, False, "on"]
    assert client.filter.on_data(Buffer(), False) is CONTINUE
    assert client.info.filter_state[UpstreamAddress.KEY].address.as_string() == "127.0.0.1:443"
    again = world.connect("a.test", save_upstream_address=True)
    assert (again.status, again.did) == (CONTINUE, [])


def test_state_names_server_and_port(world: World) -> None:
    world.caches.on_resolved("foo", DnsEntry("b.test:81", 81, ["127.0.0.1"], ""))
    state = {"envoy.upstream.dynamic_host": "b.test", "envoy.upstream.dynamic_port": 81}
    assert world.connect("a.test", state).status is CONTINUE


def test_without_a_name_there_is_nothing_to_do(world: World) -> None:
    client = world.connect("")
    assert (client.status, client.did) == (CONTINUE, [])


def test_a_client_that_leaves_waits_no_more(world: World) -> None:
    client = world.connect("a.test")
    client.filter.on_event(ConnectionEvent.CONNECTED)
    client.filter.on_event(ConnectionEvent.REMOTE_CLOSE)
    client.filter.on_event(ConnectionEvent.REMOTE_CLOSE)
    assert client.filter._cache.pending.count == client.filter._cache.waiting == 0
    world.caches.on_resolved("foo", DnsEntry("a.test:443", 443, ["127.0.0.1"], ""))
    assert client.did == [True]


def test_too_many_wait(world: World) -> None:
    client = world.connect("a.test", cache={"dns_cache_circuit_breaker": {"max_pending_requests": 0}})
    assert (client.status, client.did) == (STOP, ["close"])


def test_main_only_allots() -> None:
    context = FactoryContext("main", MainStore())
    message = json_format.ParseDict({"dns_cache_config": {"name": "foo"}}, messages.FilterConfig())
    factory = FACTORY.create_filter_factory(message, context)
    assert (factory.name, factory.is_terminal) == ("envoy.filters.network.sni_dynamic_forward_proxy", False)
