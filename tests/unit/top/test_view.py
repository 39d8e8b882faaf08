"""Rows between two samples."""

import re

from proxeny.top.sample import HostSample, Sample
from proxeny.top.view import compare


def host(address: str, health: str = "healthy", **stats: int) -> HostSample:
    return HostSample(address, "", health, 1, 0, "", stats)


BEFORE = Sample(
    10.0,
    stats={
        "listener.127.0.0.1_80.downstream_cx_active": 1,
        "listener.127.0.0.1_80.downstream_cx_total": 10,
        "listener.127.0.0.1_80.http.a.downstream_rq_2xx": 4,
        "listener.127.0.0.1_80.worker_0.downstream_cx_active": 1,
        "http.a.downstream_rq_total": 100,
        "cluster.c.upstream_rq_total": 100,
        "cluster.c.upstream_rq_5xx": 50,
    },
    hosts={"c": [host("h:1", rq_total=5, rq_success=5)]},
)
NOW = Sample(
    12.0,
    stats={
        "listener.127.0.0.1_80.downstream_cx_active": 3,
        "listener.127.0.0.1_80.downstream_cx_total": 20,
        "listener.127.0.0.1_80.http.a.downstream_rq_2xx": 8,
        "listener.127.0.0.1_80.http.a.downstream_rq_5xx": 2,
        "listener.127.0.0.1_80.worker_0.downstream_cx_active": 3,
        "listener.own.downstream_cx_active": 0,
        "http.a.downstream_rq_total": 140,
        "http.a.downstream_rq_active": 2,
        "cluster.c.upstream_rq_total": 30,
        "cluster.c.upstream_rq_5xx": 52,
        "cluster.c.upstream_rq_timeout": 1,
        "cluster.c.circuit_breakers.default.rq_open": 1,
        "cluster.c.circuit_breakers.high.rq_open": 0,
    },
    quantiles={"cluster.c.upstream_rq_time": [1.0, 2.0, None]},
    hosts={
        "c": [
            host("h:1", rq_total=9, rq_success=8, rq_error=1, rq_active=2),
            host("h:2", "failed active health check", cx_connect_fail=2),
        ],
        "d": [],
    },
    listeners={"main": "127.0.0.1:80"},
)


def test_listeners_are_named_by_their_address() -> None:
    main, own = compare(BEFORE, NOW).listeners
    assert (main.name, main.address, main.cx_active, main.cx_rate, main.rq_rate) == ("main", "127.0.0.1:80", 3, 5, 3)
    assert (own.name, own.address, own.rq_rate) == ("own", "", 0)


def test_managers() -> None:
    (manager,) = compare(BEFORE, NOW).http
    assert (manager.name, manager.rq_rate, manager.rq_active, manager.latency_ms) == ("a", 20.0, 2, [None] * 3)


def test_clusters_and_a_counter_that_began_anew() -> None:
    c, d = compare(BEFORE, NOW).clusters
    assert (c.hosts, c.healthy, c.rq_rate, c.rate_5xx, c.errors_rate) == (2, 1, 15.0, 1.0, 0.5)
    assert (c.latency_ms, c.open_breakers) == ([1.0, 2.0, None], ["default rq"])
    assert (d.hosts, d.rq_rate, d.open_breakers) == (0, 0, [])


def test_hosts() -> None:
    first, second = compare(BEFORE, NOW).hosts
    assert (first.rq_rate, first.rq_active, first.errors_rate, first.success_percent) == (2.0, 2, 0.5, 75.0)
    assert (second.connect_fails_rate, second.success_percent, second.health) == (1, None, "failed active health check")


def test_names_are_filtered() -> None:
    view = compare(BEFORE, NOW, re.compile("^[cm]"))
    assert [row.name for row in view.clusters] == ["c"]
    assert [row.name for row in view.listeners] == ["main"]
    assert view.http == []


def test_subscriptions() -> None:
    stats = {
        "cluster_manager.cds.update_success": 3,
        "cluster_manager.cds.update_rejected": 1,
        "control_plane.connected_state": 1,
        "http.a.rds.r.update_success": 0,
        "http.a.rds.r.update_failure": 2,
        "http.a.rds.r.control_plane.connected_state": 0,
    }
    texts = {"cluster_manager.cds.version_text": "v3"}
    before = Sample(10.0, stats={**stats, "cluster_manager.cds.update_success": 1})
    cds, rds = compare(before, Sample(12.0, stats=stats, texts=texts)).xds
    assert (cds.name, cds.version, cds.updates_rate, cds.updates, cds.rejected) == (
        "cluster_manager.cds",
        "v3",
        1,
        3,
        1,
    )
    assert (rds.name, rds.version, rds.failed) == ("http.a.rds.r", "", 2)
    assert (cds.connected, rds.connected) == (True, False)
    (alone,) = compare(before, Sample(12.0, stats={"sds.a.update_success": 1})).xds
    assert alone.connected is None
