"""Tunnels of the TCP proxy, without sockets: a pool and a session that note what happens."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2

from proxeny.extensions.network_filters.tcp_proxy.tunnel import RESPONSE_HEADERS, Tunneling, TunnelUpstream
from proxeny.http.codec import CodecError, StreamResetReason
from proxeny.kernel.buffer import Buffer
from proxeny.kernel.headers import HeaderMap
from proxeny.network.address import ip_address
from proxeny.network.filter import ConnectionEvent
from proxeny.network.stream_info import ConnectionInfo, StreamInfo
from proxeny.pool.failure import PoolFailureReason

LOCAL = ip_address("127.0.0.1")
FAILED = ("failed", PoolFailureReason.REMOTE_CONNECTION_FAILURE)


class Encoder:
    """The request's side of a stream."""

    def __init__(self, framed: bool, error: CodecError | None = None) -> None:
        self.framed = framed
        self.error = error
        self.callbacks: Any = None
        self.sent: list[Any] = []

    @property
    def stream(self) -> Encoder:
        return self

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> CodecError | None:
        self.sent.append((headers.items(), end_stream))
        return self.error

    def encode_data(self, data: Buffer, end_stream: bool) -> None:
        self.sent.append((data.take(), end_stream))

    def reset_stream(self, reason: StreamResetReason) -> None:
        self.sent.append(reason)

    def read_disable(self, disable: bool) -> None:
        self.sent.append(("read_disable", disable))


class Session:
    """A TCP proxy as its tunnel sees it."""

    def __init__(self, framed: bool = True, error: CodecError | None = None, **fields: Any) -> None:
        message = tcp_proxy_pb2.TcpProxy.TunnelingConfig(hostname="a.test:80", **fields)
        self.happened: list[Any] = []
        self.connection = SimpleNamespace(stream_info=StreamInfo(ConnectionInfo(LOCAL, LOCAL, 1), 0.0, 0))
        socket = SimpleNamespace(factory=SimpleNamespace(secure=False))
        stats = SimpleNamespace(inc=lambda slot: None)
        self.host: Any = SimpleNamespace(transport_socket=socket, cluster=SimpleNamespace(stats=stats))
        self.encoder = Encoder(framed, error)
        self.tunnel = TunnelUpstream(self, Tunneling(message), self.host)  # type: ignore[arg-type]
        self.cancelled: list[Any] = []
        self.waits = False

    def start(self) -> TunnelUpstream:
        self.tunnel.start(self)
        return self.tunnel

    def new_stream(self, decoder: Any, callbacks: Any) -> Any:
        if self.waits:
            return SimpleNamespace(cancel=self.cancelled.append)
        callbacks.on_pool_ready(self.encoder, self.host, SimpleNamespace(connection="its connection"))
        return None

    def on_tunnel_open(self, tunnel: TunnelUpstream) -> None:
        self.happened.append(("open", tunnel.connection))

    def on_pool_failure(self, reason: PoolFailureReason, details: str, host: Any) -> None:
        self.happened.append(("failed", reason))

    def on_upstream_data(self, data: Buffer, end_stream: bool) -> None:
        self.happened.append((data.take(), end_stream))

    def on_upstream_closed(self, event: ConnectionEvent) -> None:
        self.happened.append(event)

    def read_disable_downstream(self, disable: bool) -> None:
        self.happened.append(("read_disable", disable))


def status(code: bytes) -> HeaderMap:
    return HeaderMap([(b":status", code)])


def test_both_directions_to_their_ends() -> None:
    session = Session()
    tunnel = session.start()
    assert session.encoder.sent == [([(b":method", b"CONNECT"), (b":authority", b"a.test:80")], False)]
    tunnel.decode_headers(status(b"200"), False)
    tunnel.send(Buffer(b"ping"), False)
    tunnel.decode_data(Buffer(b"pong"), True)
    tunnel.send(Buffer(), True)
    assert session.encoder.sent[1:] == [(b"ping", False), (b"", True)]
    assert session.happened == [("open", "its connection"), (b"pong", True), ConnectionEvent.LOCAL_CLOSE]
    # What comes afterwards is nobody's.
    tunnel.on_downstream_closed(ConnectionEvent.REMOTE_CLOSE, False)
    tunnel.send(Buffer(b"late"), False)
    assert len(session.encoder.sent) == 3


def test_post() -> None:
    session = Session(use_post=True, post_path="/there")
    session.start()
    assert session.encoder.sent[0][0] == [
        (b":method", b"POST"),
        (b":authority", b"a.test:80"),
        (b":path", b"/there"),
        (b":scheme", b"http"),
    ]


@pytest.mark.parametrize(
    ("framed", "code", "end_stream", "opens"),
    [
        (True, b"200", False, True),
        (True, b"200", True, False),
        (True, b"201", False, False),
        (True, b"403", False, False),
        (False, b"201", False, True),
        (False, b"302", False, False),
    ],
)
def test_what_opens_a_tunnel(framed: bool, code: bytes, end_stream: bool, opens: bool) -> None:
    session = Session(framed)
    session.start().decode_headers(status(code), end_stream)
    assert session.happened == [("open", "its connection") if opens else FAILED]
    assert (StreamResetReason.LOCAL_RESET in session.encoder.sent) is not opens


def test_the_response_is_kept_for_logs() -> None:
    session = Session(propagate_response_headers=True)
    session.start().decode_headers(status(b"403"), False)
    kept = session.connection.stream_info.filter_state[RESPONSE_HEADERS]
    assert kept.serialize_as_proto() == {"headers": [{"key": ":status", "value": "403"}]}


def test_trailers_end_the_bytes() -> None:
    session = Session(propagate_response_trailers=True)
    tunnel = session.start()
    tunnel.decode_headers(status(b"200"), False)
    tunnel.decode_trailers(HeaderMap([(b"a", b"b")]))
    assert session.happened[1:] == [(b"", True)]
    assert len(session.connection.stream_info.filter_state) == 1


@pytest.mark.parametrize("reason", [StreamResetReason.REMOTE_RESET, StreamResetReason.CONNECTION_TERMINATION])
def test_resets(reason: StreamResetReason) -> None:
    session = Session()
    session.start().on_reset_stream(reason, "")
    assert session.happened == [FAILED]
    session = Session()
    tunnel = session.start()
    tunnel.decode_headers(status(b"200"), False)
    tunnel.on_reset_stream(reason, "")
    assert session.happened[1:] == [ConnectionEvent.LOCAL_CLOSE]
    assert bool(session.connection.stream_info.flags) is (reason is StreamResetReason.REMOTE_RESET)


def test_a_head_that_cannot_be_sent() -> None:
    session = Session(error=CodecError(503, "", "missing"))
    session.start()
    assert session.happened == [FAILED]


def test_the_session_ends_before_the_tunnel_is_open() -> None:
    session = Session()
    session.waits = True
    session.start().cancel()
    assert len(session.cancelled) == 1
    session = Session()
    session.start().cancel()
    assert session.encoder.sent[-1] is StreamResetReason.LOCAL_RESET
    assert session.encoder.callbacks is None
    assert session.happened == []


def test_watermarks() -> None:
    session = Session()
    tunnel = session.start()
    tunnel.decode_headers(status(b"200"), False)
    tunnel.read_disable(True)
    tunnel.on_above_write_buffer_high_watermark()
    tunnel.on_below_write_buffer_low_watermark()
    assert session.encoder.sent[-1] == ("read_disable", True)
    assert session.happened[1:] == [("read_disable", True), ("read_disable", False)]
