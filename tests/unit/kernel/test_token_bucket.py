"""Token buckets: they fill continuously, and hold over processes that draw at the same time."""

from __future__ import annotations

import os
import struct

import pytest

from proxeny.kernel.token_bucket import BucketTable, TokenBucket

SECOND = 10**9
NOW = 1_000_000 * SECOND


def test_a_fresh_bucket_is_full_and_no_fuller_later() -> None:
    bucket = TokenBucket(BucketTable.create(), 0, 3, 1, SECOND)
    assert bucket.remaining(NOW) == 3
    assert [bucket.consume(NOW) for _ in range(5)] == [True, True, True, False, False]
    assert bucket.remaining(NOW) == 0
    assert bucket.remaining(NOW + 10 * SECOND) == 3


def test_it_fills_continuously() -> None:
    bucket = TokenBucket(BucketTable.create(), 0, 2, 2, 2 * SECOND)
    assert bucket.consume(NOW, 2)
    assert not bucket.consume(NOW + SECOND - 10)
    assert bucket.consume(NOW + SECOND)
    assert not bucket.consume(NOW + SECOND)
    assert bucket.remaining(NOW + SECOND + SECOND // 2) == pytest.approx(0.5)


def test_a_bucket_that_fills_longer_than_the_machine_runs_is_full_at_first() -> None:
    bucket = TokenBucket(BucketTable.create(), 0, 1000, 1, 3600 * SECOND)
    assert bucket.remaining(SECOND) == 1000
    assert bucket.consume(SECOND, 1000)
    assert not bucket.consume(SECOND)


def test_times_that_no_number_holds() -> None:
    bucket = TokenBucket(BucketTable.create(), 0, 2**32, 1, 9e18)
    assert bucket.consume(NOW)
    assert bucket.consume(NOW, 2**31)
    assert bucket.remaining(NOW) > 0


def test_nothing_is_taken_when_there_are_too_few() -> None:
    bucket = TokenBucket(BucketTable.create(), 0, 4, 1, SECOND)
    assert not bucket.consume(NOW, 5)
    assert bucket.consume(NOW, 4)
    assert not bucket.consume(NOW, 0.5)


def test_fill() -> None:
    bucket = TokenBucket(BucketTable.create(), 9, 1, 1, 3600 * SECOND)
    assert bucket.consume(NOW)
    bucket.fill()
    assert bucket.consume(NOW)


def test_rows_are_apart_and_tables_see_each_other() -> None:
    table = BucketTable.create()
    other = BucketTable(table.fd)
    first, second = (TokenBucket(table, row, 1, 1, SECOND) for row in (0, 1))
    assert first.consume(NOW)
    assert second.consume(NOW)
    assert not TokenBucket(other, 0, 1, 1, SECOND).consume(NOW)


@pytest.mark.parametrize("shape", [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_buckets_that_never_hold_a_token_are_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="never holds"):
        TokenBucket(BucketTable.create(), 0, *shape)


def test_rows_outside_are_refused() -> None:
    with pytest.raises(ValueError, match="no such row"):
        TokenBucket(BucketTable.create(), 1 << 40, 1, 1, 1)


def test_processes_draw_no_more_than_there_is() -> None:
    tokens, processes = 20_000, 4
    table = BucketTable.create()
    readers = []
    for _ in range(processes):
        reader, writer = os.pipe()
        if os.fork() == 0:
            try:
                bucket = TokenBucket(BucketTable(table.fd), 5, tokens, 1, 3600 * SECOND)
                drawn = sum(bucket.consume(NOW) for _ in range(tokens))
                os.write(writer, struct.pack("=q", drawn))
            finally:
                os._exit(0)
        os.close(writer)
        readers.append(reader)
    drawn = [struct.unpack("=q", os.read(reader, 8))[0] for reader in readers]
    for reader in readers:
        os.close(reader)
        os.wait()
    assert sum(drawn) == tokens
