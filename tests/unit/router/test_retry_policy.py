"""What responses a retry policy has to look at."""

import pytest
from envoy.config.route.v3 import route_components_pb2
from google.protobuf import text_format

from proxeny import extensions
from proxeny.config.errors import ConfigError
from proxeny.kernel.headers import HeaderMap
from proxeny.router.retry_policy import NEVER, RetryPolicy

extensions.install()


def policy(text: str) -> RetryPolicy:
    return RetryPolicy.compile(text_format.Parse(text, route_components_pb2.RetryPolicy()))


@pytest.mark.parametrize(
    ("text", "lowest"),
    [
        ("", NEVER),
        ('retry_on: "connect-failure,reset"', NEVER),
        ('retry_on: "5xx"', 500),
        ('retry_on: "gateway-error"', 502),
        ('retry_on: "5xx,retriable-4xx"', 409),
        ('retry_on: "retriable-status-codes"', NEVER),
        ('retry_on: "5xx,retriable-status-codes" retriable_status_codes: [404, 418]', 404),
        ('retry_on: "5xx,unavailable"', 0),
        ('retry_on: "envoy-ratelimited"', 0),
        ('retry_on: "retriable-headers"', 0),
    ],
)
def test_lowest_code(text: str, lowest: int) -> None:
    assert policy(text).lowest_code == lowest


def test_request_headers_that_must_be_there() -> None:
    wanted = policy('retry_on: "5xx" retriable_request_headers { name: "x-a" present_match: true }')
    assert wanted.wants_request(HeaderMap([(b"x-a", b"1")]))
    assert not wanted.wants_request(HeaderMap())
    assert policy('retry_on: "5xx"').wants_request(HeaderMap())


@pytest.mark.parametrize("field", ["retry_host_predicate", "retry_priority", "retry_options_predicates"])
def test_unknown_plugins_are_refused_by_name(field: str) -> None:
    with pytest.raises(ConfigError, match="Didn't find a registered implementation for 'odd' with type URL: ''"):
        policy(f'{field} {{ name: "odd" }}')
