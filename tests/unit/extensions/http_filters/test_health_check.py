"""The filter that answers health checks: its cache; the rest is differential."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from envoy.extensions.filters.http.health_check.v3 import health_check_pb2
from google.protobuf import json_format

from proxeny.config.errors import ConfigError
from proxeny.extensions.http_filters.health_check import FACTORY, FLAG_LH, Cache
from proxeny.http.filter import FilterHeadersStatus
from proxeny.kernel.headers import HeaderMap
from proxeny.network.factory_context import FactoryContext, LocalInfo, ServerState
from proxeny.stats.store import MainStore


class Clock:
    now_ms = 10_000


def factory(**fields: Any) -> Any:
    message = json_format.ParseDict(fields, health_check_pb2.HealthCheck())
    dispatcher: Any = Clock()
    context = FactoryContext("worker", MainStore(), dispatcher, local_info=LocalInfo("me"), server_state=ServerState())
    return FACTORY.create_filter_factory(message, "http.x.", context)


def ask(made: Any) -> tuple[FilterHeadersStatus, list[Any], Any]:
    """One request: the status, the local replies, the filter."""
    replies: list[Any] = []
    one = made.create()
    info = SimpleNamespace(health_check=False, flags=0)
    one.decoder_callbacks = SimpleNamespace(stream_info=info, send_local_reply=lambda *args: replies.append(args))
    status = one.decode_headers(HeaderMap([(b":path", b"/health")]), True)
    assert info.health_check
    return status, replies, one


def test_a_cache_keeps_an_answer_to_the_end_of_its_stretch() -> None:
    clock: Any = Clock()
    cache = Cache(clock, 1000)
    assert not cache.is_fresh
    cache.put(503, True)
    clock.now_ms = 10_999
    assert cache.is_fresh
    assert (cache.status, cache.degraded) == (503, True)
    clock.now_ms = 11_000
    assert not cache.is_fresh


def test_the_answer_of_the_last_check_is_given_again() -> None:
    made = factory(pass_through_mode=True, cache_time="1s")
    status, replies, one = ask(made)
    assert status is FilterHeadersStatus.CONTINUE
    response = HeaderMap([(b":status", b"503"), (b"x-envoy-degraded", b"1")])
    one.encode_headers(response, True)
    assert response.get(b"x-envoy-upstream-healthchecked-cluster") == b"me"
    status, replies, one = ask(made)
    assert status is FilterHeadersStatus.STOP_ITERATION
    ((code, body, modify, grpc_status, details),) = replies
    assert (code, body, grpc_status, details) == (503, b"", None, "health_check_cached")
    assert one.decoder_callbacks.stream_info.flags == FLAG_LH
    headers = HeaderMap()
    modify(headers)
    assert b"x-envoy-degraded" in headers


def test_a_cache_is_for_requests_that_pass_through() -> None:
    with pytest.raises(ConfigError, match="cache_time_ms must not be set when path_through_mode is disabled"):
        factory(pass_through_mode=False, cache_time="1s")
