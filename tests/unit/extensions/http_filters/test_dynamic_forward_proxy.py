"""The HTTP filter of dynamic forward proxies: what it does of itself; the rest is differential."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from envoy.extensions.filters.http.dynamic_forward_proxy.v3 import dynamic_forward_proxy_pb2 as messages
from google.protobuf import json_format

from proxeny.event.dispatcher import Dispatcher
from proxeny.event.time_source import SimulatedTimeSource
from proxeny.extensions.clusters.dynamic_forward_proxy.load_balancer import DynamicLoadBalancer
from proxeny.extensions.clusters.dynamic_forward_proxy.sub_clusters import SubClusterLoadBalancer
from proxeny.extensions.http_filters.dynamic_forward_proxy import FACTORY
from proxeny.extensions.http_filters.dynamic_forward_proxy.filter import CONTINUE, DNS_END, DNS_START, STOP, WAIT
from proxeny.kernel.headers import HeaderMap
from proxeny.network.address import ip_address
from proxeny.network.factory_context import FactoryContext
from proxeny.network.filter_state import UpstreamAddress
from proxeny.network.stream_info import ConnectionInfo, StreamInfo
from proxeny.stats.store import MainStore
from proxeny.upstream.dns_cache.caches import WorkerDnsCaches
from proxeny.upstream.dns_cache.entry import DnsEntry

KNOWN = DnsEntry("a.test:80", 80, ["127.0.0.1"], "")
FAILED = DnsEntry("b.test:80", 80, [], "dns_resolution_failure{why}")


class World:
    """A worker whose main answers when the test says so."""

    def __init__(self, balancer: type[Any] = DynamicLoadBalancer, **config: Any) -> None:
        self.time = SimulatedTimeSource()
        self.dispatcher = Dispatcher(self.time)
        self.context = FactoryContext("worker", MainStore(), self.dispatcher)
        self.caches = WorkerDnsCaches.of(self.context)
        self.balancer = balancer.__new__(balancer)
        self.balancer.default_port = 80
        self.context.cluster_manager = SimpleNamespace(get=self.get_cluster)
        fields = {"dns_cache_config": {"name": "foo"}, **config}
        if "sub_cluster_config" in fields:
            del fields["dns_cache_config"]
        message = json_format.ParseDict(fields, messages.FilterConfig())
        self.factory = FACTORY.create_filter_factory(message, "http.x.", self.context)
        self.caches.on_resolved("foo", KNOWN)
        self.caches.on_resolved("foo", FAILED)

    def get_cluster(self, name: str) -> Any:
        own = {"dfp": self.balancer, "static": None}
        return SimpleNamespace(own_load_balancer=own[name]) if name in own else None


class Request:
    """One request through the filter."""

    def __init__(self, world: World, authority: str, cluster: str = "dfp", per_route: Any = None, **state: Any) -> None:
        info = ConnectionInfo(ip_address("127.0.0.1", 1), ip_address("127.0.0.1", 2), 1)
        self.info = StreamInfo(info, 0.0, 0)
        self.info.filter_state.update({f"envoy.upstream.dynamic_{key}": value for key, value in state.items()})
        self.replies: list[tuple[int, str]] = []
        self.continued = 0
        self.filter = world.factory.create()
        entry = SimpleNamespace(is_direct=False, cluster=cluster)
        callbacks: Any = SimpleNamespace(
            route=SimpleNamespace(entry=entry) if cluster else None,
            stream_info=self.info,
            connection=SimpleNamespace(stream_info=StreamInfo(info, 0.0, 0)),
            dispatcher=world.dispatcher,
            per_filter_config=lambda: per_route,
            send_local_reply=lambda code, body, modify, grpc, details: self.replies.append((code, details)),
            continue_decoding=self.go_on,
        )
        self.filter.decoder_callbacks = callbacks
        self.headers = HeaderMap([(b":authority", authority.encode()), (b"x-host", b"a.test")])
        self.status = self.filter.decode_headers(self.headers, True)

    def go_on(self) -> None:
        self.continued += 1


@pytest.fixture
def make() -> Iterator[Any]:
    made: list[World] = []

    def start(*args: Any, **config: Any) -> World:
        made.append(World(*args, **config))
        return made[-1]

    yield start
    for world in made:
        world.dispatcher.close()


@pytest.mark.parametrize("cluster", ["", "static", "missing"])
def test_other_clusters_are_not_its_concern(make: Any, cluster: str) -> None:
    assert Request(make(), "c.test", cluster).status is CONTINUE


def test_a_known_host_passes(make: Any) -> None:
    request = Request(make(save_upstream_address=True), "a.test")
    assert (request.status, request.replies) == (CONTINUE, [])
    assert request.info.filter_state[UpstreamAddress.KEY].address.as_string() == "127.0.0.1:80"
    assert set(request.info.time_points or ()) == {DNS_START, DNS_END}


def test_a_host_that_failed_is_answered(make: Any) -> None:
    request = Request(make(), "b.test")
    assert (request.status, request.replies) == (STOP, [(503, "dns_resolution_failure{why}")])
    assert request.info.flags_short() == "DF"


@pytest.mark.parametrize("addresses", [["127.0.0.1"], []])
def test_an_unknown_host_is_waited_for(make: Any, addresses: list[str]) -> None:
    world = make()
    request = Request(world, "c.test")
    cache = request.filter._config.cache
    assert (request.status, cache.pending.count) == (WAIT, 1)
    world.caches.on_resolved("foo", DnsEntry("c.test:80", 80, addresses, "why"))
    assert (request.continued, len(request.replies), cache.pending.count) == (1, 0, 0) if addresses else (0, 1, 0)
    request.filter.on_destroy()
    assert cache.pending.count == 0


def test_a_request_that_ends_waits_no_more(make: Any) -> None:
    world = make()
    request = Request(world, "c.test")
    request.filter.on_destroy()
    assert request.filter._config.cache.pending.count == request.filter._config.cache.waiting == 0
    world.caches.on_resolved("foo", DnsEntry("c.test:80", 80, ["127.0.0.1"], ""))
    assert request.continued == 0


@pytest.mark.parametrize(
    ("fields", "host"),
    [
        ({"host_rewrite_literal": "a.test"}, b"a.test"),
        ({"host_rewrite_header": "X-Host"}, b"a.test"),
        ({"host_rewrite_header": "none"}, b"b.test"),
    ],
)
def test_a_route_names_the_host(make: Any, fields: dict[str, str], host: bytes) -> None:
    world = make()
    message = json_format.ParseDict(fields, messages.PerRouteConfig())
    request = Request(world, "b.test", per_route=FACTORY.create_route_config(message, world.context))
    assert request.headers.get(b":authority") == host
    assert request.status is (CONTINUE if host == b"a.test" else STOP)


def test_state_names_the_host_where_that_is_allowed(make: Any) -> None:
    allowed = make(allow_dynamic_host_from_filter_state=True)
    assert Request(allowed, "b.test:1", host="a.test", port=80).status is CONTINUE
    assert Request(allowed, "a.test:7", port=80).status is CONTINUE
    assert Request(allowed, "c.test:80", host="a.test").status is CONTINUE
    assert Request(allowed, "a.test").status is CONTINUE
    assert Request(make(), "b.test", host="a.test").status is STOP


class SubClusters(SubClusterLoadBalancer):
    """There are those that the test says."""

    there: bool = False
    full: bool = False

    def find(self, host: bytes, port: int) -> Any:
        return self.there or None

    def ask(self, host: bytes, port: int, callback: Any) -> Any:
        self.callback = callback
        return None if self.full else SimpleNamespace(cancel=lambda: setattr(self, "cancelled", True))


def test_sub_clusters(make: Any) -> None:
    world = make(SubClusters, sub_cluster_config={"cluster_init_timeout": "2s"})
    request = Request(world, "a.test")
    assert request.status is WAIT
    world.balancer.callback()
    assert request.continued == 1
    late = Request(world, "a.test")
    world.time.advance_ms(2001)
    world.dispatcher.run_once()
    assert late.replies == [(503, "sub_cluster_warming_timeout")]
    gone = Request(world, "a.test")
    gone.filter.on_destroy()
    assert world.balancer.cancelled
    world.balancer.full = True
    assert Request(world, "a.test").replies == [(503, "sub_cluster_overflow")]
    world.balancer.there = True
    assert Request(world, "a.test").status is CONTINUE
