"""Failed requests, told as they happened.

For those without a route also why there was none: that is asked when somebody looks, of the route table that their
listener has then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from proxeny.config.errors import ConfigError
from proxeny.config.loader import unpack_any
from proxeny.explain.request import HTTP_TYPE, message_of
from proxeny.explain.routes import RouteQuestions, RouteTrace, routes_of
from proxeny.filter_config.provider import current_of
from proxeny.kernel.headers import HeaderMap
from proxeny.network.factory_context import FactoryContext
from proxeny.stats.store import MainStore

if TYPE_CHECKING:
    from proxeny.explain.world import World
    from proxeny.http.recent_failures import FailedRequest
    from proxeny.router.rds.provider import RouteConfigProviders

RECENT_PARAMETERS: Final = {
    "code": "only answers of this code, or class of codes (5xx); 0: none",
    "flag": "only requests with this response flag (NR)",
    "host": "only requests for this authority",
    "listener": "only requests of this listener",
    "route": "only requests of the route of this name",
    "cluster": "only requests for this cluster",
    "limit": "so many at most",
}
DEFAULT_LIMIT: Final = 100
MOST_ROUTES: Final = 5_000
"""Routes that are asked for one page: it is main that asks them, in one turn of its loop."""
_CODES: Final = frozenset(["0", *map(str, range(100, 1000)), *[f"{digit}xx" for digit in range(1, 10)]])
MOST_ASKED: Final = 200
"""Of them for one request."""
NEAREST: Final = 3
"""Routes that are told of where none matched."""


@dataclass(slots=True)
class Failure:
    """A failed request, and why it found no route: None where that is not the point, or cannot be told any more."""

    request: FailedRequest
    routes: RouteTrace | None = None
    note: str = ""


def recent_failures(requests: Iterable[FailedRequest], parameters: Mapping[str, str], world: World) -> list[Failure]:
    """Those that the parameters ask for; ConfigError for a parameter that is malformed."""
    wanted = _wanted(requests, parameters)
    tables = _Tables(world)
    try:
        return [_failure(request, tables) for request in wanted]
    finally:
        tables.close()


def _wanted(requests: Iterable[FailedRequest], parameters: Mapping[str, str]) -> list[FailedRequest]:
    limit, code = _limit(parameters), parameters.get("code", "").lower()
    if code and code not in _CODES:
        raise ConfigError(f"code: '{code}' is neither a code nor a class like 5xx")
    found: list[FailedRequest] = []
    for one in requests:
        if len(found) == limit:
            break
        if code and (str(one.code)[:1] != code[:1] if code.endswith("xx") else str(one.code) != code):
            continue
        flag = parameters.get("flag", "").upper()
        if flag and flag not in one.flags.split(","):
            continue
        fields = (("host", one.authority), ("listener", one.listener), ("route", one.route), ("cluster", one.cluster))
        if all(name not in parameters or parameters[name] == value for name, value in fields):
            found.append(one)
    return found


def _limit(parameters: Mapping[str, str]) -> int:
    text = parameters.get("limit", "")
    if not text:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdigit()) or len(text) > 6:
        raise ConfigError(f"limit: '{text}' is no number")
    return int(text)


class _Tables:
    """Route tables by listener and filter chain, as main compiled them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._found: dict[tuple[str, str], Any] = {}
        self._context: FactoryContext | None = None
        self.left = MOST_ROUTES

    def find(self, request: FailedRequest) -> Any:
        """(HttpConnectionManager, its table), or None where the listener has no such chain any more."""
        key = (request.listener, request.filter_chain)
        if key not in self._found:
            self._found[key] = self._search(*key)
        return self._found[key]

    def _search(self, listener: str, chain_name: str) -> Any:
        for view in self._world.listeners():
            if view.config.name != listener:
                continue
            for chain in view.config.chains.values():
                manager = getattr(current_of(chain.factories[-1]), "config", None) if chain.factories else None
                table = getattr(manager, "route_table", None)
                message = message_of(view, chain) if chain.name == chain_name and table is not None else None
                for item in message.filters if message is not None else ():
                    if item.typed_config.type_url.rpartition("/")[2] == HTTP_TYPE:
                        return unpack_any(item.typed_config), table
        return None

    @property
    def discovered(self) -> RouteConfigProviders | None:
        """Route configurations that did not come with their listener."""
        return self._world.context.routes

    @property
    def context(self) -> FactoryContext:
        """To compile questions with."""
        if self._context is None:
            self._context = FactoryContext("main", MainStore(), runtime=self._world.context.runtime)
        return self._context

    def close(self) -> None:
        """Give the memory back."""
        if self._context is not None:
            store: Any = self._context.stats
            store.segment.close()
            store.retired.close()


def _failure(request: FailedRequest, tables: _Tables) -> Failure:
    if "NR" not in request.flags.split(",") or request.route_found:
        return Failure(request)
    found = tables.find(request)
    if found is None:
        return Failure(request, note="its listener has no such route configuration any more")
    manager, whole = found
    pairs = [
        (b":method", request.method.encode("latin-1")),
        (b":scheme", request.scheme.encode("latin-1")),
        (b":authority", request.authority.encode("latin-1")),
        (b":path", request.path.encode("latin-1")),
        *[(name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers],
    ]
    headers = HeaderMap([pair for pair in pairs if pair[1]])
    config, table = routes_of(manager, whole, headers, tables.discovered)
    if table is None:
        return Failure(request, RouteTrace(whole.name), "no scope has the key of this request")
    if tables.left <= 0:
        return Failure(request, note="too many requests without a route: ask for fewer")
    trace = RouteQuestions(config, table, tables.context, headers).trace(None, None, request.random_value, MOST_ASKED)
    tables.left -= len(trace.routes)
    note = ""
    if table.route(headers, None, request.random_value) is not None:
        note = "by what is kept of it, and the configuration of now, it would have a route"
    return Failure(request, trace, note)


# Text and JSON.


def as_text(failures: Sequence[Failure]) -> str:
    """A few lines for each."""
    if not failures:
        return "no failed requests\n"
    return "".join([f"{printable(line)}\n" for failure in failures for line in _lines(failure)])


def printable(text: str) -> str:
    """What clients sent must not command a terminal."""
    if text.isprintable():
        return text
    return "".join([one if one.isprintable() else f"\\x{ord(one):02x}" for one in text])


def _lines(failure: Failure) -> list[str]:
    one = failure.request
    answer = str(one.code) if one.code else "no answer"
    flags = f" {one.flags}" if one.flags != "-" else ""
    url = f"{one.scheme or 'http'}://{one.authority}{one.path}" if one.method else "(no whole request)"
    lines = [f"{_time(one.time)} {one.method or '-'} {url}: {answer}{flags} {one.details}".rstrip()]
    chain = f", filter chain '{one.filter_chain}'" if one.filter_chain else ""
    lines.append(f"   from {one.client} to {one.local}, listener '{one.listener}'{chain} (worker {one.worker})")
    if one.route_found:
        where = f"   virtual host '{one.virtual_host}', route '{one.route}'"
        where += f", cluster '{one.cluster}'" if one.cluster else ""
        lines.append(where + (f", host {one.host}" if one.host else ""))
    if one.attempts:
        failed = f": {one.transport_failure}" if one.transport_failure else ""
        lines.append(f"   {one.attempts} attempt{'s' if one.attempts > 1 else ''}{failed}")
    if one.termination_details:
        lines.append(f"   the connection ended: {one.termination_details}")
    lines.append(f"   {_durations(one)}; {one.bytes_received} bytes received, {one.bytes_sent} sent")
    lines += [f"   {text}" for text in _no_route(failure)]
    if one.headers:
        lines.append("   headers: " + ", ".join([f"{name}: {value}" for name, value in one.headers]))
    return lines


def _no_route(failure: Failure) -> list[str]:
    trace, lines = failure.routes, []
    if trace is not None:
        if trace.host is None:
            lines.append(f"no virtual host of '{trace.table}': no domain matches")
        else:
            lines.append(f"virtual host '{trace.host}' (domain {trace.domain}): no route matches")
        lines += [f"not '{one.name}': {one.why}" for one in trace.others[:NEAREST]]
        lines += [f"not {_named(one.name, one.position)}: {one.why}" for one in nearest(trace)]
    return [*lines, failure.note] if failure.note else lines


def nearest(trace: RouteTrace) -> list[Any]:
    """The routes that came closest, in their order."""
    best = sorted(trace.routes, key=lambda one: (-one.nearness, one.position))[:NEAREST]
    return sorted(best, key=lambda one: one.position)


def _named(name: str, position: int) -> str:
    return f"route '{name}' ({position})" if name else f"route {position}"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _durations(one: FailedRequest) -> str:
    parts = [f"{one.duration_us / 1000:.1f} ms"]
    for text, value in (("request", one.request_us), ("upstream", one.upstream_us), ("response", one.response_us)):
        if value >= 0:
            parts.append(f"{text} at {value / 1000:.1f}")
    return ", ".join(parts)


def as_json(failures: Sequence[Failure]) -> list[dict[str, Any]]:
    """The same as values."""
    found = []
    for failure in failures:
        value: dict[str, Any] = msgspec.structs.asdict(failure.request)
        value["headers"] = [list(pair) for pair in failure.request.headers]
        value["time"] = _time(failure.request.time)
        trace = failure.routes
        value["no_route"] = None
        if trace is not None:
            value["no_route"] = {
                "route_config": trace.table,
                "virtual_host": trace.host,
                "other_virtual_hosts": [one._asdict() for one in trace.others],
                "nearest_routes": [
                    {"position": one.position, "name": one.name, "match": one.match, "why_not": one.why}
                    for one in nearest(trace)
                ],
            }
        value["note"] = failure.note or None
        found.append(value)
    return found
