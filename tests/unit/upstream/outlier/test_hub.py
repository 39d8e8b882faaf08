"""Reports find their detector; detectors live as long as their clusters, and know their hosts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from proxeny.network.factory_context import FactoryContext
from proxeny.stats.store import MainStore
from proxeny.upstream.endpoints import FAILED_OUTLIER_CHECK
from proxeny.upstream.main_cluster_manager import MainClusterManager
from proxeny.upstream.outlier.config import EjectionType
from proxeny.upstream.stats import HOST

WATCHED = {"outlier_detection": {"max_ejection_percent": 100}}


def manager(context: FactoryContext, *clusters: Any) -> MainClusterManager:
    made = MainClusterManager(context, 1)
    made.add_static(clusters)
    made.initialize(lambda: None)
    return made


def base(store: Any, name: str, index: int) -> int:
    assert isinstance(store, MainStore)
    return store.entries[HOST.name, f"cluster.{name}.host.{index}."].base


def test_reports_eject(context: FactoryContext, static_cluster: Callable[..., Any]) -> None:
    main = manager(context, static_cluster("a", 1, 2, **WATCHED), static_cluster("b", 1))
    assert main.outliers.find("b") is None
    main.outliers.on_reported("a", base(context.stats, "a", 1), EjectionType.CONSECUTIVE_5XX)
    main.outliers.on_reported("a", base(context.stats, "b", 0), EjectionType.CONSECUTIVE_5XX)
    main.outliers.on_reported("b", base(context.stats, "b", 0), EjectionType.CONSECUTIVE_5XX)
    main.outliers.on_reported("nobody", 0, EjectionType.CONSECUTIVE_5XX)
    a, b = main.clusters()
    assert [host.flags for host in a.hosts] == [0, FAILED_OUTLIER_CHECK]
    assert [host.flags for host in b.hosts] == [0]
    assert a.outlier is not None and a.outlier.average == -1
    assert b.outlier is None
    main.close()


def test_a_replaced_cluster_begins_anew(context: FactoryContext, static_cluster: Callable[..., Any]) -> None:
    main = manager(context)
    main.add_or_update(static_cluster("a", 1, **WATCHED))
    old = main.outliers.find("a")
    main.outliers.on_reported("a", base(context.stats, "a", 0), EjectionType.CONSECUTIVE_5XX)
    main.add_or_update(static_cluster("a", 1, connect_timeout="1s", **WATCHED))
    fresh = main.outliers.find("a")
    assert fresh is not None and fresh is not old
    assert [host.flags for host in next(main.clusters()).hosts] == [0]
    main.remove("a")
    assert main.outliers.find("a") is None
    main.close()
