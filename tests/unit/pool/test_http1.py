"""The HTTP/1 pool on real sockets; the expected statistics of closes were read off Envoy 1.40."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.pool.conftest import Request

from proxeny.http.codec import StreamResetReason
from proxeny.kernel.buffer import Buffer
from proxeny.network.address import ip_address
from proxeny.network.socket_options import SourceAddressOption
from proxeny.pool.failure import CancelPolicy, PoolFailureReason
from proxeny.upstream.endpoints import FAILED_ACTIVE_HC

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
IDLE = {"ready": 1, "busy": 0, "connecting": 0, "pending": 0}
EMPTY = {"ready": 0, "busy": 0, "connecting": 0, "pending": 0}


def limits(**values: int) -> dict[str, Any]:
    return {"circuit_breakers": {"thresholds": [values]}}


def test_a_connection_is_used_again(world: Any) -> None:
    first = world.answered(0)
    second = world.answered(0)
    assert (first.status, first.body, second.body) == (b"200", b"ok", b"ok")
    assert first.connection is second.connection
    assert world.handle is None
    assert world.stats("upstream_cx_total", "upstream_cx_active", "upstream_cx_http1_total") == (1, 1, 1)
    assert world.stats("upstream_rq_total", "upstream_rq_active", "upstream_rq_pending_total") == (2, 0, 1)
    assert world.stat("upstream_rq_pending_active") == 0
    assert world.cluster.info.stats.count(world.cluster.info.stats.size - 3) == 1  # upstream_cx_connect_ms
    assert (world.host_stat("cx_total"), world.host_stat("rq_total"), world.host_stat("rq_active")) == (1, 2, 0)
    assert world.pool_state() == IDLE


def test_concurrent_requests_get_connections_of_their_own(world: Any) -> None:
    requests = [world.ask() for _ in range(3)]
    world.until(lambda: len(world.upstream.received) == 3 and all(world.upstream.received))
    assert world.stat("upstream_rq_active") == 3
    for i in range(3):
        world.upstream.send(i, OK)
    world.until(lambda: all(r.done for r in requests))
    assert world.stat("upstream_cx_total") == 3
    assert world.pool_state()["ready"] == 3


def test_connection_refused_fails_all_who_wait(world: Any, new_request: Any) -> None:
    closed = socket.create_server(("127.0.0.1", 0))
    port = closed.getsockname()[1]
    closed.close()
    world.make_cluster(port=port)
    requests = [world.ask() for _ in range(2)]
    world.until(lambda: all(r.done for r in requests))
    assert requests[0].failure == (
        PoolFailureReason.REMOTE_CONNECTION_FAILURE,
        "delayed connect error: Connection refused",
    )
    assert world.stats("upstream_rq_pending_failure_eject", "upstream_rq_pending_active") == (2, 0)
    world.until(lambda: world.pool_state() == EMPTY)
    assert world.stat("upstream_cx_connect_fail") == world.stat("upstream_cx_total") == 2
    assert world.stat("upstream_cx_active") == 0
    assert world.host_stat("cx_connect_fail") == 2


def test_connect_timeout(world: Any) -> None:
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    # With the accept queue full, further handshakes do not complete.
    fillers = [socket.socket() for _ in range(4)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(full.getsockname())
    world.make_cluster(port=full.getsockname()[1], connect_timeout="0.03s")
    request = world.ask()
    world.until(lambda: request.done)
    assert request.failure is not None
    assert request.failure[0] is PoolFailureReason.TIMEOUT
    assert world.stats("upstream_cx_connect_timeout", "upstream_cx_connect_fail") == (1, 1)
    assert world.stats("upstream_cx_destroy_local", "upstream_cx_destroy_remote") == (1, 0)
    for filler in [*fillers, full]:
        filler.close()


@pytest.mark.parametrize(
    ("response", "status", "body"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nabc", b"200", b"abc"),
        (b"HTTP/1.0 200 OK\r\n\r\nabc", b"200", b"abc"),
    ],
)
def test_a_body_that_ends_at_fin_is_complete(world: Any, response: bytes, status: bytes, body: bytes) -> None:
    request = world.ask()
    world.until(lambda: world.upstream.received and world.upstream.received[0])
    world.upstream.send(0, response)
    world.upstream.finish(0)
    world.until(lambda: request.done)
    assert (request.status, request.body, request.complete, request.reset) == (status, body, True, None)
    assert world.pool_state() == EMPTY
    assert world.stats("upstream_cx_destroy", "upstream_cx_destroy_remote") == (1, 1)
    assert world.stats("upstream_cx_destroy_with_active_rq", "upstream_cx_protocol_error") == (0, 0)
    assert world.stats("upstream_rq_active", "upstream_cx_active") == (0, 0)


@pytest.mark.parametrize(
    ("response", "reason", "protocol_error"),
    [
        (b"", StreamResetReason.CONNECTION_TERMINATION, 0),
        (b"HTTP/1.1 200 OK\r\nfoo: b", StreamResetReason.PROTOCOL_ERROR, 1),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", StreamResetReason.PROTOCOL_ERROR, 1),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab", StreamResetReason.PROTOCOL_ERROR, 1),
    ],
)
def test_a_close_within_a_response_resets(
    world: Any, response: bytes, reason: StreamResetReason, protocol_error: int
) -> None:
    request = world.ask()
    world.until(lambda: world.upstream.received and world.upstream.received[0])
    if response:
        world.upstream.send(0, response)
    world.upstream.finish(0)
    world.until(lambda: request.done)
    assert request.reset is not None
    assert request.reset[0] is reason
    world.until(lambda: world.pool_state() == EMPTY)
    assert world.stats("upstream_cx_destroy_remote_with_active_rq", "upstream_cx_destroy_remote") == (1, 1)
    assert world.stats("upstream_cx_protocol_error", "upstream_rq_active") == (protocol_error, 0)


def test_garbage_is_a_protocol_error(world: Any) -> None:
    request = world.ask()
    world.until(lambda: world.upstream.received and world.upstream.received[0])
    world.upstream.send(0, b"garbage\r\n\r\n")
    world.until(lambda: request.done)
    assert request.reset is not None
    assert request.reset[0] is StreamResetReason.PROTOCOL_ERROR
    assert world.stats("upstream_cx_destroy_local_with_active_rq", "upstream_cx_protocol_error") == (1, 1)


def test_bytes_behind_a_response_end_the_connection(world: Any) -> None:
    request = world.answered(0, OK + b"EXTRA")
    assert (request.body, request.reset) == (b"ok", None)
    assert world.pool_state() == EMPTY
    assert world.stats("upstream_cx_protocol_error", "upstream_cx_destroy_local") == (1, 1)
    assert world.stats("upstream_cx_destroy_with_active_rq", "upstream_cx_close_notify") == (0, 0)


@pytest.mark.parametrize(
    ("unsolicited", "protocol_error"), [(b"UNSOLICITED", 1), (b"HTTP/1.1 408 Request Timeout\r\n\r\n", 0)]
)
def test_unsolicited_bytes_drop_an_idle_connection(world: Any, unsolicited: bytes, protocol_error: int) -> None:
    world.answered(0)
    world.upstream.send(0, unsolicited)
    world.until(lambda: world.pool_state() == EMPTY)
    assert world.stats("upstream_cx_protocol_error", "upstream_cx_destroy_local") == (protocol_error, 1)
    assert world.answered(1).body == b"ok"


def test_a_fin_drops_an_idle_connection(world: Any) -> None:
    world.answered(0)
    world.upstream.finish(0)
    world.until(lambda: world.pool_state() == EMPTY)
    assert world.stats("upstream_cx_destroy_remote", "upstream_cx_destroy_with_active_rq") == (1, 0)


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ],
)
def test_connection_close_is_obeyed(world: Any, response: bytes) -> None:
    world.answered(0, response)
    assert world.pool_state() == EMPTY
    assert world.stats("upstream_cx_close_notify", "upstream_cx_destroy_local") == (1, 1)
    assert world.stat("upstream_cx_destroy_with_active_rq") == 0
    world.until(lambda: world.upstream.closed[0])


def test_max_requests_per_connection(world: Any) -> None:
    world.make_cluster(max_requests_per_connection=2)
    world.answered(0)
    world.answered(0)
    assert world.pool_state() == EMPTY
    assert world.stat("upstream_cx_max_requests") == 1
    world.answered(1)
    assert world.stat("upstream_cx_total") == 2


def test_idle_timeout(world: Any) -> None:
    world.make_cluster(common_http_protocol_options={"idle_timeout": "0.02s"})
    world.answered(0)
    world.until(lambda: world.pool_state() == EMPTY)
    assert world.stats("upstream_cx_idle_timeout", "upstream_cx_destroy_local") == (1, 1)
    world.until(lambda: world.upstream.closed[0])


def test_idle_timeout_spares_a_slow_response(world: Any) -> None:
    world.make_cluster(common_http_protocol_options={"idle_timeout": "0.02s"})
    request = world.ask()
    world.until(lambda: world.upstream.received and world.upstream.received[0])
    fired = []
    timer = world.dispatcher.create_timer(lambda: fired.append(1))
    timer.enable(60)
    world.until(lambda: fired)
    world.upstream.send(0, OK)
    world.until(lambda: request.done)
    assert request.complete


def test_max_connection_duration(world: Any) -> None:
    world.make_cluster(common_http_protocol_options={"max_connection_duration": "0.03s"})
    world.answered(0)
    world.until(lambda: world.pool_state() == EMPTY)
    assert world.stat("upstream_cx_max_duration_reached") == 1


def test_max_connections_queues_and_then_serves(world: Any) -> None:
    world.make_cluster(**limits(max_connections=1))
    first, second = world.ask(), world.ask()
    world.until(lambda: world.upstream.received and world.upstream.received[0])
    # Once when it was asked for, and again when the only connection was given to the first.
    assert world.stats("upstream_cx_overflow", "upstream_rq_pending_active") == (2, 1)
    assert world.stat("circuit_breakers.default.cx_open") == 1
    world.upstream.received[0] = b""
    world.upstream.send(0, OK)
    world.until(lambda: first.done and world.upstream.received[0])
    world.upstream.send(0, OK)
    world.until(lambda: second.done)
    assert (second.body, world.stat("upstream_cx_total")) == (b"ok", 1)


def test_max_pending_requests(world: Any) -> None:
    world.make_cluster(**limits(max_connections=1, max_pending_requests=1))
    world.ask()
    overflowing = world.ask()
    assert overflowing.failure == (PoolFailureReason.OVERFLOW, "")
    assert world.stats("upstream_rq_pending_overflow", "circuit_breakers.default.rq_pending_open") == (1, 1)


def test_max_requests(world: Any) -> None:
    world.make_cluster(**limits(max_requests=1))
    world.answered(0)
    world.ask()
    overflowing = world.ask()
    world.until(lambda: overflowing.done)
    assert overflowing.failure == (PoolFailureReason.OVERFLOW, "")
    assert world.stats("upstream_rq_active_overflow", "upstream_rq_pending_overflow") == (1, 0)
    assert world.stat("circuit_breakers.default.rq_open") == 1


def test_an_answer_before_the_request_is_sent_closes_the_connection(world: Any, new_request: Any) -> None:
    request = world.ask(new_request(head_only=False))
    world.until(lambda: world.upstream.received and world.upstream.received[0])
    world.upstream.send(0, OK)
    world.until(lambda: request.done)
    assert (request.complete, request.reset) == (True, None)
    world.until(lambda: world.pool_state() == EMPTY)
    assert world.stats("upstream_cx_destroy_local_with_active_rq", "upstream_rq_active") == (1, 0)


def test_giving_a_request_up_closes_its_connection(world: Any) -> None:
    request = world.ask()
    world.until(lambda: world.upstream.received and world.upstream.received[0])
    request.encoder.stream.callbacks = None
    request.encoder.stream.reset_stream(StreamResetReason.LOCAL_RESET)
    assert request.reset is None
    assert world.pool_state() == EMPTY
    assert world.stats("upstream_cx_destroy_local_with_active_rq", "upstream_rq_active") == (1, 0)
    world.until(lambda: world.upstream.closed[0])


def test_a_waiting_request_can_be_cancelled(world: Any) -> None:
    request = world.ask()
    world.handle.cancel()
    world.until(lambda: world.pool_state() == IDLE)
    assert not request.done
    assert request.encoder is None
    assert world.stats("upstream_rq_cancelled", "upstream_rq_pending_active", "upstream_rq_total") == (1, 0, 0)
    # The connection that was on its way serves the next one.
    world.answered(0)


def test_cancel_with_close_excess(world: Any) -> None:
    world.ask()
    world.handle.cancel(CancelPolicy.CLOSE_EXCESS)
    assert world.pool_state() == EMPTY


def test_a_request_from_within_the_end_of_another(world: Any) -> None:
    chained: list[Any] = []
    request = world.ask()
    request.on_complete = lambda: chained.append(world.ask())
    world.until(lambda: world.upstream.received and world.upstream.received[0])
    world.upstream.send(0, OK)
    world.until(lambda: chained and chained[0].encoder is not None)
    index = len(world.upstream.connections) - 1
    world.upstream.send(index if world.upstream.received[index].count(b"GET") else 0, OK)
    world.until(lambda: chained[0].done)
    assert chained[0].body == b"ok"


def test_drain_closes_idle_now_and_busy_after_its_request(world: Any) -> None:
    world.answered(0)
    pool = world.cluster.http_pool(world.host, 0)
    busy = world.ask()
    other = world.ask()
    world.until(lambda: len(world.upstream.received) == 2 and all(world.upstream.received))
    world.upstream.send(1, OK)
    world.until(lambda: other.done)
    drained: list[int] = []
    pool.drain()
    pool.add_drained_callback(lambda: drained.append(1))
    assert pool.statistics() == {"ready": 0, "busy": 1, "connecting": 0, "pending": 0}
    assert not drained
    world.upstream.send(0, OK)
    world.until(lambda: busy.done)
    assert busy.body == b"ok"
    assert drained
    assert pool.statistics() == EMPTY


def test_hosts_that_go_drain_their_pools(world: Any) -> None:
    world.answered(0)
    pool = world.cluster.http_pool(world.host, 0)
    world.cluster.update_hosts([])
    assert pool.statistics() == EMPTY
    assert world.cluster.choose_host(None) is None
    assert world.stat("upstream_cx_none_healthy") == 1


def test_byte_counters(world: Any) -> None:
    world.answered(0)
    assert world.stat("upstream_cx_rx_bytes_total") == len(OK)
    assert world.stat("upstream_cx_tx_bytes_total") > 0


def test_chunked_with_trailers_in_pieces(world: Any) -> None:
    world.make_cluster(http_protocol_options={"enable_trailers": True})
    request = world.ask()
    world.until(lambda: world.upstream.received and world.upstream.received[0])
    for piece in (b"HTTP/1.1 200 OK\r\ntransfer-encod", b"ing: chunked\r\n\r\n3\r\nab", b"c\r\n0\r\nx: y\r\n", b"\r\n"):
        world.upstream.send(0, piece)
        world.dispatcher.run_once()
    world.until(lambda: request.done)
    assert (request.body, request.trailers) == (b"abc", [(b"x", b"y")])
    assert world.pool_state() == IDLE


def test_an_upstream_that_answers_without_reading_is_not_used_again(world: Any, new_request: Any) -> None:
    world.make_cluster(per_connection_buffer_limit_bytes=65536)
    world.upstream.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    request = world.ask(new_request(head_only=False))
    world.until(lambda: world.upstream.received and world.upstream.received[0])
    world.dispatcher.remove_reader(world.upstream.connections[0])
    request.encoder.encode_data(Buffer(bytes(16 * 1024 * 1024)), True)
    world.upstream.send(0, OK)
    world.until(lambda: request.done)
    assert request.complete
    world.until(lambda: world.pool_state() == EMPTY)
    assert world.stats("upstream_cx_destroy_with_active_rq", "upstream_rq_active") == (0, 0)


def test_requests_of_one_source_share_connections(world: Any) -> None:
    options = (SourceAddressOption(ip_address("127.0.0.2")),)
    seen = []
    for own in (options, options, ()):
        request = world.ask(options=own)
        index = 1 if own == () else 0
        world.until(lambda index=index: len(world.upstream.received) > index and world.upstream.received[index])
        world.upstream.received[index] = b""
        world.upstream.send(index, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        world.until(lambda request=request: request.done)
        seen.append(request.connection)
    assert seen[0] is seen[1] is not seen[2]
    assert [peer.getpeername()[0] for peer in world.upstream.connections] == ["127.0.0.2", "127.0.0.1"]


def test_connections_of_all_priorities_count_for_a_host(world: Any) -> None:
    world.make_cluster(circuit_breakers={"per_host_thresholds": [{"max_connections": 1}]})
    first = world.ask()
    world.until(lambda: world.upstream.received and world.upstream.received[0])
    waiting = world.ask()
    assert world.stats("upstream_cx_overflow", "upstream_rq_pending_active", "upstream_cx_total") == (1, 1, 1)
    limit = world.host.connection_limit(0)
    assert (limit.count, limit.max) == (1, 1)
    # A priority without a limit of its own counts too.
    high = Request()
    world.cluster.http_pool(world.host, 1).new_stream(high, high)
    assert limit.count == 2
    world.upstream.send(0, OK)
    world.until(lambda: first.done and waiting.encoder is not None)
    for pool in list(world.host.http_pools.values()):
        pool.drain()
    waiting.codec_client.close()
    world.until(lambda: high.codec_client is not None)
    high.codec_client.close()
    world.until(lambda: limit.count == 0)


def test_preconnect_keeps_a_connection_ahead(world: Any) -> None:
    world.make_cluster(preconnect_policy={"per_upstream_preconnect_ratio": 2})
    first = world.ask()
    assert world.pool_state() == {"ready": 0, "busy": 0, "connecting": 2, "pending": 1}
    world.until(lambda: world.pool_state() == {"ready": 1, "busy": 1, "connecting": 0, "pending": 0})
    second = world.ask()
    assert world.pool_state() == {"ready": 0, "busy": 2, "connecting": 2, "pending": 0}
    world.until(lambda: world.pool_state()["ready"] == 2 and sum(map(bool, world.upstream.received)) == 2)
    for index, data in enumerate(world.upstream.received):
        if data:
            world.upstream.send(index, OK)
    world.until(lambda: first.done and second.done)
    assert (world.pool_state()["ready"], world.stat("upstream_cx_total")) == (4, 4)


def test_preconnect_spares_hosts_that_are_not_healthy(world: Any) -> None:
    world.make_cluster(preconnect_policy={"per_upstream_preconnect_ratio": 3})
    world.host.set_health_flags(FAILED_ACTIVE_HC)
    world.ask()
    assert world.pool_state()["connecting"] == 1


def test_preconnect_opens_three_at_most_at_a_time(world: Any) -> None:
    world.make_cluster(preconnect_policy={"per_upstream_preconnect_ratio": 3})
    for _ in range(3):
        world.ask()
    assert world.pool_state() == {"ready": 0, "busy": 0, "connecting": 9, "pending": 3}


def test_a_cancelled_request_leaves_what_others_are_expected_to_need(world: Any) -> None:
    world.make_cluster(preconnect_policy={"per_upstream_preconnect_ratio": 2})
    world.ask()
    world.ask()
    assert world.pool_state()["connecting"] == 4
    world.handle.cancel(CancelPolicy.CLOSE_EXCESS)
    assert world.pool_state() == {"ready": 0, "busy": 0, "connecting": 3, "pending": 1}


def test_a_pool_per_downstream_connection(world: Any) -> None:
    world.make_cluster(connection_pool_per_downstream_connection=True)
    pools = []
    for number in (1, 2, 1):
        context = SimpleNamespace(downstream_connection=SimpleNamespace(id=number))
        pools.append(world.cluster.http_pool(world.host, 0, None, (), context))
        request = Request()
        pools[-1].new_stream(request, request)
    assert pools[0] is pools[2]
    assert pools[0] is not pools[1]
    assert len(world.host.http_pools) == 2
    world.until(lambda: len(world.upstream.connections) == 3)
    for pool in (pools[0], pools[1]):
        for client in [*pool._busy, *pool._ready]:
            client.close()
    assert world.host.http_pools == {}


def test_pools_are_limited(world: Any) -> None:
    world.make_cluster(
        connection_pool_per_downstream_connection=True, **limits(max_connection_pools=2, track_remaining=True)
    )
    contexts = [SimpleNamespace(downstream_connection=SimpleNamespace(id=number)) for number in range(3)]
    requests = [Request() for _ in contexts]
    for request, context in zip(requests, contexts, strict=True):
        world.cluster.http_pool(world.host, 0, None, (), context).new_stream(request, request)
    assert [request.failure for request in requests] == [None, None, (PoolFailureReason.NO_POOL, "")]
    assert world.stats("upstream_cx_pool_overflow", "circuit_breakers.default.cx_pool_open") == (1, 1)
    world.until(lambda: sum(map(bool, world.upstream.received)) == 2)
    world.upstream.send(0, OK)
    world.until(lambda: any(request.done for request in requests[:2]))
    # A pool in which nothing goes on makes room.
    again = Request()
    world.cluster.http_pool(world.host, 0, None, (), contexts[2]).new_stream(again, again)
    assert again.failure is None
    assert world.cluster.info.resource_manager(0).connection_pools.count == 2
    world.host.drain_pools()
    world.until(lambda: sum(map(bool, world.upstream.received)) == 3)
    for index in range(3):
        if not world.upstream.closed[index]:
            world.upstream.send(index, OK)
    world.until(lambda: world.cluster.info.resource_manager(0).connection_pools.count == 0)
