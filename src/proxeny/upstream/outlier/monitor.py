"""A worker's side: what is counted for the hosts of a cluster, and when main is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.kernel.outlier import HostMonitor, OutlierTable
from proxeny.upstream.outlier import config, error_matcher
from proxeny.upstream.outlier.config import THRESHOLDS, OutlierConfig, OutlierSettings
from proxeny.upstream.outlier.stats import OUTLIER

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.kernel.stats import Block
    from proxeny.network.factory_context import FactoryContext
    from proxeny.upstream.cluster_info import ClusterInfo
    from proxeny.upstream.outlier.error_matcher import ErrorMatcher


class OutlierRules:
    """The rules of one cluster; shared by the monitors of its hosts."""

    __slots__ = (
        "_context",
        "_own_table",
        "_snapshot",
        "_thresholds",
        "cluster",
        "config",
        "error_matcher",
        "stats",
    )

    def __init__(
        self, cluster: str, config: OutlierConfig, error_matcher: ErrorMatcher | None, context: FactoryContext
    ) -> None:
        self.cluster = cluster
        self.config = config
        self.error_matcher = error_matcher
        """What makes a response an error; None: its status."""
        self.stats: Block | None = None
        """The ``OUTLIER`` block, in main."""
        self._context = context
        self._own_table: OutlierTable | None = None
        self._snapshot: Any = None
        self._thresholds: dict[int, int] = {}

    def monitor(self, base: int) -> HostMonitor:
        """The monitor of the host whose stat block begins at ``base``."""
        config = self.config
        split, degrades = config.split_external_local_origin_errors, config.detect_degraded_hosts
        return HostMonitor(self.table, base, self, split, degrades)

    @property
    def table(self) -> OutlierTable:
        """The counts of all processes; alone (unit tests, tools) those of this one."""
        table = self._context.outliers or self._own_table
        if table is None:
            table = self._own_table = OutlierTable.create()
        return table

    def threshold(self, kind: int) -> int:
        """How many failures of a kind in a row main wants to hear of."""
        runtime = self._context.runtime
        snapshot = None if runtime is None else runtime.snapshot
        if snapshot is not self._snapshot or not self._thresholds:
            self._snapshot = snapshot
            settings = OutlierSettings(self.config, runtime)
            self._thresholds = {kind: settings.integer(name) for kind, name in THRESHOLDS.items()}
        return self._thresholds[kind]

    def report(self, base: int, kind: int) -> None:
        """A host has reached a threshold, or says that it is degraded."""
        tell = getattr(self._context.cluster_manager, "on_outlier", None)
        if tell is not None:
            tell(self.cluster, base, kind)

    def status_for(self, code: int, headers: HeaderMap) -> int:
        """The status that a response counts as: the error matcher makes 500 of what is no 5xx, and 200 of what is."""
        matcher = self.error_matcher
        if matcher is None:
            return code
        if not matcher.matches(headers):
            return 200
        return code if 500 <= code < 600 else 500


def outlier_rules(proto: Any, matcher: Any, info: ClusterInfo, context: FactoryContext) -> OutlierRules:
    """The rules of ``Cluster.outlier_detection``; ``matcher`` is a ``MatchPredicate`` or None. ConfigError."""
    compiled = None if matcher is None else error_matcher.compile(matcher)
    rules = OutlierRules(info.name, config.compile(proto), compiled, context)
    if context.role == "main":
        rules.stats = context.stats.block(OUTLIER, f"{info.stat_prefix}outlier_detection.")
    return rules
