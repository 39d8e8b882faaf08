"""The listener's rate limit: connections without a token are closed, unless the runtime turns it off."""

from __future__ import annotations

from typing import Any

from envoy.extensions.filters.listener.local_ratelimit.v3 import local_ratelimit_pb2
from google.protobuf.json_format import ParseDict
from tests.unit.extensions.listener_filters.accepted import Accepted, context, counters

from proxeny.extensions.listener_filters.local_ratelimit import FACTORY, LocalRateLimitFactory
from proxeny.network.factory_context import FactoryContext
from proxeny.runtime.snapshot import RuntimeReader, Snapshot, make_entry


def factory(made_in: FactoryContext, **fields: Any) -> LocalRateLimitFactory:
    message = {"stat_prefix": "p", "token_bucket": {"max_tokens": 2, "fill_interval": "10s"}, **fields}
    return FACTORY.create_filter_factory(ParseDict(message, local_ratelimit_pb2.LocalRateLimit()), made_in)


def accept(made: LocalRateLimitFactory, at_s: float = 0) -> bool:
    accepted = Accepted(made.create())
    assert accepted._filter.max_read_bytes == 0
    accepted.dispatcher.now += int(at_s * 10**9)
    accepted.accept()
    assert accepted.closed != accepted.passed
    return accepted.passed


def test_connections_beyond_the_rate_are_closed() -> None:
    made_in = context()
    made = factory(made_in)
    assert [accept(made) for _ in range(4)] == [True, True, False, False]
    assert [accept(made, 10) for _ in range(2)] == [True, False]
    assert counters(made_in) == {"listener_local_ratelimit.p.rate_limited": 3}


def test_each_limit_has_its_own_bucket() -> None:
    made_in = context()
    first, second = factory(made_in), factory(made_in, stat_prefix="q")
    assert [accept(first) for _ in range(3)] == [True, True, False]
    assert accept(second)


def test_runtime() -> None:
    made_in = context()
    made_in.runtime = runtime = RuntimeReader()
    made = factory(made_in, runtime_enabled={"default_value": True, "runtime_key": "limit.on"})
    assert [accept(made) for _ in range(3)] == [True, True, False]
    runtime.snapshot = Snapshot({"limit.on": make_entry(False)})
    assert [accept(made) for _ in range(3)] == [True] * 3


def test_off_by_default() -> None:
    made_in = context()
    made = factory(made_in, runtime_enabled={"default_value": False})
    assert [accept(made) for _ in range(4)] == [True] * 4
    assert counters(made_in) == {}
