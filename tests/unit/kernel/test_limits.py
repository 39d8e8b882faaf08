"""The table of limits: totals, and a cell per worker."""

from __future__ import annotations

import multiprocessing
import os
import struct

import pytest

from proxeny.kernel.limits import ConnectionCounts, LimitTable, Resource


def test_limits_hold_across_workers() -> None:
    main = LimitTable.create(2)
    workers = [LimitTable(main.fd, 2, column) for column in (0, 1)]
    first, second = (Resource(table, 7, 3) for table in workers)
    assert first.try_acquire()
    second.inc()
    assert first.can_create()
    assert second.try_acquire()
    assert not first.can_create()
    assert not second.can_create()
    assert not first.try_acquire()
    assert (first.count, first.own, second.own) == (3, 1, 2)
    # The second worker dies.
    main.clear_column(1)
    assert first.count == 1
    assert first.can_create()
    main.clear_rows(7, 1)
    assert first.count == 0


def test_more_than_the_limit_may_be_forced() -> None:
    resource = Resource(LimitTable.create(1), 0, 1)
    resource.inc()
    resource.inc()
    assert (resource.count, resource.can_create()) == (2, False)
    resource.dec()
    assert not resource.try_acquire()
    resource.dec()
    assert resource.try_acquire()


def test_a_limit_that_falls() -> None:
    resource = Resource(LimitTable.create(1), 0, 5)
    assert all([resource.try_acquire() for _ in range(5)])
    resource.max = 2
    for _ in range(3):
        resource.dec()
    assert not resource.try_acquire()
    resource.dec()
    assert resource.try_acquire()


def test_what_was_ever_counted_shows() -> None:
    table = LimitTable.create(3)
    resource = Resource(table, 100_000, 1)
    assert table.pages() == set()
    assert table.counted(100_000, 2, table.pages()) == [None, None]
    assert resource.try_acquire()
    resource.dec()
    assert table.counted(99_999, 3, table.pages()) == [None, 0, None]
    with pytest.raises(ValueError, match="no such rows"):
        table.counted(1 << 40, 1, set())


def race(table: LimitTable, index: int, maximum: int, ready: int, results: int) -> None:
    """A worker that takes and gives back as fast as it can; it reports the most that it ever saw held."""
    resource = Resource(LimitTable(table.fd, table.columns, index), 3, maximum)
    os.read(ready, 1)
    most = admitted = 0
    for _ in range(20_000):
        if resource.try_acquire():
            admitted += 1
            most = max(most, resource.count)
            resource.dec()
    os.write(results, struct.pack("qq", most, admitted))


def test_processes_that_race_never_exceed_a_limit() -> None:
    table = LimitTable.create(4)
    (ready, go), (results, report) = os.pipe(), os.pipe()
    children = [multiprocessing.get_context("fork").Process(target=race, args=(table, i, 2, ready, report))
                for i in range(4)]  # fmt: skip
    for child in children:
        child.start()
    os.write(go, b"gogo")
    for child in children:
        child.join(60)
    found = [struct.unpack("qq", os.read(results, 16)) for _ in children]
    assert max(most for most, _ in found) <= 2
    # A process may run its whole loop while another, that the kernel put to sleep, holds what there is.
    assert any(admitted for _, admitted in found)
    assert Resource(table, 3, 2).count == 0
    for end in (ready, go, results, report):
        os.close(end)


def test_rows_do_not_touch_each_other() -> None:
    table = LimitTable.create(3, 1)
    resources = [Resource(table, row, 1) for row in range(600)]
    resources[511].inc()
    assert [row for row, resource in enumerate(resources) if resource.count] == [511]
    table.clear_column(0)
    assert resources[511].count == 1
    table.clear_column(1)
    assert resources[511].count == 0


def test_connection_counts_have_no_total_to_correct() -> None:
    table = LimitTable.create(2)
    counts = ConnectionCounts(table, 4, -1)
    counts.started()
    table.clear_column(0)
    assert counts.own_count == 0
    assert table.counted(4, 1, table.pages()) == [None]


def test_bad_shapes_are_refused() -> None:
    table = LimitTable.create(1)
    for columns, column in ((0, 0), (2, 2), (1, -1)):
        with pytest.raises(ValueError, match="column"):
            LimitTable(table.fd, columns, column)
    with pytest.raises(ValueError, match="no such row"):
        Resource(table, 1 << 40, 1)
    with pytest.raises(ValueError, match="no such rows"):
        table.clear_rows(1 << 40, 1)


def counts(own_most: int | None = None, all_most: int | None = None) -> list[ConnectionCounts]:
    """The counts of one listener in two workers and main."""
    main = LimitTable.create(3, 2)
    made = [ConnectionCounts(LimitTable(main.fd, 3, column), 5, 6) for column in range(3)]
    for one in made:
        one.own_most = own_most if own_most is not None else one.own_most
        one.all_most = all_most if all_most is not None else one.all_most
    return made


def test_connections_are_counted_without_a_limit() -> None:
    first, second, main = counts()
    assert [first.acquire(), second.acquire(), second.acquire()] == [0, 0, 0]
    assert (main.own_count, main.all_count) == (3, 3)
    second.ended()
    assert (main.own_count, main.all_count) == (2, 2)


def test_the_limit_of_a_listener_holds_over_workers() -> None:
    first, second, main = counts(own_most=2)
    assert [first.acquire(), second.acquire(), first.acquire(), second.acquire()] == [0, 0, 3, 3]
    assert (main.own_count, main.all_count) == (2, 2)
    first.ended()
    assert [second.acquire(), first.acquire()] == [0, 3]


def test_the_limit_of_all_comes_first_and_then_what_is_shed() -> None:
    first, second, main = counts(own_most=1, all_most=1)
    assert first.acquire(True) == 2
    assert main.all_count == 0
    assert first.acquire() == 0
    assert second.acquire(True) == 1
    second.all_most = 5
    assert second.acquire() == 3
    assert (main.own_count, main.all_count) == (1, 1)


def test_a_limit_of_zero_admits_nobody() -> None:
    first, _, main = counts(own_most=0)
    assert first.acquire() == 3
    assert main.own_count == 0


def test_a_connection_on_its_way_stays_counted() -> None:
    first, second, main = counts()
    first.acquire()
    first.hand_to(1)
    assert (main.own_count, main.all_count) == (1, 1)
    second.ended()
    assert (main.own_count, main.all_count) == (0, 0)
    with pytest.raises(ValueError, match="no such worker"):
        first.hand_to(3)


def test_passing_to_another_listener() -> None:
    table = LimitTable.create(1)
    one, other = ConnectionCounts(table, 1, 9), ConnectionCounts(table, 2, 9)
    other.own_most = 0
    one.acquire()
    one.pass_to(other)
    assert (one.own_count, other.own_count, one.all_count) == (0, 1, 1)


def test_rows_that_are_not_counted() -> None:
    one = ConnectionCounts(LimitTable.create(1), -1, -1)
    one.own_most = one.all_most = 0
    assert one.acquire() == 0
    assert (one.own_count, one.all_count) == (0, 0)
    with pytest.raises(ValueError, match="no such row"):
        ConnectionCounts(LimitTable.create(1), 1 << 40, -1)
