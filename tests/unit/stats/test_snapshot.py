"""StatsView: sums over processes, merged histograms, matchers and buckets of a bootstrap."""

import pytest
from envoy.config.bootstrap.v3 import bootstrap_pb2
from google.protobuf.json_format import ParseDict

from proxeny.event.slices import finish
from proxeny.kernel.stats import Segment
from proxeny.stats import snapshot
from proxeny.stats.config import StatsSettings
from proxeny.stats.schema import Schema
from proxeny.stats.snapshot import StatsView, sanitized
from proxeny.stats.store import MainStore, WorkerStore

VIEWED = Schema(
    "test_viewed", ("rq_total",), ("rq_active", "open"), ("rq_time", "share"),
    percent_histograms=("share",),
)  # fmt: skip
HIDDEN = Schema("test_hidden", ("secret",), hidden=True)
RQ_TOTAL, RQ_ACTIVE, OPEN, RQ_TIME = (VIEWED.slot(name) for name in ("rq_total", "rq_active", "open", "rq_time"))


@pytest.fixture
def world():
    store = MainStore()
    with store.recording() as table:
        store.block(VIEWED, "a.")
    workers = []
    for index in range(2):
        worker = WorkerStore(Segment(store.create_worker_segment(index).fd))
        worker.install(table)
        workers.append(worker)
    return store, [worker.block(VIEWED, "a.") for worker in workers], workers


def settings(config):
    return StatsSettings(ParseDict(config, bootstrap_pb2.Bootstrap()))


def test_counters_and_gauges_are_sums(world):
    store, blocks, workers = world
    for block in blocks:
        block.inc(RQ_TOTAL)
        block.set(OPEN, 1)
    for worker in workers:
        worker.dynamic("a.").inc("rq_200")
    view = StatsView(store)
    values = {value.name: (value.value, value.used) for value in view.counters_and_gauges()}
    assert values == {"a.rq_total": (2, True), "a.rq_active": (0, False), "a.open": (2, True), "a.rq_200": (2, True)}
    assert [value.name for value in view.gauges()] == ["a.rq_active", "a.open"]
    assert sorted(value.name for value in view.counters()) == ["a.rq_200", "a.rq_total"]
    assert view.value("a.rq_total") == 2 and view.value("nope") is None


def test_hidden_schemas_are_not_shown(world):
    store, _, _ = world
    store.block(HIDDEN, "h.").inc(0)
    assert StatsView(store).value("h.secret") is None


def test_histograms_appear_at_the_flush_and_have_intervals(world):
    store, blocks, workers = world
    view = StatsView(store)
    for block in blocks:
        block.record(RQ_TIME, 5)
    workers[0].dynamic("a.").record("dyn", 7)
    histograms = {found.name: found for found in view.histograms()}
    assert not histograms["a.rq_time"].used
    view.flush()
    histograms = {found.name: found for found in view.histograms()}
    assert histograms["a.rq_time"].cumulative().count == 2
    assert histograms["a.dyn"].interval().count == 1
    assert histograms["a.share"].scale == 1_000_000
    blocks[0].record(RQ_TIME, 5)
    view.flush()
    assert next(f for f in view.histograms() if f.name == "a.rq_time").interval().count == 1
    view.flush()
    after = next(f for f in view.histograms() if f.name == "a.rq_time")
    assert (after.interval().count, after.cumulative().count) == (0, 3)


def test_a_dead_workers_samples_stay(world):
    store, blocks, _ = world
    view = StatsView(store)
    blocks[0].record(RQ_TIME, 5)
    view.flush()
    store.retire_worker(0)
    view.flush()
    after = next(f for f in view.histograms() if f.name == "a.rq_time")
    assert (after.cumulative().count, after.interval().count) == (1, 0)


def test_a_removed_object_takes_its_histograms_along():
    store = MainStore()
    view = StatsView(store)
    with store.recording() as table:
        store.block(VIEWED, "gone.").record(RQ_TIME, 3)
    view.flush()
    store.release(table)
    view.flush()
    assert view.histograms() == []
    store.block(VIEWED, "new.")
    assert not any(found.used for found in view.histograms())


def test_what_goes_while_histograms_are_read_is_left_out():
    store = MainStore()
    view = StatsView(store)
    with store.recording() as table:
        store.block(VIEWED, "gone.")
    steps = view.histogram_steps(None)
    next(steps)
    store.release(table)
    store.block(VIEWED, "new.")
    assert finish(steps) == []


@pytest.mark.parametrize(
    ("matcher", "kept"),
    [
        ({"reject_all": True}, []),
        ({"reject_all": False}, ["a.open", "a.rq_active", "a.rq_total"]),
        ({"inclusion_list": {"patterns": [{"suffix": "total"}]}}, ["a.rq_total"]),
        ({"exclusion_list": {"patterns": [{"suffix": "total"}]}}, ["a.open", "a.rq_active"]),
    ],
)
def test_the_stats_matcher(world, matcher, kept):
    view = StatsView(world[0], settings({"stats_config": {"stats_matcher": matcher}}))
    assert sorted(value.name for value in view.counters_and_gauges()) == kept


def test_histogram_buckets_of_the_configuration():
    chosen = settings(
        {"stats_config": {"histogram_bucket_settings": [{"match": {"prefix": "a."}, "buckets": [10, 1]}]}}
    )
    assert chosen.buckets("a.rq_time") == (1, 10)
    assert chosen.buckets("b.rq_time")[0] == 0.5


def test_the_flush_interval_of_the_configuration():
    assert settings({"stats_flush_interval": "2s"}).flush_interval_ms == 2000
    assert settings({}).flush_interval_ms == 5000


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("cluster.a.", "cluster.a."),
        ("cluster.DFPCluster:a.test:80.", "cluster.DFPCluster_a.test_80."),
        ("cluster.http://a/b.", "cluster.http_a/b."),
        ("listener.[::1]:80.", "listener.[__1]_80."),
    ],
)
def test_names_are_shown_without_colons(name, shown):
    assert sanitized(name) == shown
    store = MainStore()
    store.block(Schema("sanitized", counters=("x",)), name).inc(0)
    view = StatsView(store, StatsSettings(bootstrap_pb2.Bootstrap()))
    assert view.value(f"{shown}x") == 1


class Containing:
    """A filter that counts how often it is asked."""

    def __init__(self, text: str) -> None:
        self.key = text
        self.asked = 0

    def accepts(self, name: str) -> bool:
        self.asked += 1
        return self.key in name


def test_a_filters_choice_is_remembered() -> None:
    store, names = MainStore(), Containing("_a")
    view = StatsView(store)
    store.block(Schema("remembered", ["c_a", "c_b"], ["g_a"], ["h_a", "h_b"]), "x.").inc(0)
    for _ in range(2):
        assert [value.name for value in view.counters_and_gauges(names)] == ["x.c_a", "x.g_a"]
        assert [value.name for value in view.counters(names)] == ["x.c_a"]
        assert [value.name for value in view.gauges(names)] == ["x.g_a"]
        assert [value.name for value in view.histograms(names)] == ["x.h_a"]
    assert names.asked == 5


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "MOST_REMEMBERED", 3)
    store = MainStore()
    view = StatsView(store)
    store.block(Schema("bounded", ["c_a"]), "x.")
    for number in range(10):
        view.counters(Containing(str(number)))
        (entry,) = store.entries.values()
        assert entry.chosen is not None
        assert len(entry.chosen) <= 3


def test_text_statistics_have_no_colons_either() -> None:
    store = MainStore()
    store.text_readout("sds.a:b/c://d.version_text", "v1")
    assert StatsView(store).text_readouts() == [("sds.a_b/c_d.version_text", "v1")]
