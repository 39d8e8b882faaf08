"""Attempts beside others: the first good response wins, a bad one waits for something better."""

from typing import Any

import pytest
from tests.unit.router.test_router_filter import Bench

from proxeny.http.codec import StreamResetReason
from proxeny.kernel.headers import HeaderMap

HEDGE = """route { cluster: "c" timeout { seconds: 5 } hedge_policy { hedge_on_per_try_timeout: true }
    retry_policy { retry_on: "5xx" num_retries { value: %d } per_try_timeout { nanos: 100000000 }
    retry_back_off { base_interval { nanos: 1000000 } } } }"""
LOCAL_RESET = StreamResetReason.LOCAL_RESET


@pytest.fixture
def hedged() -> Any:
    """A request with two attempts under way."""
    made: list[Bench] = []

    def make(retries: int = 1) -> Bench:
        bench = Bench(HEDGE % retries)
        made.append(bench)
        bench.request()
        take_too_long(bench)
        return bench

    yield make
    for one in made:
        one.close()


def take_too_long(bench: Bench) -> None:
    bench.advance(101)
    bench.advance(2)


def answer(attempt: Any, status: int, end_stream: bool = True) -> None:
    attempt.decode_headers(HeaderMap([(b":status", b"%d" % status)]), end_stream)


def test_the_upstream_is_told_of_the_whole_time() -> None:
    bench = Bench(HEDGE % 1).request()
    assert bench.encoder.sent[0][0][b"x-envoy-expected-rq-timeout-ms"] == b"5000"
    bench.close()


def test_the_second_wins(hedged: Any) -> None:
    bench = hedged()
    first, second = bench.upstream.attempts
    answer(second, 200)
    assert bench.down.answer[0][0][b":status"] == b"200"
    assert bench.upstream.encoders[0].stream.resets == [LOCAL_RESET]
    assert bench.upstream.encoders[1].stream.resets == []
    assert first.encoder is None and bench.filter.others is None
    assert bench.stat("cluster.c.upstream_rq_retry_success") == 1


def test_the_first_wins(hedged: Any) -> None:
    bench = hedged()
    answer(bench.upstream.attempts[0], 200)
    assert bench.upstream.encoders[1].stream.resets == [LOCAL_RESET]
    assert bench.down.answer[0][0][b":status"] == b"200"
    assert bench.stat("cluster.c.upstream_rq_retry_success") == 0


def test_a_bad_response_waits_for_the_other(hedged: Any) -> None:
    bench = hedged()
    first, second = bench.upstream.attempts
    answer(second, 503)
    assert bench.down.answer == []
    answer(first, 200)
    assert bench.down.answer[0][0][b":status"] == b"200"


def test_both_are_bad(hedged: Any) -> None:
    bench = hedged()
    first, second = bench.upstream.attempts
    answer(first, 503)
    answer(second, 500)
    assert bench.down.answer[0][0][b":status"] == b"500"
    assert bench.info.flags_short() == "URX"


def test_a_reset_waits_for_the_other(hedged: Any) -> None:
    bench = hedged()
    first, second = bench.upstream.attempts
    first.on_reset_stream(StreamResetReason.REMOTE_RESET, "")
    assert bench.down.reply is None
    second.on_reset_stream(StreamResetReason.REMOTE_RESET, "")
    assert bench.down.reply is not None and bench.down.reply[0] == 503


def test_as_many_as_there_may_be(hedged: Any) -> None:
    bench = hedged(3)
    for _ in range(4):
        take_too_long(bench)
    assert len(bench.upstream.attempts) == 4
    assert len(bench.filter.others) == 3


def test_the_whole_time_is_over(hedged: Any) -> None:
    bench = hedged()
    bench.advance(5000)
    assert bench.down.reply == (504, b"upstream request timeout", {}, "response_timeout")
    assert [encoder.stream.resets for encoder in bench.upstream.encoders] == [[LOCAL_RESET], [LOCAL_RESET]]
    assert bench.stat("cluster.c.upstream_rq_timeout") == 2


def test_the_client_leaves(hedged: Any) -> None:
    bench = hedged()
    bench.filter.on_destroy()
    assert [encoder.stream.resets for encoder in bench.upstream.encoders] == [[LOCAL_RESET], [LOCAL_RESET]]


def test_a_good_response_makes_no_state() -> None:
    bench = Bench('route { cluster: "c" retry_policy { retry_on: "5xx" } }').request()
    assert bench.filter.retry_policy is not None and bench.filter.retry_state is None
    bench.respond(200)
    assert bench.filter.retry_policy is None and bench.filter.retry_state is None
    bench.close()
