"""Internal listeners in one process: configuration, connections by name, what they bring along, refusals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.bootstrap.internal_listener.v3 import internal_listener_pb2
from envoy.extensions.filters.listener.original_dst.v3 import original_dst_pb2
from envoy.extensions.filters.network.echo.v3 import echo_pb2
from envoy.extensions.transport_sockets.internal_upstream.v3 import internal_upstream_pb2
from envoy.extensions.transport_sockets.raw_buffer.v3 import raw_buffer_pb2
from google.protobuf import json_format

import proxeny.extensions
from proxeny.config.errors import ConfigError
from proxeny.event.dispatcher import Dispatcher
from proxeny.extensions.bootstrap import internal_listener
from proxeny.listener import stats as s
from proxeny.listener.active_internal_listener import ActiveInternalListener
from proxeny.listener.connection_handler import ConnectionHandler
from proxeny.listener.kinds import compile_listener
from proxeny.network.address import ip_address
from proxeny.network.factory_context import FactoryContext
from proxeny.network.filter import ConnectionCloseType, FilterStatus, NetworkFilter
from proxeny.network.filter_state import HashableString, Sharing
from proxeny.network.stream_info import ConnectionInfo, StreamInfo
from proxeny.pool.failure import PoolFailureReason
from proxeny.registry import REGISTRY
from proxeny.stats.store import MainStore
from proxeny.upstream import cluster_config
from proxeny.upstream.thread_local_cluster import ThreadLocalCluster

# json_format finds the types that were imported.
ANY_TYPES = (original_dst_pb2, echo_pb2, internal_upstream_pb2, raw_buffer_pb2)
TYPE = "type.googleapis.com/envoy.extensions"
ECHO = {"name": "e", "typed_config": {"@type": f"{TYPE}.filters.network.echo.v3.Echo"}}
RAW = {"name": "raw", "typed_config": {"@type": f"{TYPE}.transport_sockets.raw_buffer.v3.RawBuffer"}}


@pytest.fixture(autouse=True, scope="module")
def _extensions() -> None:
    proxeny.extensions.install(REGISTRY)


class Reader(NetworkFilter):
    """Keeps what it reads."""

    __slots__ = ("data",)

    def __init__(self) -> None:
        self.data = b""

    def on_data(self, data: Any, end_stream: bool) -> FilterStatus:
        self.data += data.take()
        return FilterStatus.STOP_ITERATION


class Taker:
    """Takes a connection of a pool."""

    def __init__(self) -> None:
        self.connection: Any = None
        self.failure: tuple[PoolFailureReason, str] | None = None
        self.reader = Reader()

    def on_pool_ready(self, connection: Any, host: Any) -> None:
        self.connection = connection
        connection.add_filter(self.reader)
        connection.initialize_read_filters()

    def on_pool_failure(self, reason: PoolFailureReason, details: str, host: Any) -> None:
        self.failure = (reason, details)


class Session:
    """The context of a request whose filter state is shared."""

    def __init__(self, **objects: tuple[Any, Sharing]) -> None:
        info = ConnectionInfo(ip_address("127.0.0.1", 1), ip_address("127.0.0.1", 2), 1)
        self.request_stream_info = StreamInfo(info, 0.0, 0)
        self.downstream_connection = None
        self.downstream_headers = None
        for name, (value, sharing) in objects.items():
            self.request_stream_info.filter_state.share(name, value, sharing)


class World:
    """A worker's handler and the clusters that lead to its internal listeners."""

    def __init__(self) -> None:
        self.dispatcher = Dispatcher()
        self.context = FactoryContext(role="main", stats=MainStore(), dispatcher=self.dispatcher)
        self.handler = ConnectionHandler(self.context)
        internal_listener.FACTORY.install(internal_listener_pb2.InternalListener(), self.context)
        self.clusters: list[ThreadLocalCluster] = []

    def compile(self, **fields: Any) -> Any:
        message = {"name": "i", "internalListener": {}, "filterChains": [{"filters": [ECHO]}], **fields}
        return compile_listener(json_format.ParseDict(message, listener_pb2.Listener()), self.context)

    def listen(self, tag: int = 1, **fields: Any) -> ActiveInternalListener:
        listener = self.handler.add_listener(tag, self.compile(**fields), [])
        assert isinstance(listener, ActiveInternalListener)
        return listener

    def cluster(self, listener: str = "i", sources: list[Any] | None = None, **endpoint: Any) -> ThreadLocalCluster:
        address = {"envoyInternalAddress": {"serverListenerName": listener, "endpointId": "x"}}
        lb_endpoint = {"endpoint": {"address": address}, **endpoint}
        fields: dict[str, Any] = {}
        if sources is not None:
            internal = {
                "@type": f"{TYPE}.transport_sockets.internal_upstream.v3.InternalUpstreamTransport",
                "transportSocket": RAW,
                "passthroughMetadata": sources,
            }
            fields["transportSocket"] = {"name": "internal", "typedConfig": internal}
        proto = json_format.ParseDict(
            {
                "name": "c",
                "loadAssignment": {"clusterName": "c", "endpoints": [{"lbEndpoints": [lb_endpoint]}]},
                **fields,
            },
            cluster_pb2.Cluster(),
        )
        self.clusters.append(ThreadLocalCluster(cluster_config.compile(proto, self.context), self.dispatcher))
        return self.clusters[-1]

    def take(self, cluster: ThreadLocalCluster, context: Any = None) -> Taker:
        taker = Taker()
        host: Any = cluster.choose_host(None)
        cluster.tcp_pool(host, 0, (), context).new_connection(taker)
        self.dispatcher.run_until(lambda: taker.connection is not None or taker.failure is not None)
        return taker

    def close(self) -> None:
        self.handler.close()
        for cluster in self.clusters:
            cluster.close()
        self.dispatcher.run_once()
        self.dispatcher.close()


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def only_stream_info(listener: ActiveInternalListener) -> StreamInfo:
    (active,) = listener.connections
    info: StreamInfo = active.connection.stream_info
    return info


def test_bytes_go_through(world: World) -> None:
    listener = world.listen()
    taker = world.take(world.cluster())
    taker.connection.write(b"hello", False)
    world.dispatcher.run_until(lambda: taker.reader.data == b"hello")
    (active,) = listener.connections
    accepted = active.connection.connection_info
    assert (accepted.local_address.as_string(), accepted.remote_address.as_string()) == (
        "envoy://i/x",
        "envoy://internal_client_address/",
    )
    client = taker.connection.connection_info
    assert (client.local_address.as_string(), client.remote_address.as_string()) == (
        "envoy://internal_client_address/",
        "envoy://i/x",
    )
    assert listener.config.stats.get(s.CX_TOTAL) == listener.config.stats.get(s.CX_ACTIVE) == 1
    taker.connection.close(ConnectionCloseType.NO_FLUSH)
    world.dispatcher.run_until(lambda: not listener.connections)


def test_much_more_than_a_socket_holds(world: World) -> None:
    world.listen()
    taker = world.take(world.cluster())
    data = bytes(range(256)) * 10_000
    taker.connection.write(data, False)
    world.dispatcher.run_until(lambda: len(taker.reader.data) == len(data))
    assert taker.reader.data == data


def test_an_unread_rest_is_no_reset(world: World) -> None:
    listener = world.listen()
    taker = world.take(world.cluster())
    (active,) = listener.connections
    active.connection.read_disable(True)
    taker.connection.write(b"unread", False)
    world.dispatcher.run_once()
    active.connection.close(ConnectionCloseType.NO_FLUSH)
    world.dispatcher.run_until(lambda: taker.connection.fd < 0)
    assert not taker.connection.remote_reset


@pytest.mark.parametrize("listening", [False, True])
def test_no_such_listener(world: World, listening: bool) -> None:
    if listening:
        world.listen()
    taker = world.take(world.cluster("other"))
    assert taker.failure == (
        PoolFailureReason.REMOTE_CONNECTION_FAILURE,
        "immediate connect error: Invalid argument|remote address:envoy://other/x",
    )


def test_a_stopped_listener_is_not_found_and_a_newer_one_stays(world: World) -> None:
    world.listen(1)
    newer = world.listen(2)
    world.handler.stop_listener(1)
    cluster = world.cluster()
    assert world.take(cluster).connection is not None and len(newer.connections) == 1
    world.handler.remove_listener(2)
    assert world.take(cluster).failure is not None


def test_a_refused_connection_is_a_failed_connect(world: World) -> None:
    listener = world.listen(filterChains=[{"filterChainMatch": {"destinationPort": 7}, "filters": [ECHO]}])
    assert world.take(world.cluster()).failure is not None
    assert listener.config.stats.get(s.NO_FILTER_CHAIN_MATCH) == 1


HOST, CLUSTER = {"kind": {"host": {}}, "name": "ns"}, {"kind": {"cluster": {}}, "name": "absent"}


@pytest.mark.parametrize("filters", [[], ["original_dst"]])
def test_metadata_goes_along(world: World, filters: list[str]) -> None:
    listener = world.listen(
        listenerFilters=[
            {"name": name, "typedConfig": {"@type": f"{TYPE}.filters.listener.{name}.v3.OriginalDst"}}
            for name in filters
        ]
    )
    metadata = {"filterMetadata": {"ns": {"a": "b"}, "not": {"c": "d"}}}
    world.take(world.cluster(sources=[HOST, CLUSTER], metadata=metadata))
    assert only_stream_info(listener).dynamic_metadata == {"ns": {"a": "b"}}


def test_the_destination_comes_as_metadata(world: World) -> None:
    name = "envoy.filters.listener.original_dst"
    listener = world.listen(
        listenerFilters=[
            {"name": "dst", "typedConfig": {"@type": f"{TYPE}.filters.listener.original_dst.v3.OriginalDst"}}
        ],
        useOriginalDst=True,
    )
    source = {"kind": {"host": {}}, "name": name}
    metadata = {"filterMetadata": {name: {"local": "192.0.2.1:80"}}}
    world.take(world.cluster(sources=[source], metadata=metadata))
    info = only_stream_info(listener).connection
    assert info.local_address_restored and info.local_address.as_string() == "192.0.2.1:80"


def test_shared_filter_state_goes_along(world: World) -> None:
    listener = world.listen()
    session = Session(
        once=(ip_address("192.0.2.1", 80), Sharing.ONCE),
        on=("text", Sharing.TRANSITIVE),
        stays=("here", Sharing.NONE),
    )
    world.take(world.cluster(sources=[]), session)
    state = only_stream_info(listener).filter_state
    assert {name: str(getattr(value, "ip", value)) for name, value in state.items()} == {
        "once": "192.0.2.1",
        "on": "text",
    }
    assert state.shared == {"on": Sharing.TRANSITIVE}


def test_without_the_transport_socket_nothing_does(world: World) -> None:
    listener = world.listen()
    world.take(world.cluster(), Session(on=("text", Sharing.TRANSITIVE)))
    assert only_stream_info(listener).filter_state_map is None


def test_hashable_objects_keep_pools_apart(world: World) -> None:
    world.listen()
    cluster = world.cluster(sources=[])
    host: Any = cluster.choose_host(None)
    for value in (HashableString("a"), HashableString("b"), HashableString("a"), "plain", "other"):
        world.take(cluster, Session(key=(value, Sharing.ONCE)))
    assert len(host.tcp_pools) == 3


TCP_FIELDS = [
    {"transparent": True},
    {"freebind": True},
    {"tcpBacklogSize": 5},
    {"tcpFastOpenQueueLength": 5},
    {"enableReusePort": True},
    {"connectionBalanceConfig": {"exactBalance": {}}},
]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        *[(fields, "has unsupported tcp listener feature") for fields in TCP_FIELDS],
        ({"socketOptions": [{"level": 1, "name": 1, "intValue": 1}]}, "does not support socket option"),
        ({"enableMptcp": True}, "enable_mptcp can only be used with IP addresses"),
        ({"address": {"pipe": {"path": "/s"}}}, "address should not be used"),
        ({"additionalAddresses": [{"address": {"pipe": {"path": "/s"}}}]}, "address should not be used"),
        ({"filterChains": []}, "error adding listener 'envoy://i/': no filter chains specified"),
    ],
)
def test_refused(world: World, fields: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        world.compile(**fields)


def test_the_bootstrap_extension_is_mandatory(world: World) -> None:
    world.context.internal_listeners.enabled = False
    with pytest.raises(ConfigError, match="InternalListener bootstrap extension is mandatory"):
        world.compile()


def test_an_internal_address_alone_is_refused(world: World) -> None:
    message = {"name": "i", "address": {"envoyInternalAddress": {"serverListenerName": "i"}}}
    with pytest.raises(ConfigError, match="use internal_listener field instead of address"):
        compile_listener(json_format.ParseDict(message, listener_pb2.Listener()), world.context)


@pytest.mark.parametrize("kind", ["route", "request"])
def test_kinds_of_metadata_that_are_refused(world: World, kind: str) -> None:
    with pytest.raises(ConfigError, match=f"metadata type is not supported: {kind}"):
        world.cluster(sources=[{"kind": {kind: {}}, "name": "ns"}])


def test_buffer_size(world: World) -> None:
    config = json_format.ParseDict({"bufferSizeKb": 64}, internal_listener_pb2.InternalListener())
    internal_listener.FACTORY.install(config, world.context)
    assert world.context.internal_listeners.buffer_size == 65536
    world.listen()
    assert world.take(world.cluster()).connection is not None
