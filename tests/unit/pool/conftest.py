"""Pools against real sockets on loopback: a scripted upstream in the same event loop."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from google.protobuf import json_format

from proxeny.event.dispatcher import Dispatcher
from proxeny.http.codec import ResponseDecoder, StreamResetReason
from proxeny.kernel.buffer import Buffer
from proxeny.kernel.headers import HeaderMap
from proxeny.network.factory_context import FactoryContext
from proxeny.pool.failure import PoolFailureReason
from proxeny.stats.store import MainStore
from proxeny.upstream import cluster_config
from proxeny.upstream.limit_gauges import LimitGauges
from proxeny.upstream.stats import CLUSTER, HOST
from proxeny.upstream.thread_local_cluster import ThreadLocalCluster


class Upstream:
    """A listening socket whose connections the test reads and writes by hand."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.port: int = self.listener.getsockname()[1]
        self.connections: list[socket.socket] = []
        self.received: list[bytes] = []
        self.closed: list[bool] = []
        dispatcher.add_reader(self.listener, self._accept)

    def _accept(self) -> None:
        connection, _ = self.listener.accept()
        connection.setblocking(False)
        index = len(self.connections)
        self.connections.append(connection)
        self.received.append(b"")
        self.closed.append(False)
        self.dispatcher.add_reader(connection, self._read, index)

    def _read(self, index: int) -> None:
        try:
            data = self.connections[index].recv(65536)
        except OSError:
            data = b""
        self.received[index] += data
        if not data:
            self.closed[index] = True
            self.dispatcher.remove_reader(self.connections[index])

    def send(self, index: int, data: bytes) -> None:
        self.connections[index].sendall(data)

    def finish(self, index: int) -> None:
        """Send a FIN."""
        self.connections[index].shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.dispatcher.remove_reader(self.listener)
        self.listener.close()
        for connection in self.connections:
            self.dispatcher.remove_reader(connection)
            connection.close()


class Request(ResponseDecoder):
    """A user of a pool: asks for a stream, sends a GET (or what it is told), keeps what it hears."""

    def __init__(self, head_only: bool = True, path: bytes = b"/") -> None:
        self.head_only = head_only
        self.path = path
        self.encoder: Any = None
        self.connection: Any = None
        self.codec_client: Any = None
        self.failure: tuple[PoolFailureReason, str] | None = None
        self.status: bytes | None = None
        self.body = b""
        self.complete = False
        self.trailers: list[tuple[bytes, bytes]] | None = None
        self.reset: tuple[StreamResetReason, str] | None = None
        self.on_complete: Callable[[], object] | None = None

    # pool
    def on_pool_ready(self, encoder: Any, host: Any, codec_client: Any) -> None:
        self.encoder = encoder
        self.codec_client = codec_client
        self.connection = codec_client.connection
        encoder.stream.callbacks = self
        encoder.encode_headers(
            HeaderMap([(b":method", b"GET"), (b":path", self.path), (b":authority", b"a"), (b":scheme", b"http")]),
            self.head_only,
        )

    def on_pool_failure(self, reason: PoolFailureReason, details: str, host: Any) -> None:
        self.failure = (reason, details)

    # decoder
    def decode_1xx_headers(self, headers: HeaderMap) -> None:
        pass

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        self.status = headers.get(b":status")
        self._end(end_stream)

    def decode_data(self, data: Buffer, end_stream: bool) -> None:
        self.body += data.take()
        self._end(end_stream)

    def decode_trailers(self, trailers: HeaderMap) -> None:
        self.trailers = trailers.items()
        self._end(True)

    def _end(self, end_stream: bool) -> None:
        if end_stream:
            self.complete = True
            if self.on_complete is not None:
                self.on_complete()

    # stream
    def on_reset_stream(self, reason: StreamResetReason, details: str) -> None:
        self.reset = (reason, details)

    @property
    def done(self) -> bool:
        return self.complete or self.reset is not None or self.failure is not None


class World:
    """A dispatcher, an upstream, and a cluster that points to it."""

    def __init__(self) -> None:
        self.dispatcher = Dispatcher()
        self.upstream = Upstream(self.dispatcher)
        self.context = FactoryContext(role="main", stats=MainStore(), dispatcher=self.dispatcher)
        self._cluster: ThreadLocalCluster | None = None

    def make_cluster(self, port: int | None = None, **fields: Any) -> ThreadLocalCluster:
        address = {"socket_address": {"address": "127.0.0.1", "port_value": port or self.upstream.port}}
        endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
        proto = json_format.ParseDict(
            {"name": "c", "load_assignment": {"cluster_name": "c", "endpoints": endpoints}, **fields},
            cluster_pb2.Cluster(),
        )
        self._cluster = ThreadLocalCluster(cluster_config.compile(proto, self.context), self.dispatcher)
        return self._cluster

    @property
    def cluster(self) -> ThreadLocalCluster:
        return self._cluster or self.make_cluster()

    @property
    def host(self) -> Any:
        return self.cluster.choose_host(None)

    def ask(self, request: Request | None = None, options: tuple[Any, ...] = ()) -> Request:
        """Ask the HTTP pool for a stream."""
        request = request or Request()
        self.handle = self.cluster.http_pool(self.host, 0, None, options).new_stream(request, request)
        return request

    def until(self, predicate: Callable[[], object]) -> None:
        self.dispatcher.run_until(predicate)

    def answered(self, index: int, response: bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok") -> Request:
        """A complete exchange on connection ``index``."""
        request = self.ask()
        self.until(lambda: len(self.upstream.received) > index and self.upstream.received[index].endswith(b"\r\n\r\n"))
        self.upstream.received[index] = b""
        self.upstream.send(index, response)
        self.until(lambda: request.done)
        return request

    def stat(self, name: str) -> int:
        info = self.cluster.info
        LimitGauges(info.limit_table(), self.context.stats).refresh([info])
        return info.stats.get(CLUSTER.slot(name))

    def stats(self, *names: str) -> tuple[int, ...]:
        return tuple(self.stat(name) for name in names)

    def host_stat(self, name: str) -> int:
        return int(self.host.stats.get(HOST.slot(name)))

    def pool_state(self) -> dict[str, int]:
        result: dict[str, int] = self.cluster.http_pool(self.host, 0).statistics()
        return result

    def close(self) -> None:
        self.upstream.close()
        if self._cluster is not None:
            self._cluster.close()
        self.dispatcher.run_once()
        self.dispatcher.close()


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


@pytest.fixture
def new_request() -> type[Request]:
    return Request
