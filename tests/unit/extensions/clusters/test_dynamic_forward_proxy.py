"""The dynamic forward proxy cluster: which host a request is for, hosts that come, move and go, what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.extensions.clusters.dynamic_forward_proxy.v3 import cluster_pb2 as _cluster  # noqa: F401
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2 as _tls  # noqa: F401
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2 as _options  # noqa: F401
from google.protobuf import json_format

from proxeny import extensions
from proxeny.config.errors import ConfigError
from proxeny.event.dispatcher import Dispatcher
from proxeny.extensions.clusters.dynamic_forward_proxy.absent_host import AbsentHost
from proxeny.extensions.clusters.dynamic_forward_proxy.load_balancer import DynamicHost, DynamicLoadBalancer
from proxeny.extensions.clusters.dynamic_forward_proxy.wanted import HOST_KEY, PORT_KEY
from proxeny.kernel.headers import HeaderMap
from proxeny.kernel.timer import TimerTarget, TimerWheel
from proxeny.network.address import ip_address
from proxeny.network.factory_context import FactoryContext
from proxeny.network.stream_info import ConnectionInfo, StreamInfo
from proxeny.pool.failure import PoolFailureReason
from proxeny.registry import REGISTRY
from proxeny.stats.store import MainStore
from proxeny.upstream import cluster_config
from proxeny.upstream.dns_cache.caches import MainDnsCaches, WorkerDnsCaches
from proxeny.upstream.dns_cache.entry import DnsEntry
from proxeny.upstream.main_cluster_manager import MainClusterManager
from proxeny.upstream.stats import CLUSTER, HOST

TYPE = "type.googleapis.com/envoy.extensions"
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
A_ENTRY = DnsEntry("a.test:80", 80, ["127.0.0.1", "127.0.0.2"], "", slot=3)


@pytest.fixture(autouse=True, scope="module")
def _extensions() -> None:
    extensions.install(REGISTRY)


def message(config: dict[str, Any] | None = None, **fields: Any) -> Any:
    typed = {"@type": f"{TYPE}.clusters.dynamic_forward_proxy.v3.ClusterConfig", "dns_cache_config": {"name": "foo"}}
    fields = {
        "name": "c",
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": {
            "name": "envoy.clusters.dynamic_forward_proxy",
            "typed_config": {key: value for key, value in {**typed, **(config or {})}.items() if value is not None},
        },
        **fields,
    }
    return json_format.ParseDict(fields, cluster_pb2.Cluster())


class Request(TimerTarget):
    """A router, as the load balancer sees it."""

    def __init__(self, authority: bytes | None = None, server_name: str = "") -> None:
        info = ConnectionInfo(ip_address("127.0.0.1", 1), ip_address("127.0.0.1", 2), 1)
        info.requested_server_name = server_name
        self.downstream_connection: Any = SimpleNamespace(connection_info=info, stream_info=StreamInfo(info, 0.0, 0))
        self.request_stream_info = self.stream_info = StreamInfo(info, 0.0, 0)
        self.downstream_headers = None if authority is None else HeaderMap([(b":authority", authority)])
        self.failures: list[tuple[PoolFailureReason, str]] = []
        self.timer: Any = None
        self.timeout_ms = 15_000
        self.request_complete = True

    def on_pool_failure(self, reason: PoolFailureReason, details: str, host: Any) -> None:
        self.failures.append((reason, details))


class World:
    """The cluster in a worker."""

    def __init__(self, **fields: Any) -> None:
        self.dispatcher = Dispatcher()
        self.context = FactoryContext("worker", MainStore(), self.dispatcher)
        self.caches = WorkerDnsCaches.of(self.context)
        self.caches.link = self
        self.asked: list[str] = []
        config = cluster_config.compile(message(**fields), self.context)
        self.info = config.info
        self.balancer = DynamicLoadBalancer(config.info, config.options.cache, self.dispatcher.monotonic_ns)

    def ask_dns_host(self, cache: str, name: str, default_port: int, again: bool) -> None:
        self.asked.append(name)

    def choose(self, *args: Any, **state: Any) -> Any:
        return self.balancer.choose_host(Request(*args, **state))

    def none_healthy(self) -> int:
        return self.info.stats.get(CLUSTER.slot("upstream_cx_none_healthy"))


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.balancer.close()
    world.dispatcher.close()


def test_a_known_name_is_one_host(world: World) -> None:
    world.caches.on_resolved("foo", A_ENTRY)
    host = world.choose(b"a.test")
    assert isinstance(host, DynamicHost)
    assert (
        host
        is world.choose(b"a.test:80")
        is world.balancer.choose_host_by(lambda hosts, load: load, Request(b"a.test"))
    )
    assert (host.address.as_string(), host.hostname) == ("127.0.0.1:80", "a.test:80")
    assert host.entry.additional_addresses == (("127.0.0.2", 80),)
    assert host.known.last_used_ns > 0
    assert world.balancer.hosts() == [host]
    assert not world.asked


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({}, "a.test:80"),
        (
            {
                "transport_socket": {
                    "name": "tls",
                    "typed_config": {"@type": f"{TYPE}.transport_sockets.tls.v3.UpstreamTlsContext"},
                }
            },
            "a.test:443",
        ),
    ],
)
def test_a_host_without_a_port_has_that_of_its_scheme(fields: dict[str, Any], name: str) -> None:
    world = World(**fields)
    world.choose(b"a.test")
    assert world.asked == [name]
    world.balancer.close()
    world.dispatcher.close()


def test_connections_ask_for_the_name_of_their_host(world: World) -> None:
    assert world.info.upstream_names is not None


def test_an_address_moves_in_place(world: World) -> None:
    world.caches.on_resolved("foo", A_ENTRY)
    host = world.choose(b"a.test")
    world.caches.on_resolved("foo", DnsEntry("a.test:80", 80, ["127.0.0.9"], "", slot=3))
    assert world.choose(b"a.test") is host
    assert host.address.as_string() == "127.0.0.9:80"


def test_a_name_that_came_back_is_another_host(world: World) -> None:
    world.caches.on_resolved("foo", A_ENTRY)
    host = world.choose(b"a.test")
    world.caches.on_resolved("foo", DnsEntry("a.test:80", 80, ["127.0.0.1"], "", slot=4))
    assert world.choose(b"a.test") is not host
    world.caches.on_gone("foo", "a.test:80")
    assert world.balancer.hosts() == []


def test_an_ejected_host_is_none(world: World) -> None:
    world.caches.on_resolved("foo", A_ENTRY)
    world.choose(b"a.test").set_health_flags(0x02)
    assert world.choose(b"a.test") is None
    world.caches.on_resolved("foo", DnsEntry("a.test:80", 80, ["127.0.0.9"], "", slot=3))
    assert world.choose(b"a.test") is None
    assert world.none_healthy() == 2


def test_state_names_host_and_port(world: World) -> None:
    world.caches.on_resolved("foo", A_ENTRY)
    request = Request(b"other.test")
    request.stream_info.filter_state[HOST_KEY] = "a.test"
    assert isinstance(world.balancer.choose_host(request), DynamicHost)
    request = Request(b"other.test")
    request.downstream_connection.stream_info.filter_state[HOST_KEY] = "a.test"
    request.stream_info.filter_state[PORT_KEY] = 81
    assert isinstance(world.balancer.choose_host(request), AbsentHost)
    assert world.asked == ["a.test:81"]


def test_a_connection_is_for_its_server_name_and_does_not_wait(world: World) -> None:
    world.caches.on_resolved("foo", A_ENTRY)
    assert isinstance(world.choose(None, "a.test"), DynamicHost)
    assert world.choose(None, "b.test") is None
    assert (world.asked, world.balancer.cache.waiting, world.none_healthy()) == (["b.test:80"], 0, 0)
    assert world.choose(None, "") is None
    assert world.balancer.choose_host(None) is None
    assert world.none_healthy() == 2


def test_a_request_waits_for_a_name(world: World) -> None:
    request = Request(b"a.test")
    absent: Any = world.balancer.choose_host(request)
    request.stream_info.upstream_host = absent
    handle = absent.http_pools.get(0).new_stream(None, request)
    assert handle is not None and request.stream_info.upstream_host is None
    world.caches.on_resolved("foo", DnsEntry("a.test:80", 80, [], "dns_resolution_failure{x}"))
    assert request.failures == [(PoolFailureReason.NO_POOL, "dns_resolution_failure{x}")]
    failed: Any = world.choose(b"a.test")
    assert failed.tcp_pools.get(("any", "key")).new_connection(request) is None
    assert request.failures[1:] == [(PoolFailureReason.NO_POOL, "dns_resolution_failure{x}")]
    assert world.none_healthy() == 1


def test_a_request_that_leaves_waits_no_more(world: World) -> None:
    request = Request(b"a.test")
    absent: Any = world.balancer.choose_host(request)
    handle = absent.http_pools.get(0).new_stream(None, request)
    handle.cancel()
    assert world.balancer.cache.waiting == 0
    world.caches.on_resolved("foo", A_ENTRY)
    assert request.failures == []


def test_the_real_pool_of_a_resolved_name(world: World) -> None:
    request: Any = Request(b"a.test")
    absent: Any = world.balancer.choose_host(request)
    asked: list[Any] = []

    class Pool:
        def new_stream(self, decoder: Any, callbacks: Any) -> Any:
            asked.append((decoder, callbacks))
            return SimpleNamespace(cancel=lambda policy: asked.append(policy))

    cluster = SimpleNamespace(http_pool=lambda host, *rest: (asked.append(host), Pool())[1])
    wheel = TimerWheel()
    request.config = SimpleNamespace(get_cluster=lambda name: cluster, wheel=wheel)
    request.cluster_name = "c"
    request.decoder_callbacks = SimpleNamespace(upstream_options=())
    request.entry = SimpleNamespace(policy=SimpleNamespace(priority=0))
    handle = absent.http_pools.get(0).new_stream("decoder", request)
    assert request.timeout_ms == 0
    world.caches.on_resolved("foo", A_ENTRY)
    assert (request.timeout_ms, request.timer.enabled) == (15_000, True)
    host, stream = asked
    assert isinstance(host, DynamicHost) and stream == ("decoder", request)
    assert request.stream_info.upstream_host is host
    handle.cancel()
    assert len(asked) == 3
    request.config = SimpleNamespace(get_cluster=lambda name: None)
    again: Any = world.choose(b"b.test")
    again.router = request
    again.http_pools.get(0).new_stream("decoder", request)
    world.caches.on_resolved("foo", DnsEntry("b.test:80", 80, ["127.0.0.1"], "", slot=5))
    assert request.failures == [(PoolFailureReason.NO_POOL, "")]


def test_main_shows_the_hosts_of_the_cache() -> None:
    dispatcher = Dispatcher()
    context = FactoryContext("main", MainStore(), dispatcher)
    manager = MainClusterManager(context)
    updates: list[bytes] = []
    manager.on_hosts_changed = lambda name, update: updates.append(update)
    manager.add_static([message({"dns_cache_config": {"name": "foo", "preresolve_hostnames": [
        {"address": "127.0.0.1", "port_value": 81}, {"address": "127.0.0.2", "port_value": 82}]}})])  # fmt: skip
    ready: list[bool] = []
    manager.initialize(lambda: ready.append(True))
    cluster = manager.find("c")
    assert ready and cluster is not None
    dispatcher.run_until(lambda: len(cluster.hosts) == 2)
    assert sorted(entry.hostname for entry in cluster.members()) == ["127.0.0.1:81", "127.0.0.2:82"]
    assert len({entry.stat_index for entry in cluster.hosts} - {0}) == 2
    assert len(cluster.blocks_of(cluster.hosts[0])[0:1]) == 1
    stats = cluster.config.info.stats
    assert stats.get(CLUSTER.slot("membership_total")) == stats.get(CLUSTER.slot("membership_healthy")) == 2
    assert (len(updates), cluster.host_update() is not None, HOST.hidden) == (2, True, True)
    cache = MainDnsCaches.of(context).find("foo")
    for host in cache.hosts():
        cache.remove(host)
    assert (cluster.hosts, stats.get(CLUSTER.slot("membership_total"))) == ([], 0)
    manager.close()
    MainDnsCaches.of(context).close()
    dispatcher.run_once()
    dispatcher.close()


@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        ({}, False),
        ({"upstream_http_protocol_options": {"override_auto_sni_header": "x"}}, True),
        (
            {
                "typed_extension_protocol_options": {
                    OPTIONS: {
                        "@type": f"type.googleapis.com/{OPTIONS}",
                        "explicit_http_config": {"http_protocol_options": {}},
                    }
                }
            },
            True,
        ),
    ],
)
def test_insecure_options(fields: dict[str, Any], refused: bool) -> None:
    context = FactoryContext("main", MainStore())
    if refused:
        with pytest.raises(ConfigError, match="must have auto_sni and auto_san_validation true unless"):
            cluster_config.compile(message(**fields), context)
        fields = {**fields, "name": "allowed"}
    cluster_config.compile(message({"allow_insecure_cluster_options": refused}, **fields), context)


def test_it_brings_its_load_balancer() -> None:
    with pytest.raises(ConfigError, match="cluster provided LB not specified but cluster 'c' provided one"):
        cluster_config.compile(message(lb_policy="ROUND_ROBIN"), FactoryContext("main", MainStore()))
