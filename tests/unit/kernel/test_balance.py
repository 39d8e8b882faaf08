"""Exact balance: assignments, ends, stale workers, deaths; also with another process that dies with the lock."""

import os
import signal

import pytest

from proxeny.kernel.balance import BalanceTable


def tables(workers: int) -> tuple[BalanceTable, list[BalanceTable]]:
    main = BalanceTable.create(workers)
    own = [BalanceTable(main.fd, workers, index) for index in range(workers)]
    for epoch, table in enumerate(own, start=1):
        table.begin(epoch)
    return main, own


def test_the_one_with_the_fewest_gets_the_next() -> None:
    main, own = tables(3)
    row = main.allot_row()
    for table in own:
        table.serve(row, True)
    chosen = [own[0].assign(row)[0] for _ in range(9)]
    assert sorted(chosen) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert main.counts(row) == [3, 3, 3]
    own[2].end(row)
    own[2].end(row)
    assert [own[1].assign(row)[0] for _ in range(2)] == [2, 2]


def test_itself_where_it_is_among_the_fewest() -> None:
    main, own = tables(4)
    row = main.allot_row()
    for table in own:
        table.serve(row, True)
    assert own[3].assign(row) == (3, 4)


def test_only_workers_that_serve_and_live_are_chosen() -> None:
    main, own = tables(3)
    row = main.allot_row()
    own[0].serve(row, True)
    own[1].serve(row, True)
    assert {own[0].assign(row)[0] for _ in range(6)} == {0, 1}
    main.worker_died(1)
    assert main.counts(row) == [3, 0, 0]
    assert {own[0].assign(row)[0] for _ in range(6)} == {0}


def test_an_assignment_taken_back_and_one_of_a_predecessor() -> None:
    main, own = tables(2)
    row = main.allot_row()
    for table in own:
        table.serve(row, True)
    own[0].assign(row)
    assert own[0].assign(row) == (1, 2)
    own[0].keep(row, 1)
    assert main.counts(row) == [2, 0]
    main.worker_died(1)
    successor = BalanceTable(main.fd, 2, 1)
    successor.begin(7)
    successor.serve(row, True)
    successor.take(row)
    assert main.counts(row) == [2, 1]
    assert own[0].assign(row) == (1, 7)


def test_a_row_is_given_out_again_empty() -> None:
    main, own = tables(1)
    first, second = main.allot_row(), main.allot_row()
    assert first != second
    own[0].take(first)
    main.free_row(first)
    assert main.allot_row() == first
    assert main.counts(first) == [0]


def test_a_worker_that_dies_with_the_lock_stops_nobody() -> None:
    main, own = tables(2)
    row = main.allot_row()
    for table in own:
        table.serve(row, True)
    for _ in range(20):
        child = os.fork()
        if child == 0:
            while True:
                own[1].take(row)
        while main.counts(row)[1] < 1000:
            pass
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        main.worker_died(1)
        assert main.counts(row)[1] == 0


def test_bad_arguments() -> None:
    main, _ = tables(1)
    for row in (-1, 1 << 20):
        with pytest.raises(ValueError, match="no such row"):
            main.counts(row)
    with pytest.raises(ValueError, match="at least one worker"):
        BalanceTable(main.fd, 1, 1)
