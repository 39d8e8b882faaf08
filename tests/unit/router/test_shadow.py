"""Mirrors: their host, and that a slow one never holds the request up."""

from typing import Any

import pytest
from tests.unit.router.test_router_filter import Bench

from proxeny.router import shadow
from proxeny.router.shadow import shadow_host

ROUTE = 'route { cluster: "c" request_mirror_policies { cluster: "c" } }'


@pytest.mark.parametrize(
    ("host", "mirrored"),
    [
        (b"a.test", b"a.test-shadow"),
        (b"a.test:81", b"a.test-shadow:81"),
        (b"[::1]", b"[::1]-shadow"),
        (b"[::1]:81", b"[::1]-shadow:81"),
        (b"", b"-shadow"),
    ],
)
def test_shadow_host(host: bytes, mirrored: bytes) -> None:
    assert shadow_host(host) == mirrored


@pytest.fixture
def bench() -> Any:
    made = Bench(ROUTE)
    yield made
    made.close()


def mirror_of(bench: Bench) -> Any:
    return bench.upstream.attempts[1]


def test_a_mirror_gets_what_the_upstream_gets(bench: Bench) -> None:
    bench.request(end_stream=False)
    bench.body(b"hello", True)
    own, mirror = bench.upstream.encoders
    assert own.sent[1:] == mirror.sent[1:] == [(b"hello", True)]
    assert mirror.sent[0][0][b":authority"] == b"h-shadow"
    assert mirror.sent[0][0][b"x-envoy-internal"] == b"true"
    assert bench.filter.mirrors is None


def test_its_answer_goes_nowhere(bench: Bench) -> None:
    bench.request()
    mirror_of(bench).router.decoder_callbacks.send_local_reply(503, b"", None, None, "")
    assert bench.down.reply is None and bench.down.answer == []


def test_the_end_of_the_request_ends_an_unfinished_mirror(bench: Bench) -> None:
    bench.request(end_stream=False)
    bench.filter.on_destroy()
    assert len(bench.upstream.encoders[1].stream.resets) == 1


def test_the_end_of_the_request_leaves_a_complete_mirror(bench: Bench) -> None:
    bench.request()
    bench.filter.on_destroy()
    assert bench.upstream.encoders[1].stream.resets == []


def test_a_slow_mirror_is_given_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow, "DEFAULT_LIMIT", 100)
    bench.request(end_stream=False)
    mirror_of(bench).on_above_write_buffer_high_watermark()
    bench.body(b"x" * 80, False)
    assert bench.down.reading_paused == 0
    assert bench.upstream.encoders[1].stream.resets == []
    bench.body(b"x" * 80, False)
    assert len(bench.upstream.encoders[1].stream.resets) == 1
    assert bench.stat("cluster.c.retry_or_shadow_abandoned") == 1
    bench.body(b"x" * 80, True)
    assert bench.encoder is not bench.upstream.encoders[0]
    assert len(bench.upstream.encoders[0].sent) == 4


def test_a_mirror_that_catches_up_is_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow, "DEFAULT_LIMIT", 100)
    bench.request(end_stream=False)
    for _ in range(3):
        mirror_of(bench).on_above_write_buffer_high_watermark()
        bench.body(b"x" * 80, False)
        mirror_of(bench).on_below_write_buffer_low_watermark()
    assert bench.upstream.encoders[1].stream.resets == []
