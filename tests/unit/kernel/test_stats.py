"""The statistics kernel: slots, histogram bins, dynamic names, taking over a dead writer's segment."""

import pytest

from proxeny.kernel.stats import COUNTER, GAUGE, HISTOGRAM, DynamicLog, DynamicStats, Segment, sum_bins, sum_slots


@pytest.fixture
def segment():
    made = Segment.create()
    yield made
    made.close()


def test_slots_hold_signed_values_and_know_whether_they_were_written(segment):
    block = segment.block(0, 4)
    block.inc(0)
    block.inc2(0, 1)
    block.inc3(0, 1, 2)
    block.dec2(1, 2)
    block.sub(2, 7)
    assert [block.get(slot) for slot in range(4)] == [3, 1, -7, 0]
    assert [block.used(slot) for slot in range(4)] == [True, True, True, False]
    block.set(2, 0)
    assert block.get(2) == 0 and block.used(2)


def test_a_slot_outside_the_block_is_refused(segment):
    block = segment.block(8, 2)
    for slot in (-1, 2, 1 << 40):
        for call in (block.inc, block.dec, block.get, block.used, block.bins, block.count):
            with pytest.raises(IndexError):
                call(slot)
        for call in (block.add, block.sub, block.set, block.record):
            with pytest.raises(IndexError):
                call(slot, 1)
    with pytest.raises(IndexError):
        segment.block((1 << 32) - 4, 8)


def test_another_mapping_of_the_same_memory_sees_the_values(segment):
    segment.block(5, 1).add(0, 41)
    other = Segment(segment.fd)
    other.block(5, 1).inc(0)
    assert segment.block(5, 1).get(0) == 42
    segment.heartbeat = 17
    assert other.heartbeat == 17


@pytest.mark.parametrize(
    ("value", "key"),
    [(-3, 0), (0, 0), (1, 10), (9, 90), (10, 110), (99, 199), (100, 210), (129, 212), (130, 213), (2**62, 1846)],
)
def test_bins_follow_two_decimal_digits(segment, value, key):
    block = segment.block(0, 1)
    block.record(0, value)
    assert block.bins(0) == {key: 1}
    assert block.count(0) == 1


def test_histograms_are_summed_over_segments_and_freed_by_clear(segment):
    other = Segment.create()
    mine, theirs = segment.block(0, 2), other.block(0, 2)
    for value in (1, 1, 250):
        mine.record(1, value)
    theirs.record(1, 250)
    assert sum_bins([mine, theirs], 1) == {10: 2, 225: 2}
    mine.clear(1)
    assert mine.bins(1) == {} and not mine.used(1)
    mine.record(1, 7)
    assert mine.bins(1) == {70: 1}
    other.close()


def test_sum_slots_adds_and_joins_the_used_flags(segment):
    other = Segment.create()
    a, b = segment.block(0, 3), other.block(0, 3)
    a.add(0, 5)
    b.sub(0, 2)
    b.set(1, 0)
    assert sum_slots([a, b], 3) == ([3, 0, 0], bytearray([1, 1, 0]))
    other.close()


def test_dynamic_names_are_listed_and_found_again_by_a_new_log(segment):
    dynamic = DynamicStats(DynamicLog(segment), "cluster.c.")
    dynamic.inc_code(200)
    dynamic.codes().charge(200)
    dynamic.set_gauge("weight", 3)
    dynamic.record("upstream_rq_time", 12)
    listed = {name: (kind, used, value) for name, kind, used, value, _ in segment.dynamic_entries()}
    assert listed == {
        "cluster.c.upstream_rq_200": (COUNTER, True, 2),
        "cluster.c.upstream_rq_completed": (COUNTER, True, 1),
        "cluster.c.upstream_rq_2xx": (COUNTER, True, 1),
        "cluster.c.weight": (GAUGE, True, 3),
        "cluster.c.upstream_rq_time": (HISTOGRAM, True, 1),
    }
    again = DynamicStats(DynamicLog(segment), "cluster.c.")
    again.inc("upstream_rq_200")
    assert dynamic.get("upstream_rq_200") == 3


def test_codes_outside_the_groups_are_counted_by_number_only(segment):
    DynamicStats(DynamicLog(segment), "").codes("rq_").charge(999)
    assert sorted(entry[0] for entry in segment.dynamic_entries()) == ["rq_completed", "rq_unknown"]


def test_the_log_is_capped_and_counts_what_it_refused(segment):
    dynamic = DynamicStats(DynamicLog(segment, max_names=2), "p.")
    for name in ("a", "b", "c", "c"):
        dynamic.inc(name)
    dynamic.record("h", 5)
    dynamic.codes().charge(200)
    assert sorted(entry[0] for entry in segment.dynamic_entries()) == ["p.a", "p.b"]
    assert segment.dropped_names == 6


def test_a_dropped_prefix_gives_its_entries_back(segment):
    log = DynamicLog(segment, max_names=2)
    DynamicStats(log, "one.").inc("x")
    DynamicStats(log, "one.").record("y", 1)
    log.drop("one.")
    assert segment.dynamic_entries() == []
    DynamicStats(log, "two.").inc("x")
    DynamicStats(log, "two.").inc("y")
    assert [(name, value) for name, _, _, value, _ in segment.dynamic_entries()] == [("two.y", 1), ("two.x", 1)]


def test_absorb_keeps_counters_and_samples_and_forgets_gauges(segment):
    dead = Segment.create()
    theirs, mine = dead.block(0, 3), segment.block(0, 3)
    theirs.add(0, 4)
    theirs.set(1, 9)
    theirs.record(2, 50)
    mine.inc(0)
    mine.absorb(theirs, 1, 2)
    assert (mine.get(0), mine.get(1), mine.bins(2)) == (5, 0, {150: 1})
    assert mine.used(1)
    assert theirs.get(0) == 0
    DynamicLog(dead).add(COUNTER, "user.x", 3)
    DynamicLog(dead).add(GAUGE, "user.g", 3)
    log = DynamicLog(segment)
    log.absorb(dead)
    assert log.get(COUNTER, "user.x") == 3
    assert [entry[0] for entry in segment.dynamic_entries()] == ["user.x"]
    dead.close()


def test_a_foreign_file_is_not_taken_for_a_segment(tmp_path):
    path = tmp_path / "other"
    path.write_bytes(b"x" * 64)
    with path.open("r+b") as file:
        file.truncate(1 << 30)
        with pytest.raises(ValueError, match="segment"):
            Segment(file.fileno())


def test_histograms_with_samples_are_listed_by_slot_number(segment):
    block = segment.block(100, 3)
    block.record(1, 5)
    block.record(1, 6)
    block.record(2, 7)
    DynamicStats(DynamicLog(segment), "p.").record("h", 1)
    assert segment.block_histograms() == {101: 2, 102: 1}
    block.clear(1)
    assert segment.block_histograms() == {}
    segment.block(200, 1).record(0, 9)
    assert segment.block_histograms() == {200: 1}
