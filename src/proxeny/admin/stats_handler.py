"""/stats, /stats/prometheus, /reset_counters and /stats/recentlookups (Envoy: StatsHandler)."""

from __future__ import annotations

import html

from proxeny.admin import prometheus, stats_json, stats_text
from proxeny.admin.context import AdminContext
from proxeny.admin.query import Query
from proxeny.admin.response import HTML, JSON, OK, AdminResponse, respond
from proxeny.admin.stats_params import StatsParams
from proxeny.stats.snapshot import HistogramValue, Value


class StatsHandler:
    """Pages about statistics."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context
        self._lookups_enabled = False

    def stats(self, query: Query, body: bytes) -> AdminResponse:
        """/stats"""
        return self._stats(query, prometheus_page=False)

    def prometheus(self, query: Query, body: bytes) -> AdminResponse:
        """/stats/prometheus"""
        return self._stats(query, prometheus_page=True)

    def _stats(self, query: Query, prometheus_page: bool) -> AdminResponse:
        params = StatsParams()
        bad = params.parse(query, prometheus_page)
        if bad is not None:
            return bad
        self._context.refresh_stats()
        view = self._context.stats
        if params.format == "prometheus":
            return respond(prometheus.render(view, params))
        readouts = self._readouts(params)
        values, histograms = self._values(params), self._histograms(params)
        if params.format == "json":
            return respond(stats_json.render(readouts, values, histograms, params.buckets), content_type=JSON)
        text = stats_text.render(readouts, values, histograms, params.buckets)
        return respond(_page(text), content_type=HTML) if "html" in params.format else respond(text)

    def _readouts(self, params: StatsParams) -> list[tuple[str, str]]:
        if not params.shows("TextReadouts"):
            return []
        return sorted([one for one in self._context.stats.text_readouts() if params.accepts(one[0], True)])

    def _values(self, params: StatsParams) -> list[Value]:
        view = self._context.stats
        if params.type == "Counters":
            found = view.counters(params.names)
        elif params.type == "Gauges":
            found = view.gauges(params.names)
        else:
            found = view.counters_and_gauges(params.names) if params.type == "All" else []
        return sorted([value for value in found if value.used] if params.used_only else found)

    def _histograms(self, params: StatsParams) -> list[HistogramValue]:
        if not params.shows("Histograms"):
            return []
        found = self._context.stats.histograms(params.names)
        return sorted([one for one in found if one.used or not params.used_only], key=lambda one: one.name)

    def reset_counters(self, query: Query, body: bytes) -> AdminResponse:
        """/reset_counters"""
        self._context.stats.store.reset_counters()
        return respond(OK)

    def recent_lookups(self, query: Query, body: bytes) -> AdminResponse:
        """/stats/recentlookups: names are never looked up per request here, so there is nothing to list."""
        if self._lookups_enabled:
            return respond("   Count Lookup\n\ntotal: 0\n")
        return respond("Lookup tracking is not enabled. Use /stats/recentlookups/enable to enable.\n\ntotal: 0\n")

    def recent_lookups_clear(self, query: Query, body: bytes) -> AdminResponse:
        """/stats/recentlookups/clear"""
        return respond(OK)

    def recent_lookups_disable(self, query: Query, body: bytes) -> AdminResponse:
        """/stats/recentlookups/disable"""
        self._lookups_enabled = False
        return respond(OK)

    def recent_lookups_enable(self, query: Query, body: bytes) -> AdminResponse:
        """/stats/recentlookups/enable"""
        self._lookups_enabled = True
        return respond(OK)


_PAGE = (
    "<!DOCTYPE html>\n<html lang='en'>\n<head><title>Stats</title></head>\n<body>\n<pre>\n%s</pre>\n</body>\n</html>\n"
)


def _page(text: str) -> str:
    # Names and text readouts may hold what clients and control planes sent.
    return _PAGE % html.escape(text)
