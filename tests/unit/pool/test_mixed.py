"""The pool of ``auto_config``: what each handshake says decides; the handshakes' outcome is put in here."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.pool.conftest import Request, World
from tests.unit.pool.http2_upstream import Http2Upstream
from tests.unit.pool.test_http2 import EMPTY, http2

from proxeny.pool.failure import CancelPolicy, PoolFailureReason
from proxeny.pool.mixed import MixedConnPool

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Pool(MixedConnPool):
    """Its handshakes say ``alpn``; None: there is no TLS."""

    __slots__ = ("alpn",)

    alpn: str | None

    def _instantiate_client(self) -> Any:
        client = super()._instantiate_client()
        client.connection.connection_info.ssl = None if self.alpn is None else SimpleNamespace(alpn=self.alpn)
        return client


class Negotiating(World):
    """A world with such a pool."""

    def __init__(self, alpn: str | None, port: int | None = None) -> None:
        super().__init__()
        self.make_cluster(port, **http2())
        self.pool = Pool(self.dispatcher, self.host, 0)
        self.pool.alpn = alpn

    def ask(self, request: Request | None = None, options: tuple[Any, ...] = ()) -> Request:
        request = request or Request()
        self.handle = self.pool.new_stream(request, request)
        return request

    def answered_by_http1(self, *requests: Request) -> None:
        def answer() -> bool:
            for index, received in enumerate(self.upstream.received):
                if received.endswith(b"\r\n\r\n"):
                    self.upstream.received[index] = b""
                    self.upstream.send(index, OK)
            return all(request.done for request in requests)

        self.until(answer)


def test_http2(new_request: Any) -> None:
    world = Negotiating("h2")
    upstream = Http2Upstream(world)
    requests = [world.ask() for _ in range(3)]
    upstream.wait(3)
    for i in range(3):
        upstream.answer(i)
    upstream.until(lambda: all(request.done for request in requests))
    assert world.stats("upstream_cx_total", "upstream_cx_http2_total", "upstream_cx_http1_total") == (1, 1, 0)
    assert world.pool.statistics() == {**EMPTY, "ready": 1}
    # As its SETTINGS say.
    assert world.host.known_streams == 100
    world.close()


@pytest.mark.parametrize("alpn", ["http/1.1", "", None])
def test_http1(alpn: str | None) -> None:
    world = Negotiating(alpn)
    requests = [world.ask() for _ in range(3)]
    # One connection for all, until its handshake tells otherwise.
    assert world.pool.statistics() == {**EMPTY, "connecting": 1, "pending": 3}
    world.answered_by_http1(*requests)
    assert [request.body for request in requests] == [b"ok"] * 3
    assert world.host.known_streams == 1
    assert world.stat("upstream_cx_http2_total") == 0
    assert world.stat("upstream_cx_total") == world.stat("upstream_cx_http1_total")
    assert world.stats("upstream_rq_active", "upstream_rq_pending_active") == (0, 0)
    world.close()


def test_what_a_host_speaks_is_remembered() -> None:
    world = Negotiating("http/1.1")
    world.answered_by_http1(world.ask())
    idle = world.pool.statistics()["ready"]
    more = [world.ask() for _ in range(idle + 2)]
    assert world.pool.statistics()["connecting"] == 2
    world.answered_by_http1(*more)
    world.close()


def test_a_refused_connection_fails_who_waits() -> None:
    world = Negotiating("h2", port=1)
    requests = [world.ask() for _ in range(2)]
    world.until(lambda: all(request.done for request in requests))
    assert [request.failure for request in requests if request.failure] == [
        (PoolFailureReason.REMOTE_CONNECTION_FAILURE, requests[0].failure[1])  # type: ignore[index]
    ] * 2
    assert world.pool.statistics() == EMPTY
    assert world.stats("upstream_cx_connect_fail", "upstream_cx_active") == (1, 0)
    world.close()


def test_a_connection_nobody_waits_for_any_more() -> None:
    world = Negotiating("h2")
    world.ask()
    handle: Any = world.handle
    handle.cancel(CancelPolicy.CLOSE_EXCESS)
    assert world.pool.statistics() == EMPTY
    world.ask()
    handle = world.handle
    handle.cancel()
    world.until(lambda: world.pool.statistics() == {**EMPTY, "ready": 1})
    assert world.stats("upstream_cx_total", "upstream_cx_http2_total", "upstream_rq_cancelled") == (2, 1, 2)
    world.close()
