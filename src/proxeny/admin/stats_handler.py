"""/stats, /stats/prometheus, /reset_counters and /stats/recentlookups (Envoy: StatsHandler)."""

from __future__ import annotations

import html
from collections.abc import Iterator
from itertools import chain
from operator import attrgetter
from typing import Final

from proxeny.admin import prometheus, stats_json, stats_text
from proxeny.admin.context import AdminContext
from proxeny.admin.pieces import pauses, sorted_steps
from proxeny.admin.query import Query
from proxeny.admin.response import HTML, JSON, OK, TEXT, AdminResponse, respond, respond_in_pieces
from proxeny.admin.stats_params import StatsParams
from proxeny.event.slices import Steps
from proxeny.kernel.stats import COUNTER, GAUGE
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
        if params.format == "prometheus":
            return respond_in_pieces(prometheus.render(self._context.stats, params))
        pieces = self._pieces(params)
        if "html" in params.format:
            return respond_in_pieces(chain((_PAGE_HEAD,), map(html.escape, pieces), (_PAGE_TAIL,)), HTML)
        return respond_in_pieces(pieces, JSON if params.format == "json" else TEXT)

    def _pieces(self, params: StatsParams) -> Iterator[str]:
        readouts = self._readouts(params)
        values = yield from pauses(self._values(params))
        ordered = yield from pauses(sorted_steps(values, key=attrgetter("name")))
        histograms = yield from pauses(self._histograms(params))
        render = stats_json.render if params.format == "json" else stats_text.render
        yield from render(readouts, ordered, histograms, params.buckets)

    def _readouts(self, params: StatsParams) -> list[tuple[str, str]]:
        if not params.shows("TextReadouts"):
            return []
        return sorted([one for one in self._context.stats.text_readouts() if params.accepts(one[0], True)])

    def _values(self, params: StatsParams) -> Steps[list[Value]]:
        view = self._context.stats
        if params.type not in _KINDS:
            return []
        return (yield from view.value_steps(_KINDS[params.type], params.names, params.used_only))

    def _histograms(self, params: StatsParams) -> Steps[list[HistogramValue]]:
        if not params.shows("Histograms"):
            return []
        found = yield from self._context.stats.histogram_steps(params.names)
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


_KINDS: Final[dict[str, int | None]] = {"Counters": COUNTER, "Gauges": GAUGE, "All": None}
# Names and text readouts may hold what clients and control planes sent: they are escaped.
_PAGE_HEAD: Final = "<!DOCTYPE html>\n<html lang='en'>\n<head><title>Stats</title></head>\n<body>\n<pre>\n"
_PAGE_TAIL: Final = "</pre>\n</body>\n</html>\n"
