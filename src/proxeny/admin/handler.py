"""The admin interface: which page answers which path, and with which methods (Envoy: AdminImpl)."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import NamedTuple

from proxeny.admin import profiling
from proxeny.admin.clusters import ListingHandler
from proxeny.admin.config_dump import ConfigDumpHandler
from proxeny.admin.context import AdminContext
from proxeny.admin.explain import ExplainHandler
from proxeny.admin.query import Query, parse_query
from proxeny.admin.reload import PARAMETERS as RELOAD_PARAMETERS
from proxeny.admin.reload import ReloadHandler
from proxeny.admin.response import HTML, AdminResponse, respond
from proxeny.admin.server_commands import LEVELS, ServerCommands
from proxeny.admin.server_pages import ServerPages
from proxeny.admin.stats_handler import StatsHandler
from proxeny.admin.stats_params import BUCKET_MODES, TYPES
from proxeny.admin.xds_page import XdsHandler
from proxeny.explain.facts import PARAMETERS
from proxeny.explain.recent import RECENT_PARAMETERS
from proxeny.explain.request_facts import REQUEST_PARAMETERS

Handle = Callable[[Query, bytes], AdminResponse]


class Page(NamedTuple):
    """One path: what it is for, whether it changes something (POST only), and its parameters with their meaning."""

    path: str
    help: str
    handle: Handle
    mutates: bool = False
    parameters: tuple[tuple[str, str], ...] = ()


def _one_of(*values: str) -> str:
    return f"One of ({', '.join(values)})"


_REGEX = "RE2 expression that names are searched for"
_SWITCH = (("enable", f"switch it on or off; {_one_of('y', 'n')}"),)
_STATS = (
    ("usedonly", "leave out what was never written"),
    ("filter", _REGEX),
    ("invert_filter", "show what does not match the filter"),
)


class AdminHandler:
    """Answers admin requests; no I/O, no state but the context's."""

    def __init__(self, context: AdminContext) -> None:
        self._pages = {page.path: page for page in self._page_list(context)}

    def run(self, method: bytes, path_and_query: bytes, body: bytes = b"") -> AdminResponse:
        """The answer to one request."""
        query = parse_query(path_and_query)
        page = self._pages.get(query.path)
        if page is None:
            return respond(f"invalid path. {self._help()}", 404)
        if page.mutates and method != b"POST":
            return respond(f"Method {method.decode('latin-1')} not allowed, POST required.", 405)
        return page.handle(query, body)

    def _page_list(self, context: AdminContext) -> list[Page]:
        stats, server, commands = StatsHandler(context), ServerPages(context), ServerCommands(context)
        xds = XdsHandler(context)
        listings, dump, explainer = ListingHandler(context), ConfigDumpHandler(context), ExplainHandler(context)
        reloads = ReloadHandler(context)
        return [
            Page("/", "Admin home page", self._home),
            Page("/allocprofiler", "switch the allocation profiler", profiling.allocation_profiler, True, _SWITCH),
            Page("/certs", "certificates in use", server.certs),
            Page("/clusters", "clusters and their hosts", listings.clusters, False, (("filter", _REGEX),)),
            Page("/config_dump", "the loaded configuration", dump.config_dump, False, _CONFIG_DUMP),
            Page("/contention", "mutex contention", profiling.contention),
            Page("/cpuprofiler", "switch the CPU profiler", profiling.cpu_profiler, True, _SWITCH),
            Page("/drain_listeners", "drain and stop listeners", commands.drain_listeners, True, _DRAIN),
            Page("/explain", "what becomes of a connection or a request, and why", explainer.explain, True, _EXPLAIN),
            Page("/explain/recent", "the last failed requests, and why", explainer.recent, False, _RECENT),
            Page("/healthcheck/fail", "make health checks of this server fail", commands.health_check_fail, True),
            Page("/healthcheck/ok", "make health checks of this server pass", commands.health_check_ok, True),
            Page("/heap_dump", "dump the heap", profiling.heap_dump),
            Page("/heapprofiler", "switch the heap profiler", profiling.heap_profiler, True, _SWITCH),
            Page("/help", "this list", self._help_page),
            Page("/hot_restart_version", "which versions a hot restart may replace", server.hot_restart_version),
            Page("/init_dump", "what initialisation still waits for", server.init_dump, False, _INIT_DUMP),
            Page("/listeners", "listeners and their addresses", listings.listeners, False, _LISTENERS),
            Page("/logging", "show or change log levels", commands.logging, True, _LOGGING),
            Page("/memory", "memory in use", server.memory),
            Page("/memory/tcmalloc", "statistics of the allocator", profiling.tcmalloc),
            Page("/peak_heap_dump", "dump the heap at its peak", profiling.heap_dump),
            Page("/quitquitquit", "exit the server", commands.quit, True),
            Page("/ready", "the server's state; 200 when it is LIVE, else 503", server.ready),
            Page("/reload", "load the configuration anew", reloads.reload, True, RELOAD_PARAMETERS),
            Page("/reload/status", "what became of the last reload", reloads.status),
            Page("/reopen_logs", "reopen access logs", commands.reopen_logs, True),
            Page("/reset_counters", "set all counters to zero", stats.reset_counters, True),
            Page("/runtime", "runtime values, layer by layer", server.runtime),
            Page("/runtime_modify", "set runtime values; an empty one removes", commands.runtime_modify, True),
            Page("/server_info", "version, state and options of the server", server.server_info),
            Page("/stats", "statistics", stats.stats, False, _STATS_PAGE),
            Page("/stats/prometheus", "statistics in Prometheus' format", stats.prometheus, False, _PROMETHEUS),
            Page("/stats/recentlookups", "recent look-ups of names", stats.recent_lookups),
            Page("/stats/recentlookups/clear", "forget the look-ups", stats.recent_lookups_clear, True),
            Page("/stats/recentlookups/disable", "stop recording look-ups", stats.recent_lookups_disable, True),
            Page("/stats/recentlookups/enable", "record look-ups", stats.recent_lookups_enable, True),
            Page("/xds", "what is discovered: versions, refusals, times", xds.xds, False, _XDS),
            Page("/xds/history", "the last updates and what they changed", xds.history, False, _XDS_HISTORY),
        ]

    def _help(self) -> str:
        lines = ["admin commands are:\n"]
        for page in self._pages.values():
            lines.append(f"  {page.path}{' (POST)' if page.mutates else ''}: {page.help}\n")
            lines += [f"      {name}: {meaning}\n" for name, meaning in page.parameters]
        return "".join(lines)

    def _help_page(self, query: Query, body: bytes) -> AdminResponse:
        return respond(self._help())

    def _home(self, query: Query, body: bytes) -> AdminResponse:
        rows = "".join([_row(page) for page in self._pages.values() if page.path != "/"])
        return respond(_HOME % rows, content_type=HTML)


def _row(page: Page) -> str:
    target = html.escape(page.path[1:])
    if page.mutates:
        link = f"<form action='{target}' method='post'><button>{target}</button></form>"
    else:
        link = f"<a href='{target}'>{target}</a>"
    return f"<tr><td>{link}</td><td>{html.escape(page.help)}</td></tr>\n"


_HOME = (
    "<!DOCTYPE html>\n<html lang='en'>\n<head>\n<title>Envoy Admin</title>\n"
    "<style>body { font-family: sans-serif } td { padding: 4px } form { margin: 0 }</style>\n</head>\n<body>\n"
    "<table>\n<thead><tr><th>Command</th><th>Description</th></tr></thead>\n<tbody>\n%s</tbody>\n</table>\n"
    "</body>\n</html>\n"
)
_CONFIG_DUMP = (
    ("resource", "the repeated field to list"),
    ("mask", "fields to keep, as a FieldMask; with resource, of each of its elements"),
    ("name_regex", "RE2 expression for the names of what is shown"),
    ("include_eds", "show endpoints too"),
)
_DRAIN = (
    ("graceful", "wait for the drain time before listeners close"),
    ("skip_exit", "drain connections, but keep the listeners"),
    ("inboundonly", "only listeners of inbound traffic"),
)
_FORMAT = ("format", f"format of the answer; {_one_of('text', 'json')}")
_EXPLAIN = (*PARAMETERS.items(), *REQUEST_PARAMETERS.items(), _FORMAT)
_RECENT = (*RECENT_PARAMETERS.items(), _FORMAT)
_INIT_DUMP = (("mask", "the part to show, as a FieldMask"),)
_LISTENERS = (_FORMAT,)
_XDS = (
    ("type", "part of the names of types"),
    ("name", "name of a resource"),
    ("format", f"format of the answer; {_one_of('text', 'json', 'html')}"),
)
_XDS_HISTORY = (*_XDS, ("event", "number of one update"), ("diff", "show what was changed of each resource"))
_LOGGING = (
    ("paths", "several levels at once: <name>:<level>,<name>:<level>"),
    ("group", "the level of one logger: <name>:<level>"),
    ("level", f"one level for all loggers; {_one_of('', *LEVELS)}"),
)
_STATS_PAGE = (
    *_STATS,
    ("format", f"format of the answer; {_one_of('html', 'active-html', 'text', 'json')}"),
    ("type", f"kinds of statistics; {_one_of(*TYPES)}"),
    ("histogram_buckets", f"how histograms are shown; {_one_of(*BUCKET_MODES[:4])}"),
)
_PROMETHEUS = (
    ("usedonly", "leave out what was never written"),
    ("text_readouts", "show text statistics as gauges of value 0"),
    *_STATS[1:],
    ("histogram_buckets", f"how histograms are shown; {_one_of('cumulative', 'summary')}"),
)
