"""MainStore and WorkerStore: the same compile code on both sides, removal, dead workers, reset."""

import pytest

from proxeny.kernel.stats import Segment, sum_slots
from proxeny.stats.schema import Schema, SchemaError
from proxeny.stats.store import MainStore, StatsError, WorkerStore

THING = Schema("test_thing", counters=("rq_total", "rq_error"), gauges=("rq_active",), histograms=("rq_time",))
RQ_TOTAL, RQ_ACTIVE, RQ_TIME = THING.slot("rq_total"), THING.slot("rq_active"), THING.slot("rq_time")


def worker_of(store, index):
    segment = store.create_worker_segment(index)
    return WorkerStore(Segment(segment.fd))


def total(store, prefix, slot):
    entry = store.entries[(THING.name, prefix)]
    return sum_slots(store.blocks_of(entry), THING.size)[0][slot]


def test_slots_are_counters_gauges_histograms_in_order():
    assert [THING.slot(name) for name in THING.names] == [0, 1, 2, 3]
    assert [THING.kind(slot) for slot in range(4)] == [0, 0, 1, 2]


def test_a_schema_cannot_change_or_repeat_a_name():
    with pytest.raises(SchemaError):
        Schema("test_thing", counters=("other",))
    with pytest.raises(SchemaError):
        Schema("test_twice", counters=("a",), gauges=("a",))


def test_the_same_object_gets_the_same_slots():
    store = MainStore()
    store.block(THING, "a.").inc(RQ_TOTAL)
    store.block(THING, "a.").inc(RQ_TOTAL)
    assert store.block(THING, "a.").get(RQ_TOTAL) == 2
    assert store.block(THING, "b.").get(RQ_TOTAL) == 0


def test_a_worker_finds_what_main_recorded_and_main_sums():
    store = MainStore()
    with store.recording() as table:
        store.block(THING, "a.")
    workers = [worker_of(store, 0), worker_of(store, 1)]
    for worker in workers:
        worker.install(table)
        worker.block(THING, "a.").add(RQ_TOTAL, 3)
    assert total(store, "a.", RQ_TOTAL) == 6
    with pytest.raises(StatsError):
        workers[0].block(THING, "unknown.")


def test_a_released_block_is_zeroed_and_its_place_reused():
    store = MainStore()
    with store.recording() as table:
        store.block(THING, "a.")
    worker = worker_of(store, 0)
    worker.install(table)
    block = worker.block(THING, "a.")
    block.inc(RQ_TOTAL)
    block.record(RQ_TIME, 5)
    worker.release(table)
    store.release(table)
    assert not store.entries
    with store.recording() as again:
        store.block(THING, "b.")
    assert list(again.values()) == list(table.values())
    assert total(store, "b.", RQ_TOTAL) == 0


def test_a_block_with_two_owners_lives_until_both_let_go():
    store = MainStore()
    with store.recording() as first:
        store.block(THING, "a.")
        store.block(THING, "a.")
    with store.recording() as second:
        store.block(THING, "a.").inc(RQ_TOTAL)
    worker = worker_of(store, 0)
    worker.install(first)
    worker.install(second)
    worker.block(THING, "a.").inc(RQ_TOTAL)
    worker.release(first)
    store.release(first)
    assert total(store, "a.", RQ_TOTAL) == 2
    worker.release(second)
    store.release(second)
    assert not store.entries


def test_a_failed_compile_leaves_nothing_behind():
    store = MainStore()
    with pytest.raises(ZeroDivisionError), store.recording():
        store.block(THING, "a.")
        raise ZeroDivisionError
    assert not store.entries


def test_a_dead_worker_keeps_its_counts_and_loses_its_gauges():
    store = MainStore()
    with store.recording() as table:
        store.block(THING, "a.")
    worker = worker_of(store, 0)
    worker.install(table)
    block = worker.block(THING, "a.")
    block.inc(RQ_TOTAL)
    block.inc(RQ_ACTIVE)
    block.record(RQ_TIME, 10)
    worker.dynamic("a.").inc("rq_200")
    with pytest.raises(StatsError):
        store.create_worker_segment(0)
    store.retire_worker(0)
    assert total(store, "a.", RQ_TOTAL) == 1
    assert total(store, "a.", RQ_ACTIVE) == 0
    replacement = worker_of(store, 0)
    replacement.install(table)
    replacement.block(THING, "a.").inc(RQ_TOTAL)
    assert total(store, "a.", RQ_TOTAL) == 2


def test_reset_counters_zeroes_sums_without_writing_into_workers():
    store = MainStore()
    with store.recording() as table:
        store.block(THING, "a.").add(RQ_TOTAL, 2)
    worker = worker_of(store, 0)
    worker.install(table)
    block = worker.block(THING, "a.")
    block.add(RQ_TOTAL, 5)
    block.inc(RQ_ACTIVE)
    worker.dynamic("a.").inc("rq_200")
    store.reset_counters()
    assert total(store, "a.", RQ_TOTAL) == 0
    assert total(store, "a.", RQ_ACTIVE) == 1
    block.inc(RQ_TOTAL)
    assert total(store, "a.", RQ_TOTAL) == 1
    assert block.get(RQ_TOTAL) == 6


def test_slots_that_come_back_are_told():
    store = MainStore()
    freed = []
    store.on_freed = lambda base, size: freed.append((base, size))
    with store.recording() as table:
        store.block(THING, "a.")
    base = store.entries[(THING.name, "a.")].base
    store.release(table)
    assert freed == [(base, THING.size)]


def test_a_replacement_gets_the_same_segment_as_new():
    store = MainStore()
    with store.recording() as table:
        store.block(THING, "a.")
    segments = store.worker_segments(2)
    worker = worker_of(store, 0)
    assert worker.segment.fd == segments[0].fd
    worker.install(table)
    worker.block(THING, "a.").inc(RQ_TOTAL)
    worker.dynamic("a.").inc("rq_200")
    store.retire_worker(0)
    again = worker_of(store, 0)
    assert again.segment.fd == segments[0].fd
    assert store.worker_segments(2) == segments
    again.install(table)
    assert again.block(THING, "a.").get(RQ_TOTAL) == 0
    assert again.segment.dynamic_entries() == []
    assert total(store, "a.", RQ_TOTAL) == 1


def thing_steps(store, *prefixes):
    for prefix in prefixes:
        store.block(THING, prefix)
        yield
    if not prefixes:
        raise ZeroDivisionError
    return "made"


def test_a_recording_in_slices_holds_nothing_that_is_requested_between_them():
    store = MainStore()
    steps = store.recording_steps(thing_steps(store, "a.", "b."))
    next(steps)
    with store.recording() as other:
        store.block(THING, "c.")
    next(steps)
    with pytest.raises(StopIteration) as end:
        next(steps)
    made, table = end.value.value
    assert made == "made"
    assert [prefix for _, prefix in table] == ["a.", "b."]
    assert [prefix for _, prefix in other] == ["c."]
    store.release(table)
    assert [prefix for _, prefix in store.entries] == ["c."]


def test_a_recording_in_slices_that_fails_or_is_left_owns_nothing():
    store = MainStore()
    with pytest.raises(ZeroDivisionError):
        next(store.recording_steps(thing_steps(store)))
    steps = store.recording_steps(thing_steps(store, "a.", "b."))
    next(steps)
    assert store.entries
    steps.close()
    assert not store.entries
