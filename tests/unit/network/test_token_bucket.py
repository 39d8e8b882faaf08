"""Compiled token buckets: what main allots, all workers draw from."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.type.v3 import token_bucket_pb2
from google.protobuf.json_format import ParseDict

from proxeny.config.errors import ConfigError
from proxeny.kernel.token_bucket import BucketTable
from proxeny.network.factory_context import FactoryContext
from proxeny.network.token_bucket import compile_token_bucket
from proxeny.stats.store import MainStore, WorkerStore

NOW = 10**15


def message(**fields: Any) -> Any:
    return ParseDict(fields, token_bucket_pb2.TokenBucket())


def test_workers_share_what_main_allotted() -> None:
    store, table = MainStore(), BucketTable.create()
    config = message(max_tokens=2, fill_interval="3600s")
    main = FactoryContext("main", store, token_buckets=table)
    with store.recording() as recorded:
        compile_token_bucket(config, "other", main)
        compile_token_bucket(config, "b", main)
    workers = []
    for index in range(2):
        worker_store = WorkerStore(store.create_worker_segment(index))
        worker_store.install(recorded)
        context = FactoryContext("worker", worker_store, token_buckets=BucketTable(table.fd))
        workers.append(compile_token_bucket(config, "b", context))
    assert [workers[0].consume(NOW), workers[1].consume(NOW)] == [True, True]
    assert [workers[0].consume(NOW), workers[1].consume(NOW)] == [False, False]
    # A changed listener of the same limit starts with a full bucket.
    compile_token_bucket(config, "b", main)
    assert workers[1].consume(NOW)
    store.release(recorded)
    assert store.entries


def test_defaults_and_rounding() -> None:
    context = FactoryContext("main", MainStore())
    bucket = compile_token_bucket(message(max_tokens=5, fill_interval="0.0509s"), "a", context)
    assert bucket.consume(NOW, 5)
    assert bucket.remaining(NOW + 50_000_000) == pytest.approx(1)
    many = compile_token_bucket(message(max_tokens=5, tokens_per_fill=3, fill_interval="1s"), "b", context)
    assert many.consume(NOW, 5)
    assert many.remaining(NOW + 10**9) == pytest.approx(3)


@pytest.mark.parametrize("interval", ["0.049s", "0.0499999s"])
def test_short_intervals_are_refused(interval: str) -> None:
    with pytest.raises(ConfigError, match="must be >= 50ms"):
        compile_token_bucket(message(max_tokens=1, fill_interval=interval), "a", FactoryContext("main", MainStore()))
