"""A tunnel in the kernel: who may have one, that large amounts are spliced, and that its bytes are counted."""

import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from proxeny.event.dispatcher import Dispatcher
from proxeny.http.tunnel import start_tunnel
from proxeny.kernel.buffer import Buffer
from proxeny.network.address import ip_address
from proxeny.network.connection import ServerConnection
from proxeny.network.filter import FilterStatus, NetworkFilter

ADDRESS = ip_address("127.0.0.1", 1)


class Sink(NetworkFilter):
    """The only filter of a connection; no byte should come here."""

    def __init__(self) -> None:
        self.seen = b""

    def on_data(self, data: Buffer, end_stream: bool) -> FilterStatus:
        self.seen += data.take()
        return FilterStatus.STOP_ITERATION


class Bench:
    """Two accepted connections with their peers, and a stream between them."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher
        self.peers: list[socket.socket] = []
        self.sinks = [Sink(), Sink()]
        self.near, self.far = (self._connection(sink) for sink in self.sinks)
        counts = {"bytes_received": 5, "bytes_sent": 7}
        self.info: Any = SimpleNamespace(**counts)
        self.upstream: Any = SimpleNamespace(tunnel_connection=self.far, **counts)
        self.stream: Any = SimpleNamespace(
            connection=self.near,
            dispatcher=dispatcher,
            encoder=SimpleNamespace(**counts),
            idle_timer=None,
            idle_timeout_ms=0,
            terminal=SimpleNamespace(begin_tunnel=lambda: self.upstream),
            decode_path=None,
            encode_path=None,
        )

    def _connection(self, sink: Sink) -> ServerConnection:
        with socket.create_server(("127.0.0.1", 0)) as server:
            peer = socket.create_connection(server.getsockname())
            accepted, _ = server.accept()
        accepted.setblocking(False)
        peer.settimeout(20)
        self.peers.append(peer)
        connection = ServerConnection(self.dispatcher, accepted.detach(), ADDRESS, ADDRESS)
        connection.add_filter(sink)
        connection.initialize_read_filters()
        return connection

    def pass_on(self, data: bytes, there: bool = True) -> bytes:
        source, sink = self.peers if there else self.peers[::-1]
        source.setblocking(False)
        sink.setblocking(False)
        sent, got = 0, b""
        while len(got) < len(data):
            try:
                sent += source.send(data[sent : sent + 200_000])
            except BlockingIOError:
                pass
            self.dispatcher.run_once()
            try:
                got += sink.recv(300_000)
            except BlockingIOError:
                pass
        return got


@pytest.fixture
def bench() -> Iterator[Bench]:
    dispatcher = Dispatcher()
    made = Bench(dispatcher)
    yield made
    for peer in made.peers:
        peer.close()
    for connection in (made.near, made.far):
        connection.close_stream()
    dispatcher.close()


def test_bytes_go_by_the_kernel_and_are_counted(bench: Bench) -> None:
    tunnel = start_tunnel(bench.stream)
    assert tunnel is not None
    data = bytes(range(256)) * 8000
    assert bench.pass_on(data) == data
    assert bench.pass_on(b"back", there=False) == b"back"
    assert tunnel.statistics()["moved"] == [len(data), 4]
    assert tunnel.statistics()["spliced"][0] > 0
    assert [sink.seen for sink in bench.sinks] == [b"", b""]
    tunnel.finish(bench.info)
    assert (bench.info.bytes_received, bench.info.bytes_sent) == (5 + len(data), 7 + 4)
    assert (bench.upstream.bytes_sent, bench.upstream.bytes_received) == (7 + len(data), 5 + 4)


def test_filters_that_want_the_bytes_keep_them(bench: Bench) -> None:
    for what in ("decode_path", "encode_path"):
        setattr(bench.stream, what, object())
        assert start_tunnel(bench.stream) is None
        setattr(bench.stream, what, None)
    bench.stream.terminal = SimpleNamespace()
    assert start_tunnel(bench.stream) is None
    bench.stream.terminal = SimpleNamespace(begin_tunnel=lambda: None)
    assert start_tunnel(bench.stream) is None
    bench.stream.terminal = None
    assert start_tunnel(bench.stream) is None


def test_other_network_filters_keep_them_too(bench: Bench) -> None:
    bench.far.add_filter(Sink())
    assert start_tunnel(bench.stream) is None
