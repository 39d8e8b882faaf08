"""The table of limits: one column per worker, sums over a row."""

from __future__ import annotations

import pytest

from proxeny.kernel.limits import LimitTable, Resource
from proxeny.stats.store import MainStore
from proxeny.upstream.stats import CLUSTER


def test_limits_hold_across_workers() -> None:
    main = LimitTable.create(2)
    workers = [LimitTable(main.fd, 2, column) for column in (0, 1)]
    store = MainStore()
    block = store.block(CLUSTER, "cluster.c.")
    first, second = (Resource(table, 7, 3, block, -1) for table in workers)
    first.inc()
    second.inc()
    assert first.can_create()
    second.inc()
    assert not first.can_create()
    assert not second.can_create()
    assert (first.count, first.own, second.own) == (3, 1, 2)
    # The second worker dies.
    main.clear_column(1)
    assert first.count == 1
    assert first.can_create()
    main.clear_rows(7, 1)
    assert first.count == 0


def test_rows_do_not_touch_each_other() -> None:
    table = LimitTable.create(3, 1)
    resources = [Resource(table, row, 1, None, -1) for row in range(600)]
    resources[511].inc()
    assert [row for row, resource in enumerate(resources) if resource.count] == [511]
    table.clear_column(0)
    assert resources[511].count == 1
    table.clear_column(1)
    assert resources[511].count == 0


def test_bad_shapes_are_refused() -> None:
    table = LimitTable.create(1)
    for columns, column in ((0, 0), (2, 2), (1, -1)):
        with pytest.raises(ValueError, match="column"):
            LimitTable(table.fd, columns, column)
    with pytest.raises(ValueError, match="no such row"):
        Resource(table, 1 << 40, 1, None, -1)
    with pytest.raises(ValueError, match="no such rows"):
        table.clear_rows(1 << 40, 1)
