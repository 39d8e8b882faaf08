"""The TCP pool on real sockets."""

from __future__ import annotations

import socket
from typing import Any

from proxeny.network.address import ip_address
from proxeny.network.filter import ConnectionCloseType, FilterStatus, NetworkFilter
from proxeny.network.socket_options import SourceAddressOption
from proxeny.pool.failure import PoolFailureReason


class Taker:
    """Takes a connection and reads it."""

    def __init__(self) -> None:
        self.connection: Any = None
        self.failure: tuple[PoolFailureReason, str] | None = None
        self.data = b""

    def on_pool_ready(self, connection: Any, host: Any) -> None:
        self.connection = connection
        connection.add_filter(Reader(self))
        connection.initialize_read_filters()

    def on_pool_failure(self, reason: PoolFailureReason, details: str, host: Any) -> None:
        self.failure = (reason, details)


class Reader(NetworkFilter):
    __slots__ = ("taker",)

    def __init__(self, taker: Taker) -> None:
        self.taker = taker

    def on_data(self, data: Any, end_stream: bool) -> FilterStatus:
        self.taker.data += data.take()
        return FilterStatus.STOP_ITERATION


def take(world: Any) -> Taker:
    taker = Taker()
    taker.handle = world.cluster.tcp_pool(world.host, 0).new_connection(taker)  # type: ignore[attr-defined]
    return taker


def test_a_connection_of_its_own(world: Any) -> None:
    taker = take(world)
    world.until(lambda: taker.connection is not None and world.upstream.connections)
    world.upstream.send(0, b"hello")
    world.until(lambda: taker.data)
    assert taker.data == b"hello"
    assert world.stats("upstream_cx_total", "upstream_cx_active", "upstream_rq_total") == (1, 1, 1)
    assert world.stats("upstream_rq_active", "upstream_cx_http1_total") == (1, 0)
    taker.connection.close(ConnectionCloseType.NO_FLUSH)
    assert world.stats("upstream_cx_active", "upstream_rq_active") == (0, 0)
    assert world.stats("upstream_cx_destroy_local", "upstream_cx_destroy_local_with_active_rq") == (1, 1)
    assert world.host_stat("cx_active") == 0


def test_refused(world: Any) -> None:
    closed = socket.create_server(("127.0.0.1", 0))
    port = closed.getsockname()[1]
    closed.close()
    world.make_cluster(port=port)
    taker = take(world)
    world.until(lambda: taker.failure)
    assert taker.failure == (
        PoolFailureReason.REMOTE_CONNECTION_FAILURE,
        "delayed connect error: Connection refused",
    )


def test_an_unclaimed_connection_keeps_what_the_server_says_first(world: Any) -> None:
    taker = take(world)
    taker.handle.cancel()  # type: ignore[attr-defined]
    pool = world.cluster.tcp_pool(world.host, 0)
    world.until(lambda: pool.statistics()["ready"] == 1 and world.upstream.connections)
    world.upstream.send(0, b"220 mail")
    for _ in range(3):
        world.dispatcher.run_once()
    second = take(world)
    assert second.connection is not None
    world.until(lambda: second.data)
    assert second.data == b"220 mail"
    assert world.stat("upstream_cx_total") == 1


def test_an_unclaimed_connection_that_hangs_up_is_dropped(world: Any) -> None:
    taker = take(world)
    taker.handle.cancel()  # type: ignore[attr-defined]
    pool = world.cluster.tcp_pool(world.host, 0)
    world.until(lambda: pool.statistics()["ready"] == 1 and world.upstream.connections)
    world.upstream.finish(0)
    world.until(lambda: pool.statistics()["ready"] == 0)
    assert world.stat("upstream_cx_destroy_remote") == 1


def test_drain_leaves_the_taken_alone(world: Any) -> None:
    taker = take(world)
    world.until(lambda: taker.connection is not None and world.upstream.connections)
    world.cluster.update_hosts([])
    world.upstream.send(0, b"still here")
    world.until(lambda: taker.data)
    assert taker.data == b"still here"


def test_pools_with_options_of_their_own(world: Any) -> None:
    """Connections are bound to the client's address, pooled by it, and their pool goes with the last of them."""
    options = [(SourceAddressOption(ip_address(f"127.0.0.{number}")),) for number in (2, 3)]
    takers = [Taker() for _ in options]
    for taker, own in zip(takers, options, strict=True):
        world.cluster.tcp_pool(world.host, 0, own).new_connection(taker)
    world.until(lambda: all(taker.connection is not None for taker in takers) and len(world.upstream.connections) == 2)
    assert sorted(peer.getpeername()[0] for peer in world.upstream.connections) == ["127.0.0.2", "127.0.0.3"]
    assert len(world.host.tcp_pools) == 2
    assert world.cluster.tcp_pool(world.host, 0, options[0]) is not world.cluster.tcp_pool(world.host, 0)
    for taker in takers:
        taker.connection.close(ConnectionCloseType.NO_FLUSH)
    assert list(world.host.tcp_pools) == [0]


def test_a_source_address_that_cannot_be_is_a_failure(world: Any) -> None:
    taker = Taker()
    pool = world.cluster.tcp_pool(world.host, 0, (SourceAddressOption(ip_address("192.0.2.1")),))
    pool.new_connection(taker)
    world.until(lambda: taker.failure is not None)
    assert taker.failure == (
        PoolFailureReason.LOCAL_CONNECTION_FAILURE,
        "failed to bind to 192.0.2.1:0: Cannot assign requested address",
    )
    assert not world.host.tcp_pools


def test_a_connection_that_was_counted_beforehand(world: Any) -> None:
    """tcp_proxy counts before it asks, so that two workers never take the last one both."""
    connections = world.cluster.info.resource_manager(0).connections
    pool = world.cluster.tcp_pool(world.host, 0)
    takers = [Taker() for _ in range(3)]
    for taker in takers:
        assert connections.try_acquire()
        pool.new_reserved_connection(taker)
    assert connections.count == 3
    world.until(lambda: all(taker.connection is not None for taker in takers))
    for taker in takers:
        taker.connection.close(ConnectionCloseType.NO_FLUSH)
    assert connections.count == 0


def test_a_connection_counted_in_vain(world: Any) -> None:
    connections = world.cluster.info.resource_manager(0).connections
    pool = world.cluster.tcp_pool(world.host, 0)
    taker = take(world)
    assert connections.count == 1
    taker.handle.cancel()  # type: ignore[attr-defined]
    world.until(lambda: pool.statistics()["ready"] == 1)
    assert connections.try_acquire()
    second = Taker()
    assert pool.new_reserved_connection(second) is None
    assert (second.connection is not None, connections.count) == (True, 1)
