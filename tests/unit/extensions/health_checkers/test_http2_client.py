"""The HTTP/2 client of checks against hosts that do as they like (ordinary ones are in the differential tests)."""

from __future__ import annotations

from typing import Any

import h2.config
import h2.connection
import h2.settings
import pytest

from proxeny.extensions.health_checkers.http2_client import Http2Client
from proxeny.kernel.buffer import Buffer
from proxeny.kernel.headers import HeaderMap
from proxeny.network.filter import ConnectionEvent


class FakeConnection:
    """A connection that is written to and closed."""

    def __init__(self) -> None:
        self.fd = 1
        self.connected_ns = 0
        self.written = b""
        self.client: Any = None

    def add_filter(self, client: Any) -> None:
        self.client = client

    def add_connection_callbacks(self, client: Any) -> None:
        assert client is self.client

    def connect(self) -> None:
        assert self.connected_ns == 0

    def initialize_read_filters(self) -> None:
        assert self.connected_ns

    def write(self, data: bytes, end_stream: bool) -> None:
        assert self.fd >= 0
        self.written += data

    def close(self, close_type: Any) -> None:
        if self.fd >= 0:
            self.fd = -1
            self.client.on_event(ConnectionEvent.LOCAL_CLOSE)


class Check:
    """One client, its owner, and a host's side of HTTP/2."""

    def __init__(self, connect: bool = True) -> None:
        self.happened: list[Any] = []
        self.connection = FakeConnection()
        self.client = Http2Client(self.connection, self, 8)  # type: ignore[arg-type]
        self.host = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.host.initiate_connection()
        if connect:
            self.request()
            self.connection.connected_ns = 1
            self.client.on_event(ConnectionEvent.CONNECTED)

    def request(self, body: bytes = b"") -> None:
        head = [(b":method", b"GET"), (b":authority", b"a"), (b":path", b"/"), (b":scheme", b"http")]
        self.client.request(HeaderMap(head), body)

    def feed(self, data: bytes, size: int = 1 << 20) -> None:
        """Give the client bytes, so many at a time."""
        for at in range(0, len(data), size):
            self.client.on_data(Buffer(data[at : at + size]), False)

    def answer(self, stream: int = 1, end: bool = True) -> bytes:
        """The host's frames of a response, its settings before the first."""
        self.host.receive_data(self.connection.written)
        self.connection.written = b""
        self.host.send_headers(stream, [(":status", "200")], end_stream=end)
        return self.host.data_to_send()

    def on_response(self, headers: HeaderMap, body: bytes, trailers: Any, reusable: bool) -> None:
        self.happened.append((headers.get(b":status"), body, reusable))

    def on_failure(self, goes: bool) -> None:
        self.happened.append(("failed", goes))

    def on_closed(self) -> None:
        self.happened.append("closed")


GOAWAY = b"\0\0\x08\x07\0\0\0\0\0" + b"\0\0\0\x01" + b"\0\0\0\0"
BAD_GOAWAY = GOAWAY[:-1] + b"\x02"


@pytest.mark.parametrize("size", [1, 5, 1 << 20])
def test_bytes_come_as_they_like(size: int) -> None:
    one = Check()
    one.feed(one.answer(), size)
    assert one.happened == [(b"200", b"", True)]
    one.request()
    one.feed(one.answer(3), size)
    assert len(one.happened) == 2


@pytest.mark.parametrize("size", [1, 1 << 20])
def test_a_graceful_goaway_lets_the_check_finish(size: int) -> None:
    one = Check()
    one.feed(GOAWAY + one.answer(), size)
    assert one.happened == [(b"200", b"", False)]


def test_any_other_goaway_fails_it() -> None:
    one = Check()
    one.feed(one.answer(end=False) + BAD_GOAWAY)
    assert one.happened == [("failed", True)]
    assert one.connection.fd == -1


def test_a_goaway_between_checks() -> None:
    one = Check()
    one.feed(one.answer() + GOAWAY)
    assert one.happened == [(b"200", b"", True), "closed"]


def test_only_so_much_of_a_body_is_kept() -> None:
    one = Check()
    data = one.answer(end=False)
    one.host.send_data(1, b"x" * 1000)
    one.host.send_data(1, b"y" * 1000, end_stream=True)
    one.feed(data + one.host.data_to_send())
    assert one.happened == [(b"200", b"xxxxxxxx", True)]


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"\xff\xff\xff\0\0\0\0\0\x01" + b"x" * 100,
        b"\0\0\x01\x01\x04\0\0\0\x01\xff",
        b"\0\0\x04\x08\0\0\0\0\0\0\0\0\0",
        b"\0\0\x03\x04\0\0\0\0\0abc",
    ],
)
def test_nonsense_fails_the_check(data: bytes) -> None:
    one = Check()
    one.feed(data)
    assert one.happened == [("failed", True)]
    assert one.connection.fd == -1


def test_a_reset_keeps_the_connection() -> None:
    one = Check()
    data = one.answer(end=False)
    one.host.reset_stream(1)
    one.feed(data + one.host.data_to_send())
    assert one.happened == [("failed", False)]
    one.request()
    one.feed(one.answer(3))
    assert one.happened[1:] == [(b"200", b"", True)]


def test_a_host_that_lets_nothing_begin() -> None:
    one = Check()
    one.host.update_settings({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 0})
    one.feed(one.answer())
    one.request()
    assert one.happened == [(b"200", b"", True)]
    # The check times out, and is given up.
    one.client.reset()
    one.client.close()
    assert one.happened == [(b"200", b"", True)]


def test_closed_before_it_was_connected() -> None:
    one = Check(connect=False)
    one.request()
    one.connection.fd = -1
    one.client.on_event(ConnectionEvent.REMOTE_CLOSE)
    assert one.happened == [("failed", True)]
