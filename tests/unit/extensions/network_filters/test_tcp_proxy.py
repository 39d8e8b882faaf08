"""TcpProxy with the real cluster manager and pools, over real sockets."""

import contextlib
import gc
import socket
import struct
import threading

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from google.protobuf import json_format

from proxeny.config.errors import ConfigError
from proxeny.event.dispatcher import Dispatcher
from proxeny.extensions.network_filters.tcp_proxy import FACTORY
from proxeny.extensions.network_filters.tcp_proxy.config import Backoff
from proxeny.extensions.network_filters.tcp_proxy.stats import TCP_PROXY
from proxeny.kernel.randomness import RandomGenerator
from proxeny.matcher.xxhash import xxhash64
from proxeny.network.address import ip_address
from proxeny.network.connection import ServerConnection
from proxeny.network.factory_context import FactoryContext
from proxeny.network.filter import FilterStatus, NetworkFilter
from proxeny.network.filter_state import HashableString
from proxeny.pool.cluster_stats import CLUSTER
from proxeny.stats.store import MainStore
from proxeny.upstream.cluster_manager import ClusterManager


class Logger:
    """An access log that keeps what it is given."""

    def __init__(self):
        self.lines = []

    def log(self, request_headers, response_headers, response_trailers, info, log_type=None):
        host = info.upstream_host.address.as_string() if info.upstream_host else "-"
        self.lines.append((log_type, info.flags_short(), host, info.bytes_received, info.bytes_sent))


class World:
    """One proxy configuration, an upstream listener, and clients of it."""

    def __init__(self):
        self.dispatcher = Dispatcher()
        self.store = MainStore()
        self.context = FactoryContext("worker", self.store, self.dispatcher, random=RandomGenerator())
        self.clusters = self.context.cluster_manager = ClusterManager(self.context)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.settimeout(10)
        self.logger = Logger()
        self.sockets = [self.server]
        self.add_cluster("up", self.server.getsockname()[1])

    def add_cluster(self, name, *ports, **fields):
        endpoints = [
            {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}
            for port in ports
        ]
        message = {
            "name": name,
            "type": "STATIC",
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
            **fields,
        }
        self.clusters.add_or_update(json_format.ParseDict(message, cluster_pb2.Cluster()))

    def factory(self, **fields):
        if "cluster" not in fields and "weighted_clusters" not in fields:
            fields["cluster"] = "up"
        message = json_format.ParseDict({"stat_prefix": "t", **fields}, tcp_proxy_pb2.TcpProxy())
        factory = FACTORY.create_filter_factory(message, self.context)
        factory.config.access_logs = (self.logger,)
        return factory

    def session(self, factory, before=(), limit=0):
        """A client's socket and the connection that serves it."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = socket.create_connection(listener.getsockname())
            accepted, peer = listener.accept()
        accepted.setblocking(False)
        client.settimeout(10)
        self.sockets.append(client)
        connection = ServerConnection(
            self.dispatcher, accepted.detach(), ip_address(*listener_name(client)), ip_address(*peer)
        )
        connection.set_buffer_limits(limit)
        for network_filter in before:
            connection.add_filter(network_filter)
        proxy = factory.create()
        connection.add_filter(proxy)
        connection.initialize_read_filters()
        return client, connection, proxy

    @property
    def upstream_address(self):
        return "{}:{}".format(*self.server.getsockname())

    def accept(self):
        """The upstream's end of the next connection."""
        peer, _ = self.server.accept()
        peer.settimeout(10)
        self.sockets.append(peer)
        return peer

    def receive(self, peer, size):
        """Exactly `size` bytes, or what came before the end of the stream."""
        out = bytearray()
        peer.setblocking(False)
        while len(out) < size:
            try:
                data = peer.recv(size - len(out))
            except BlockingIOError:
                self.dispatcher.run_once()
                continue
            if not data:
                break
            out += data
        return bytes(out)

    def stat(self, name):
        return self.store.block(TCP_PROXY, "tcp.t.").get(TCP_PROXY.slot(name))

    def cluster_stat(self, name, cluster="up"):
        return self.clusters.get(cluster).info.stats.get(CLUSTER.slot(name))

    def close(self):
        self.clusters.close()
        for end in self.sockets:
            end.close()
        for _ in range(3):
            self.dispatcher.run_once()
        self.dispatcher.close()


def listener_name(client):
    return client.getpeername()


@pytest.fixture
def world():
    made = World()
    yield made
    made.close()


def test_ping_pong_and_a_client_that_closes(world):
    client, connection, _proxy = world.session(world.factory())
    client.sendall(b"ping")
    upstream = world.accept()
    assert world.receive(upstream, 4) == b"ping"
    upstream.sendall(b"pong!")
    assert world.receive(client, 5) == b"pong!"
    client.close()
    assert world.receive(upstream, 1) == b""
    upstream.close()
    world.dispatcher.run_until(lambda: connection.fd < 0)
    assert world.logger.lines == [(b"TcpConnectionEnd", "-", world.upstream_address, 4, 5)]
    assert world.stat("downstream_cx_total") == 1
    assert (world.stat("downstream_cx_rx_bytes_total"), world.stat("downstream_cx_tx_bytes_total")) == (4, 5)
    assert (world.cluster_stat("upstream_cx_tx_bytes_total"), world.cluster_stat("upstream_cx_rx_bytes_total")) == (
        4,
        5,
    )
    assert world.cluster_stat("upstream_cx_active") == 0 and world.cluster_stat("upstream_cx_destroy") == 1


def test_a_server_that_speaks_first(world):
    client, _, _ = world.session(world.factory())
    upstream = world.accept()
    upstream.sendall(b"220 ready")
    assert world.receive(client, 9) == b"220 ready"


def test_half_close_from_the_client(world):
    client, connection, _ = world.session(world.factory())
    client.sendall(b"question")
    client.shutdown(socket.SHUT_WR)
    upstream = world.accept()
    assert world.receive(upstream, 100) == b"question"
    upstream.sendall(b"answer")
    upstream.close()
    assert world.receive(client, 100) == b"answer"
    world.dispatcher.run_until(lambda: connection.fd < 0)
    assert world.cluster_stat("upstream_cx_active") == 0


def test_half_close_from_the_upstream(world):
    client, connection, _ = world.session(world.factory())
    upstream = world.accept()
    upstream.sendall(b"all I have")
    upstream.shutdown(socket.SHUT_WR)
    assert world.receive(client, 100) == b"all I have"
    client.sendall(b"still talking")
    assert world.receive(upstream, 13) == b"still talking"
    client.shutdown(socket.SHUT_WR)
    assert world.receive(upstream, 1) == b""
    world.dispatcher.run_until(lambda: connection.fd < 0)


def test_bulk_both_ways_is_spliced_whole(world):
    client, connection, _ = world.session(world.factory())
    upstream = world.accept()
    body = bytes(range(256)) * 20_000

    def echo():
        upstream.setblocking(True)
        while data := upstream.recv(1 << 18):
            upstream.sendall(data)
        upstream.close()

    def send():
        sender.sendall(body)
        sender.shutdown(socket.SHUT_WR)

    sender = client.dup()
    sender.setblocking(True)
    threads = [threading.Thread(target=echo), threading.Thread(target=send)]
    received = bytearray()
    for thread in threads:
        thread.start()
    reader = threading.Thread(target=lambda: received.extend(read_all(client)))
    reader.start()
    world.dispatcher.run_until(lambda: connection.fd < 0, timeout_s=30)
    for thread in (*threads, reader):
        thread.join()
    sender.close()
    assert bytes(received) == body
    assert world.stat("downstream_cx_tx_bytes_total") == len(body)
    assert world.stat("downstream_cx_rx_bytes_buffered") == world.stat("downstream_cx_tx_bytes_buffered") == 0


def read_all(peer):
    peer.setblocking(True)
    out = bytearray()
    while data := peer.recv(1 << 18):
        out += data
    return out


def test_other_filters_see_the_bytes(world):
    seen = []

    class Watcher(NetworkFilter):
        def on_data(self, data, end_stream):
            seen.append((data.peek(), end_stream))
            return FilterStatus.CONTINUE

        def on_write(self, data, end_stream):
            seen.append((data.peek(), "out"))
            return FilterStatus.CONTINUE

    client, connection, _ = world.session(world.factory(), [Watcher()])
    client.sendall(b"ping")
    upstream = world.accept()
    assert world.receive(upstream, 4) == b"ping"
    upstream.sendall(b"pong")
    assert world.receive(client, 4) == b"pong"
    assert seen == [(b"ping", False), (b"pong", "out")]
    client.shutdown(socket.SHUT_WR)
    assert world.receive(upstream, 1) == b""
    upstream.close()
    world.dispatcher.run_until(lambda: connection.fd < 0)


def test_a_client_that_resets(world):
    client, connection, _ = world.session(world.factory())
    upstream = world.accept()
    client.sendall(b"x")
    assert world.receive(upstream, 1) == b"x"
    reset(client)
    world.dispatcher.run_until(lambda: connection.fd < 0)
    with pytest.raises(ConnectionResetError):
        world.receive(upstream, 1)
    assert world.cluster_stat("upstream_cx_active") == 0


def test_an_upstream_that_resets(world):
    client, connection, _ = world.session(world.factory())
    upstream = world.accept()
    upstream.sendall(b"last words")
    assert world.receive(client, 10) == b"last words"
    reset(upstream)
    world.dispatcher.run_until(lambda: connection.fd < 0)
    with pytest.raises(ConnectionResetError):
        world.receive(client, 1)
    assert world.cluster_stat("upstream_cx_destroy_remote") == 1
    assert [line[1] for line in world.logger.lines] == ["UR"]


def block_the_upstream(world, client, proxy):
    """Send until the upstream's sockets are full and the proxy has to keep bytes."""
    client.setblocking(False)
    while proxy.upstream is None or not proxy.upstream.connection.unsent:
        with contextlib.suppress(BlockingIOError):
            client.send(bytes(50_000))
        world.dispatcher.run_once()


def leave_a_blocked_upstream(world, connection, client, upstream, proxy):
    """Both ends are done, and the proxy still has bytes for the upstream."""
    upstream.shutdown(socket.SHUT_WR)
    assert world.receive(client, 1) == b""
    block_the_upstream(world, client, proxy)
    client.shutdown(socket.SHUT_WR)
    world.dispatcher.run_until(lambda: connection.fd < 0)


def reset(peer):
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def test_what_the_client_sent_still_reaches_the_upstream_when_it_left(world):
    # With another filter the bytes go through the buffers, and the end is seen while they wait.
    client, connection, proxy = world.session(world.factory(idle_timeout="3600s"), [NetworkFilter()])
    upstream = world.accept()
    leave_a_blocked_upstream(world, connection, client, upstream, proxy)
    moved = connection.bytes_received
    assert world.stat("upstream_flush_total") == world.stat("upstream_flush_active") == 1
    assert len(world.receive(upstream, 1 << 30)) == moved
    assert world.stat("upstream_flush_active") == 0
    assert world.cluster_stat("upstream_cx_active") == 0


def test_draining_ends_by_the_idle_timeout(world):
    client, connection, proxy = world.session(world.factory(idle_timeout="0.05s"), [NetworkFilter()])
    upstream = world.accept()
    leave_a_blocked_upstream(world, connection, client, upstream, proxy)
    world.dispatcher.run_until(lambda: not world.cluster_stat("upstream_cx_active"))
    assert world.stat("idle_timeout") == 1 and world.stat("upstream_flush_active") == 0


def test_a_reset_behind_a_full_pipe_is_seen_when_the_pipe_is_empty(world):
    client, connection, proxy = world.session(world.factory())
    upstream = world.accept()
    block_the_upstream(world, client, proxy)
    reset(client)
    with pytest.raises(ConnectionResetError):
        world.receive(upstream, 1 << 30)
    assert connection.fd < 0
    assert world.cluster_stat("upstream_cx_active") == 0


def refused_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_connect_failure(world):
    port = refused_port()
    world.add_cluster("dead", port)
    client, connection, _ = world.session(world.factory(cluster="dead"))
    world.dispatcher.run_until(lambda: connection.fd < 0)
    assert client.recv(1) == b""
    assert world.logger.lines == [(b"TcpConnectionEnd", "UF,URX", f"127.0.0.1:{port}", 0, 0)]
    info = connection.stream_info
    assert info.upstream_transport_failure_reason == "delayed connect error: Connection refused"
    assert info.attempt_count == 1
    for name, wanted in {
        "upstream_cx_connect_fail": 1,
        "upstream_cx_connect_attempts_exceeded": 1,
        "upstream_cx_total": 1,
        "upstream_cx_destroy_remote": 1,
        "upstream_rq_pending_failure_eject": 1,
    }.items():
        assert world.cluster_stat(name, "dead") == wanted, name


def test_connect_attempts_go_on_to_other_hosts(world):
    world.add_cluster("mixed", refused_port(), world.server.getsockname()[1])
    for _ in range(2):
        client, _, _ = world.session(world.factory(cluster="mixed", max_connect_attempts=2))
        upstream = None
        client.sendall(b"hello")
        world.dispatcher.run_until(
            lambda: not world.clusters.get("mixed").info.stats.get(CLUSTER.slot("upstream_rq_pending_active"))
        )
        upstream = world.accept()
        assert world.receive(upstream, 5) == b"hello"
    assert world.cluster_stat("upstream_cx_connect_fail", "mixed") >= 1


def test_connect_attempts_with_backoff(world):
    world.add_cluster("dead", refused_port())
    factory = world.factory(
        cluster="dead",
        max_connect_attempts=3,
        backoff_options={"base_interval": "0.001s", "max_interval": "0.002s"},
    )
    _client, connection, _ = world.session(factory)
    world.dispatcher.run_until(lambda: connection.fd < 0)
    assert world.cluster_stat("upstream_cx_connect_fail", "dead") == 3


def test_no_cluster(world):
    client, connection, _ = world.session(world.factory(cluster="nope"))
    assert connection.fd < 0 and client.recv(1) == b""
    assert world.logger.lines == [(b"TcpConnectionEnd", "NC", "-", 0, 0)]
    assert world.stat("downstream_cx_no_route") == 1


def test_no_host(world):
    world.add_cluster("empty")
    _client, connection, _ = world.session(world.factory(cluster="empty"))
    assert connection.fd < 0
    assert world.logger.lines == [(b"TcpConnectionEnd", "UH", "-", 0, 0)]
    assert world.cluster_stat("upstream_cx_none_healthy", "empty") == 1


def test_circuit_breaker(world):
    port = world.server.getsockname()[1]
    world.add_cluster("small", port, circuit_breakers={"thresholds": [{"max_connections": 1}]})
    factory = world.factory(cluster="small")
    client, _, _ = world.session(factory)
    world.accept()
    _second, connection, _ = world.session(factory)
    assert connection.fd < 0
    assert world.logger.lines == [(b"TcpConnectionEnd", "UO", "-", 0, 0)]
    assert world.cluster_stat("upstream_cx_overflow", "small") == 1
    client.close()


def test_idle_timeout(world):
    client, connection, _ = world.session(world.factory(idle_timeout="0.05s"))
    upstream = world.accept()
    client.sendall(b"x")
    assert world.receive(upstream, 1) == b"x"
    world.dispatcher.run_until(lambda: connection.fd < 0)
    assert world.stat("idle_timeout") == 1
    assert world.receive(upstream, 1) == b""
    assert world.logger.lines[0][1] == "-"


def test_max_duration(world):
    _client, connection, _ = world.session(world.factory(max_downstream_connection_duration="0.03s"))
    world.accept()
    world.dispatcher.run_until(lambda: connection.fd < 0)
    assert world.stat("max_downstream_connection_duration") == 1
    assert world.logger.lines[0][1] == "DT"


def test_a_client_that_leaves_before_the_connect_is_done(world):
    client, connection, proxy = world.session(world.factory())
    reset(client)
    connection.close()
    for _ in range(5):
        world.dispatcher.run_once()
    assert connection.fd < 0 and proxy.upstream is None
    assert world.cluster_stat("upstream_cx_active") == 0
    assert world.cluster_stat("upstream_rq_cancelled") == 1


def test_back_pressure_pauses_the_other_side(world):
    """A client that does not read: the upstream is paused once the client's buffer is over its limit."""
    passes = NetworkFilter()
    client, connection, _ = world.session(world.factory(), [passes], limit=65536)
    upstream = world.accept()
    upstream.setblocking(False)
    sent = 0
    while not world.cluster_stat("upstream_flow_control_paused_reading_total"):
        try:
            sent += upstream.send(bytes(65536))
        except BlockingIOError:
            world.dispatcher.run_once()
    assert connection.write_buffer.length < 65536 + 262_144 + 65536
    upstream.shutdown(socket.SHUT_WR)
    assert len(world.receive(client, 1 << 30)) == sent
    assert world.cluster_stat("upstream_flow_control_resumed_reading_total") >= 1


def test_early_data(world):
    client, connection, _ = world.session(world.factory(max_early_data_bytes=10, upstream_connect_mode=1))
    world.dispatcher.run_once()
    assert world.cluster_stat("upstream_cx_total") == 0
    client.sendall(b"first bytes, more than ten")
    world.dispatcher.run_until(lambda: world.cluster_stat("upstream_cx_total"))
    client.sendall(b" and more")
    upstream = world.accept()
    assert world.receive(upstream, 35) == b"first bytes, more than ten and more"
    assert world.stat("early_data_received_count_total") == 1
    assert connection.read_disable_count == 0


def test_log_on_connect_and_periodically(world):
    options = {"access_log_flush_interval": "0.005s", "flush_access_log_on_connected": True}
    world.session(world.factory(access_log_options=options))
    world.accept()
    world.dispatcher.run_until(lambda: len(world.logger.lines) >= 3)
    kinds = [line[0] for line in world.logger.lines]
    assert kinds[0] == b"TcpUpstreamConnected" and kinds[1] == b"TcpPeriodic"


def test_weighted_clusters(world):
    factory = world.factory(weighted_clusters={"clusters": [{"name": "a", "weight": 1}, {"name": "b", "weight": 3}]})
    picked = [factory.config.pick()[0] for _ in range(4000)]
    assert 700 < picked.count("a") < 1300 and set(picked) == {"a", "b"}


def lb_metadata(**values):
    return {"filter_metadata": {"envoy.lb": values}}


def test_metadata_that_is_asked_for(world):
    entries = [{"name": "up", "weight": 1, "metadata_match": lb_metadata(a="2", c="2")}]
    factory = world.factory(weighted_clusters={"clusters": entries}, metadata_match=lb_metadata(a="1", b="1"))
    _, connection, proxy = world.session(factory)
    assert proxy.metadata_match.pairs == (("a", "2"), ("b", "1"), ("c", "2"))
    connection.stream_info.dynamic_metadata["envoy.lb"] = {"b": "3"}
    assert proxy.metadata_match.pairs == (("a", "2"), ("b", "3"), ("c", "2"))
    _, _, plain = world.session(world.factory())
    assert plain.metadata_match is None


def test_hash_of_the_source_address(world):
    _, connection, proxy = world.session(world.factory(hash_policy=[{"source_ip": {}}]))
    assert proxy.hash_key() == xxhash64(connection.stream_info.downstream_remote_address.ip.encode())
    _, _, plain = world.session(world.factory())
    assert plain.hash_key() is None


def test_hash_of_filter_state(world):
    _, connection, proxy = world.session(world.factory(hash_policy=[{"filter_state": {"key": "k"}}]))
    assert proxy.hash_key() is None
    connection.stream_info.filter_state["k"] = HashableString("one")
    assert proxy.hash_key() == xxhash64(b"one")


def test_backoff_delays():
    message = tcp_proxy_pb2.TcpProxy().backoff_options
    message.base_interval.FromMilliseconds(100)
    backoff = Backoff(message)
    assert backoff.max_ms == 1000
    assert backoff.delay_ms(1, 99) == 99 and backoff.delay_ms(1, 100) == 0
    assert backoff.delay_ms(9, 999) == 999 and backoff.delay_ms(9, 1000) == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"tunneling_config": {"hostname": "x:1", "post_path": "/there"}},
        {"tunneling_config": {"hostname": "%FOO%"}},
        {"upstream_connect_mode": 1},
        {"backoff_options": {"base_interval": "2s", "max_interval": "1s"}},
        {"access_log_flush_interval": "1s", "access_log_options": {}},
    ],
)
def test_refused_configurations(world, fields):
    with pytest.raises(ConfigError):
        world.factory(**fields)


def test_addresses_of_the_session(world):
    client, connection, _ = world.session(world.factory())
    upstream = world.accept()
    client.sendall(b"x")
    world.receive(upstream, 1)
    info = connection.stream_info
    assert info.upstream_local_address.as_string() == "{}:{}".format(*upstream.getpeername())
    assert info.upstream_remote_address.as_string() == "{}:{}".format(*world.server.getsockname())


def test_a_finished_session_is_freed_without_the_collector(world):
    """No cycle may be left: under connection churn the collector would be the only one to free them."""
    factory = world.factory()

    def session(end):
        client, connection, _ = world.session(factory)
        upstream = world.accept()
        client.sendall(b"x")
        assert world.receive(upstream, 1) == b"x"
        end(client)
        with contextlib.suppress(ConnectionResetError):
            world.receive(upstream, 1)
        upstream.close()
        world.dispatcher.run_until(lambda: connection.fd < 0)
        for _ in range(3):
            world.dispatcher.run_once()

    def alive():
        names = (
            "ServerConnection",
            "ClientConnection",
            "TcpProxy",
            "TcpUpstream",
            "SplicePump",
            "Buffer",
            "StreamInfo",
        )
        return sum(type(thing).__name__ in names for thing in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = alive()
        for _ in range(3):
            session(socket.socket.close)
            session(reset)
        assert alive() == before
    finally:
        gc.enable()
