"""The statistics of calls by method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from proxeny.network.factory_context import FactoryContext
from proxeny.upstream import cluster_config, grpc_stats
from proxeny.upstream.cluster_info import ClusterInfo
from proxeny.upstream.grpc_stats import GrpcClusters, GrpcMethodStats


def info_of(context: FactoryContext, static_cluster: Callable[..., Any]) -> ClusterInfo:
    return cluster_config.compile(static_cluster("c", 1), context).info


def test_statuses(context: FactoryContext, static_cluster: Callable[..., Any]) -> None:
    dynamic = info_of(context, static_cluster).dynamic
    stats = GrpcMethodStats(dynamic, "grpc.s.m.")
    for status in (b"0", b"5", b"99", b"", None):
        stats.charge_status(status)
    for name in ("grpc.s.m.0", "grpc.s.m.5", "grpc.s.m.99", "grpc.s.m", "grpc.s.m.success"):
        assert dynamic.get(name) == 1, name
    assert dynamic.get("grpc.s.m.failure") == 3
    assert dynamic.get("grpc.s.m.total") == 4


def test_messages(context: FactoryContext, static_cluster: Callable[..., Any]) -> None:
    dynamic = info_of(context, static_cluster).dynamic
    stats = GrpcMethodStats(dynamic, "grpc.")
    stats.add_request_messages(2)
    stats.add_response_messages(3)
    assert dynamic.get("grpc.request_message_count") == 2
    assert dynamic.get("grpc.response_message_count") == 3


def test_methods_are_kept_up_to_a_number(
    context: FactoryContext, static_cluster: Callable[..., Any], monkeypatch: Any
) -> None:
    monkeypatch.setattr(grpc_stats, "MOST_METHODS", 2)
    clusters = GrpcClusters(lambda path: None if path is None else path.decode())
    info = info_of(context, static_cluster)
    first = clusters.find(info, b"a")
    assert clusters.find(info, b"a") is first
    assert clusters.find(info, None) is None
    assert clusters.find(info, b"c") is not None
    assert clusters.find(info, b"a") is not first
    assert clusters.find(info_of(context, static_cluster), b"a") is not clusters.find(info, b"a")
