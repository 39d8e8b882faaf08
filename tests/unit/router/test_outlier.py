"""What the router tells outlier detection of responses, resets and timeouts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from proxeny.kernel.headers import HeaderMap
from proxeny.kernel.outlier import (
    EXT_ORIGIN_REQUEST_DEGRADED,
    EXT_ORIGIN_REQUEST_FAILED,
    EXT_ORIGIN_REQUEST_SUCCESS,
    LOCAL_ORIGIN_CONNECT_FAILED,
    LOCAL_ORIGIN_CONNECT_SUCCESS,
    LOCAL_ORIGIN_TIMEOUT,
)
from proxeny.router.outlier import note_reset, note_response, note_stream, note_timeout


class Monitor:
    def __init__(self) -> None:
        self.results: list[tuple[int, int]] = []

    def put_result(self, result: int, code: int = -1) -> None:
        self.results.append((result, code))


class NothingIsAnError:
    def matches(self, headers: HeaderMap) -> bool:
        return False


def attempt(matcher: Any = None, watched: bool = True) -> Any:
    rules = SimpleNamespace(error_matcher=matcher, status_for=lambda code, headers: 200)
    host = SimpleNamespace(outlier=Monitor() if watched else None, cluster=SimpleNamespace(outlier=rules))
    return SimpleNamespace(host=host, timeout_noted=False)


def noted(code: int, *headers: tuple[bytes, bytes], grpc: bool = False, matcher: Any = None) -> tuple[int, int]:
    upstream = attempt(matcher)
    router: Any = SimpleNamespace(grpc_request=grpc)
    note_response(router, upstream, code, HeaderMap(headers))
    (result,) = upstream.host.outlier.results
    return result


def test_the_status_counts() -> None:
    assert noted(200) == (EXT_ORIGIN_REQUEST_SUCCESS, 200)
    assert noted(503) == (EXT_ORIGIN_REQUEST_FAILED, 503)
    assert noted(404, (b"x-envoy-degraded", b"")) == (EXT_ORIGIN_REQUEST_DEGRADED, 404)
    assert noted(500, (b"x-envoy-degraded", b"")) == (EXT_ORIGIN_REQUEST_FAILED, 500)
    assert noted(200, (b"grpc-status", b"14")) == (EXT_ORIGIN_REQUEST_SUCCESS, 200)
    assert noted(503, matcher=NothingIsAnError()) == (EXT_ORIGIN_REQUEST_SUCCESS, 200)


@pytest.mark.parametrize(
    ("status", "code"),
    [(b"0", 200), (b"1", 499), (b"4", 504), (b"14", 503), (b"014", 503), (b"16", 401), (b"17", 500), (b"x", 500),
     (b"-1", 500), (b"", 599)],
)  # fmt: skip
def test_of_grpc_its_own_status_counts(status: bytes, code: int) -> None:
    for matcher in (None, NothingIsAnError()):
        assert noted(599, (b"grpc-status", status), grpc=True, matcher=matcher)[1] == code


def test_attempts_without_a_response() -> None:
    upstream = attempt()
    router: Any = SimpleNamespace(timeout_code=204)
    note_stream(upstream.host)
    note_reset(upstream)
    note_timeout(router, upstream)
    note_timeout(router, upstream)
    assert upstream.host.outlier.results == [
        (LOCAL_ORIGIN_CONNECT_SUCCESS, -1),
        (LOCAL_ORIGIN_CONNECT_FAILED, -1),
        (LOCAL_ORIGIN_TIMEOUT, 204),
    ]


def test_hosts_that_nobody_watches() -> None:
    upstream = attempt(watched=False)
    router: Any = SimpleNamespace(timeout_code=504, grpc_request=False)
    note_stream(upstream.host)
    note_response(router, upstream, 500, HeaderMap())
    note_reset(upstream)
    note_timeout(router, upstream)
    upstream.host = None
    note_reset(upstream)
    note_timeout(router, upstream)
    assert not upstream.timeout_noted
