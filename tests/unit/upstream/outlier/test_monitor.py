"""A worker's rules: thresholds that follow the runtime, what main is told, what a response counts as."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2

from proxeny.kernel.headers import HeaderMap
from proxeny.kernel.outlier import OutlierTable
from proxeny.network.factory_context import FactoryContext
from proxeny.runtime.snapshot import RuntimeReader, Snapshot, make_entry
from proxeny.upstream import cluster_config
from proxeny.upstream.host import Host
from proxeny.upstream.outlier.stats import OUTLIER

OPTIONS = http_protocol_options_pb2.HttpProtocolOptions.DESCRIPTOR.full_name
MATCHER = {
    OPTIONS: {
        "@type": f"type.googleapis.com/{OPTIONS}",
        "explicit_http_config": {"http_protocol_options": {}},
        "outlier_detection": {
            "error_matcher": {"http_response_headers_match": {"headers": [{"name": "x-bad", "present_match": True}]}}
        },
    }
}


class Told:
    """Stands for the worker's cluster manager."""

    def __init__(self) -> None:
        self.reports: list[tuple[str, int, int]] = []

    def on_outlier(self, cluster: str, base: int, kind: int) -> None:
        self.reports.append((cluster, base, kind))


def test_nothing_is_watched_unasked(context: FactoryContext, static_cluster: Callable[..., Any]) -> None:
    info = cluster_config.compile(static_cluster("c", 1), context).info
    assert info.outlier is None
    assert (
        Host(info, cluster_config.compile(static_cluster("c", 1), context).hosts[0], info.host_stats(0)).outlier is None
    )


def test_main_allots_the_statistics_and_both_count(context: FactoryContext, static_cluster: Callable[..., Any]) -> None:
    table = OutlierTable.create()
    told = Told()
    context.outliers, context.cluster_manager = table, told
    config = cluster_config.compile(static_cluster("c", 1, outlier_detection={"consecutive_5xx": 2}), context)
    rules = config.info.outlier
    assert rules is not None and rules.stats is not None and rules.stats.size == OUTLIER.size
    assert rules.table is table
    host = Host(config.info, config.hosts[0], config.info.host_stats(0))
    assert host.outlier is not None
    for _ in range(2):
        host.outlier.put_result(0, 500)
    assert told.reports == [("c", host.stats.base, 0)]


def test_thresholds_follow_the_runtime(context: FactoryContext, static_cluster: Callable[..., Any]) -> None:
    context.runtime = RuntimeReader()
    rules = cluster_config.compile(static_cluster("c", 1, outlier_detection={}), context).info.outlier
    assert rules is not None
    assert [rules.threshold(kind) for kind in (0, 1, 3)] == [5, 5, 5]
    context.runtime.snapshot = Snapshot(
        {
            "outlier_detection.consecutive_gateway_failure": make_entry(7),
            "outlier_detection.consecutive_local_origin_failure": make_entry(0),
        }
    )
    assert [rules.threshold(kind) for kind in (0, 1, 3)] == [5, 7, 0]


@pytest.mark.parametrize(
    ("code", "bad", "counted"), [(200, True, 500), (503, True, 503), (503, False, 200), (404, False, 200)]
)
def test_the_error_matcher_decides(
    context: FactoryContext, static_cluster: Callable[..., Any], code: int, bad: bool, counted: int
) -> None:
    proto: cluster_pb2.Cluster = static_cluster("c", 1, outlier_detection={}, typed_extension_protocol_options=MATCHER)
    rules = cluster_config.compile(proto, context).info.outlier
    assert rules is not None
    assert rules.status_for(code, HeaderMap(((b"x-bad", b"1"),) if bad else ())) == counted


def test_without_a_matcher_the_status_counts(context: FactoryContext, static_cluster: Callable[..., Any]) -> None:
    rules = cluster_config.compile(static_cluster("c", 1, outlier_detection={}), context).info.outlier
    assert rules is not None
    assert rules.status_for(599, HeaderMap()) == 599
    rules.report(1, 0)
    alone = replace(context, outliers=None)
    assert alone.outliers is None and rules.table is rules.table
