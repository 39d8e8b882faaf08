"""Statistics of clusters that go are given up when their last connection is gone."""

from __future__ import annotations

from proxeny.event.dispatcher import Dispatcher
from proxeny.kernel.stats import Segment
from proxeny.stats.schema import Schema
from proxeny.stats.store import WorkerStore
from proxeny.worker.leaving_clusters import LeavingClusters

SCHEMA = Schema("test_leaving", counters=("count",))


class Host:
    is_busy = True


def test_they_wait_for_their_last_connection() -> None:
    dispatcher = Dispatcher()
    store = WorkerStore(Segment.create("test"))
    tables = [{(SCHEMA.name, f"{name}."): base} for name, base in (("busy", 0), ("idle", 8))]
    for table in tables:
        store.install(table)
    block = store.block(SCHEMA, "busy.")
    block.inc(0)
    told: list[int] = []
    leaving = LeavingClusters(dispatcher, store, told.extend)
    host = Host()
    leaving.add(1, [host], tables[0], ())  # type: ignore[list-item]
    leaving.add(2, [], tables[1], ())
    leaving.look()
    assert told == [2]
    assert block.get(0) == 1
    host.is_busy = False
    dispatcher.run_until(lambda: told == [2, 1])
    assert block.get(0) == 0
    leaving.close()
    dispatcher.close()
