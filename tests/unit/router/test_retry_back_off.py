"""How long retries wait."""

import time

import pytest
from envoy.config.route.v3 import route_components_pb2
from google.protobuf import text_format

from proxeny.kernel.headers import HeaderMap
from proxeny.router.retry_back_off import ExponentialBackOff, RateLimitedBackOff, beyond


def rate_limited(text: str) -> RateLimitedBackOff:
    message = route_components_pb2.RetryPolicy.RateLimitedRetryBackOff()
    return RateLimitedBackOff(text_format.Parse(text, message))


def test_exponential_back_off_doubles_up_to_its_limit() -> None:
    back_off = ExponentialBackOff(10, 35)
    assert [back_off.next_ms(1_000_009) for _ in range(4)] == [9, 9, 1_000_009 % 35, 1_000_009 % 35]
    assert back_off.statistics() == [35, 35]


def test_exponential_back_off_has_a_limit_by_default() -> None:
    back_off = ExponentialBackOff(0, None)
    for _ in range(9):
        back_off.next_ms(0)
    assert back_off.statistics() == [10, 10]


def test_beyond_is_at_least_the_interval() -> None:
    assert [beyond(1000, random) for random in (0, 499, 500)] == [1000, 1499, 1000]


@pytest.mark.parametrize(
    ("value", "interval"),
    [(b"3", 3000), (b"0", None), (b"300", 300_000), (b"301", None), (b"+3", 3000), (b"1.5", None), (b"", None)],
)
def test_seconds(value: bytes, interval: int | None) -> None:
    back_off = rate_limited('reset_headers { name: "Retry-After" }')
    assert back_off.interval_ms(HeaderMap([(b"retry-after", value)])) == interval


def test_the_first_header_that_says_something_counts() -> None:
    back_off = rate_limited(
        'reset_headers { name: "x-at" format: UNIX_TIMESTAMP } reset_headers { name: "x-in" }'
        "max_interval { seconds: 60 }"
    )
    assert back_off.interval_ms(HeaderMap([(b"x-at", b"5"), (b"x-in", b"7")])) == 7000
    assert back_off.interval_ms(HeaderMap([(b"x-in", b"61")])) is None
    later = b"%d" % (int(time.time()) + 30)
    assert back_off.interval_ms(HeaderMap([(b"x-at", later), (b"x-in", b"7")])) in (29_000, 30_000)
