"""Metrics that endpoints report with responses, for load reports (``lrs_report_endpoint_metrics``); in workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.upstream.orca import has_report, named_values, parse_report

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.factory_context import FactoryContext
    from proxeny.upstream.host import Host
    from proxeny.upstream.load_balancer.contract import OrcaListener
    from proxeny.upstream.load_report import Metrics

TELL_MS: Final = 100
"""Main hears so long after the first of several reports."""


class LoadMetrics:
    """Sums of one cluster, which main is told of. ``next``: who else wants the reports."""

    __slots__ = ("_cluster", "_context", "_hosts", "_names", "_timer", "next")

    def __init__(self, names: tuple[str, ...], context: FactoryContext, cluster: str) -> None:
        dispatcher = context.dispatcher
        assert dispatcher is not None
        self._names = names
        self._context = context
        self._cluster = cluster
        self._hosts: dict[int, Metrics] = {}
        self._timer = dispatcher.create_timer(self._on_timer)
        self.next: OrcaListener | None = None

    def on_headers(self, headers: HeaderMap, host: Host) -> bool:
        """A response came."""
        if self.next is not None:
            self.next.on_headers(headers, host)
        report: Any = parse_report(headers) if has_report(headers) else None
        if report is None:
            return False
        self._add(host.entry.stat_index, report)
        return True

    def _add(self, stat_index: int, report: Any) -> None:
        metrics = self._hosts.setdefault(stat_index, {})
        for name, value in named_values(report, self._names):
            count, total = metrics.get(name, (0, 0.0))
            metrics[name] = count + 1, total + value
        if not self._timer.enabled:
            self._timer.enable(TELL_MS)

    def _on_timer(self) -> None:
        hosts, self._hosts = self._hosts, {}
        self._context.cluster_manager.on_load_metrics(self._cluster, hosts)
