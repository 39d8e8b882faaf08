"""Why a request got its virtual host and its route.

Every question is put to the tables that serve traffic, one domain or one route at a time. What is decided here is only
what is worth telling.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from proxeny.http.matching import HttpMatchingData
from proxeny.listener.filter_chain_trace import Notes
from proxeny.matcher.string import quoted
from proxeny.router.rds.provider import key_of
from proxeny.router.request_facts import RequestFacts
from proxeny.router.route_list import RouteList, without_parameters
from proxeny.router.route_table import RouteTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.factory_context import FactoryContext
    from proxeny.network.stream_info import StreamInfo
    from proxeny.router.rds.provider import RouteConfigProviders

MOST_HOSTS: Final = 10
"""How many of the other virtual hosts are told of."""
NEAR: Final = 0.5
"""From so much in common on a domain is near a host."""
_PATH_FIELDS: Final = frozenset(
    ("prefix", "path", "safe_regex", "path_separated_prefix", "connect_matcher", "path_match_policy", "case_sensitive")
)
_HOST_FIELDS: Final = ("ignore_port_in_host_matching", "vhost_header")


class HostVerdict(NamedTuple):
    """A domain of another virtual host that came close, and why it is not that one."""

    name: str
    domain: str
    why: str


class RouteVerdict(NamedTuple):
    """A route that was asked; ``why`` is the first predicate that refuses, "" for the one that was chosen."""

    position: int
    name: str
    match: str
    why: str
    nearness: int
    """How close it came: its path matched, or so many of its first bytes did."""


@dataclass(slots=True)
class RouteTrace:
    """How the route table decided."""

    table: str
    host: str | None = None
    """The virtual host; None: no domain matches."""
    position: int | None = None
    """Its place among the virtual hosts."""
    domain: str = ""
    others: list[HostVerdict] = field(default_factory=list)
    routes: list[RouteVerdict] = field(default_factory=list)
    """Up to the chosen one."""
    passed_over: int = 0
    """Routes before it that were not asked one by one, being too many and less near."""
    unasked: int = 0
    """Routes behind the chosen one."""
    chosen: int | None = None
    """The position of the chosen route."""
    shares: list[tuple[str, int]] = field(default_factory=list)
    """The chosen route's weighted clusters, and their weights."""
    chosen_by: str = ""
    """What chooses among them, where it is not the random number."""
    random_value: int = 0
    notes: list[str] = field(default_factory=list)


def routes_of(
    manager: Any, table: Any, headers: HeaderMap, discovered: RouteConfigProviders | None
) -> tuple[Any, RouteTable | None]:
    """The ``RouteConfiguration`` that a connection manager has for a request, and its table; None: it has none.

    ``table``: what the connection manager asks, which with ``scoped_routes`` asks the table of the request's scope.
    """
    if manager.WhichOneof("route_specifier") == "route_config":
        held = None if discovered is None else discovered.held(key_of(manager.route_config))
        return held or manager.route_config, table
    if manager.WhichOneof("route_specifier") == "rds":
        return None if discovered is None else discovered.held(key_of(manager.rds)), table
    if manager.scoped_routes.HasField("scoped_rds"):
        scope = table.scope_of(headers)
        if scope is None or scope.current is None or discovered is None:
            return None, None
        return discovered.held(scope.key), scope.current
    chosen = table.table_of(headers)
    if chosen is None:
        return None, None
    hosts = [host.name for host in chosen.virtual_hosts]
    scopes = manager.scoped_routes.scoped_route_configurations_list.scoped_route_configurations
    for scope in scopes:
        config = scope.route_configuration
        if config.name == chosen.name and [host.name for host in config.virtual_hosts] == hosts:
            return config, chosen
    return None, None


class RouteQuestions:
    """Asks one request's questions of one ``RouteConfiguration``."""

    def __init__(self, config: Any, table: RouteTable, context: FactoryContext, headers: HeaderMap) -> None:
        self._config = config
        self._table = table
        self._context = context
        self._headers = headers
        by = getattr(config, "vhost_header", "").lower().encode() or b":authority"
        self._host = (headers.get(by) or b"").decode("latin-1")

    def trace(self, route: Any, info: StreamInfo | None, random_value: int, most: int = 0) -> RouteTrace:
        """``route``: what the table chose. ``most``: of more routes than this only the nearest are asked; 0: all."""
        config = self._config
        trace = RouteTrace(config.name)
        position = self._host_position()
        self._add_domains(trace, position)
        if position is None:
            return trace
        host = config.virtual_hosts[position]
        trace.host = host.name
        trace.position = position
        compiled: Any = self._table._find_virtual_host(self._headers)
        facts = RequestFacts(self._headers, self._path(), info, random_value)
        messages, routes = host.routes, compiled.routes
        if compiled.tree is not None:
            messages, routes = (), self._ask_tree(compiled.tree, trace, info)
        trace.chosen = position_of(route, routes)
        if route is not None and trace.chosen is None:
            trace.notes.append("require_tls: the request came without TLS and is redirected, whatever its route")
            trace.unasked = len(routes)
            return trace
        last = len(routes) if trace.chosen is None else trace.chosen + 1
        trace.random_value = random_value
        if trace.chosen is not None and routes[trace.chosen].weighted is not None:
            trace.shares = routes[trace.chosen].weighted.shares()
            trace.chosen_by = routes[trace.chosen].weighted.chosen_by
        trace.unasked = len(routes) - last
        asked = self._nearest(messages, last, most) if messages and 0 < most < last else range(last)
        trace.passed_over = last - len(asked)
        for number in asked:
            message = messages[number] if messages else None
            why = "" if number == trace.chosen else self._why_not(message, routes[number], facts)
            trace.routes.append(self._verdict(number, routes[number].name, message, why))
        return trace

    def _nearest(self, messages: Sequence[Any], last: int, most: int) -> list[int]:
        """The routes of the first ``last`` whose paths look most like the request's; the last is always among them."""
        path = (self._headers.get(b":path") or b"").decode("latin-1")
        texts = [literal_path(message.match) for message in messages[:last]]
        nearness = [common(text, path) if text else len(path) for text in texts]
        ranked = sorted(range(last - 1), key=lambda number: -nearness[number])
        return sorted([*ranked[: most - 1], last - 1])

    def _ask_tree(self, tree: Any, trace: RouteTrace, info: StreamInfo | None) -> tuple[Any, ...]:
        """The routes that a virtual host's ``matcher`` leads to, and how it does."""
        notes = Notes()
        found = tree.match(HttpMatchingData(self._headers, info), notes)
        trace.notes += [f"matcher: {text}" for text in notes.texts]
        return found.routes if isinstance(found, RouteList) else ()

    # Virtual hosts.

    def _host_position(self) -> int | None:
        """The virtual host that the domains lead to: a table of the same domains, whose hosts are numbers, is asked."""
        numbered = self._without_hosts()
        for number, host in enumerate(self._config.virtual_hosts):
            numbered.virtual_hosts.add(name=str(number), domains=host.domains)
        found: Any = RouteTable.compile(numbered, self._context, False)._find_virtual_host(self._headers)
        return None if found is None else int(found.name)

    def _without_hosts(self) -> Any:
        """What the route configuration says of the choice of a virtual host."""
        bare = type(self._config)()
        for descriptor, value in self._config.ListFields():
            if descriptor.name in _HOST_FIELDS:
                setattr(bare, descriptor.name, value)
        return bare

    def _matches_domain(self, domain: str) -> bool:
        alone = self._without_hosts()
        alone.virtual_hosts.add(name="alone", domains=[domain])
        return RouteTable.compile(alone, self._context, False)._find_virtual_host(self._headers) is not None

    def _add_domains(self, trace: RouteTrace, position: int | None) -> None:
        if position is not None:
            matching = [
                domain for domain in self._config.virtual_hosts[position].domains if self._matches_domain(domain)
            ]
            trace.domain = max(matching, key=_specificity, default="")
        near = sorted(self._near_domains(position), key=lambda item: -item[0])[:MOST_HOSTS]
        for _, number, domain in near:
            if self._matches_domain(domain):
                why = f"it matches too, but {trace.domain} is more specific"
            else:
                why = f"host {self._host} is not {domain}"
            trace.others.append(HostVerdict(self._config.virtual_hosts[number].name, domain, why))

    def _near_domains(self, position: int | None) -> Iterator[tuple[float, int, str]]:
        """(nearness, virtual host, domain) of what people would ask about."""
        host = self._host.lower()
        for number, one in enumerate(self._config.virtual_hosts):
            if number == position:
                continue
            for domain in one.domains:
                nearness = _nearness(host, domain.lower())
                if nearness >= NEAR or domain == "*":
                    yield nearness, number, domain

    # Routes.

    def _verdict(self, number: int, name: str, config: Any, why: str) -> RouteVerdict:
        if config is None:
            return RouteVerdict(number, name, "a route of the matcher", why, 0)
        path = self._headers.get(b":path") or b""
        text = literal_path(config.match)
        nearness = (common(text, path.decode("latin-1"))) if text else 0
        if not why.startswith("path is"):
            nearness += len(path) + 1
        return RouteVerdict(number, name, describe_match(config.match), why, nearness)

    def _why_not(self, config: Any, route: Any, facts: RequestFacts) -> str:
        if config is not None and not self._path_matches(config.match):
            path = self._headers.get(b":path")
            actual = "absent" if path is None else quoted(path)
            return f"path is {actual}, not {describe_path(config.match)}"
        condition = route.condition
        why: str = "" if condition is None else condition.first_failure(facts)
        return why or "its path does not match"

    def _path(self) -> bytes:
        """The path that routes see: up to the query, or the parameters where those are ignored."""
        path = (self._headers.get(b":path") or b"").partition(b"?")[0].partition(b"#")[0]
        return without_parameters(path) if self._config.ignore_path_parameters_in_path_matching else path

    def _path_matches(self, match: Any) -> bool:
        """Whether a table that asks of the path alone has a route for the request."""
        alone = type(self._config)()
        alone.ignore_path_parameters_in_path_matching = self._config.ignore_path_parameters_in_path_matching
        route = alone.virtual_hosts.add(name="alone", domains=["*"]).routes.add()
        route.match.CopyFrom(match)
        for descriptor, _ in match.ListFields():
            if descriptor.name not in _PATH_FIELDS:
                route.match.ClearField(descriptor.name)
        route.direct_response.status = 200
        return RouteTable.compile(alone, self._context, False).route(self._headers, None, 0) is not None


def position_of(route: Any, routes: Sequence[Any]) -> int | None:
    """Where ``route``, or the route whose weighted cluster it is, stands."""
    if route is None:
        return None
    for number, one in enumerate(routes):
        if one is route:
            return number
        weighted = one.weighted
        if weighted is not None and any(part is route for part in weighted.routes):
            return number
    return None


def _specificity(domain: str) -> tuple[int, int]:
    """Exact names, then suffixes, then prefixes, the longest first."""
    kind = 0 if domain == "*" else 2 if domain.startswith("*") else 1 if domain.endswith("*") else 3
    return kind, len(domain)


def common(one: str, other: str) -> int:
    """How many characters two texts begin with in common."""
    size = min(len(one), len(other))
    return next((at for at in range(size) if one[at] != other[at]), size)


def _nearness(host: str, domain: str) -> float:
    """How alike they look, from 0 to 1: by what they have in common at both ends."""
    bare = domain.strip("*")
    if not bare:
        return 0.0
    front = common(host, bare)
    back = common(host[::-1], bare[::-1])
    return min(1.0, max(front, back, front + back if front + back <= len(bare) else 0) / max(len(bare), 1))


def literal_path(match: Any) -> str:
    """What a route's paths begin with, "" where that is not a plain text."""
    kind = match.WhichOneof("path_specifier")
    return getattr(match, kind) if kind in ("prefix", "path", "path_separated_prefix") else ""


def describe_path(match: Any) -> str:
    """The path specifier, for people."""
    kind = match.WhichOneof("path_specifier")
    nocase = match.HasField("case_sensitive") and not match.case_sensitive.value
    suffix = " (case ignored)" if nocase else ""
    if kind == "path":
        return f"{match.path!r}{suffix}"
    if kind == "prefix":
        return f"prefix {match.prefix!r}{suffix}"
    if kind == "path_separated_prefix":
        return f"path-separated prefix {match.path_separated_prefix!r}{suffix}"
    if kind == "safe_regex":
        return f"regex {match.safe_regex.regex!r}"
    if kind == "connect_matcher":
        return "CONNECT"
    return f"path match policy {match.path_match_policy.name!r}" if kind else "anything"


def describe_match(match: Any) -> str:
    """A whole match in a few words."""
    words = [describe_path(match)]
    words += [f"header {header.name}" for header in match.headers]
    words += [f"query parameter {query.name}" for query in match.query_parameters]
    for descriptor, value in match.ListFields():
        name = descriptor.name
        if name not in _PATH_FIELDS and name not in ("headers", "query_parameters"):
            words.append(f"{len(value)} {name}" if name.endswith("s") and hasattr(value, "__len__") else name)
    return ", ".join(words)
