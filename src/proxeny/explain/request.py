"""What would become of a request, decision by decision.

First the connection that brings it (``explain.connection``), then what the connection manager, the route table, the
router and the load balancer of its filter chain make of it (``explain.rehearsal``), and why not something else
(``explain.routes``).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from proxeny.config.errors import ConfigError
from proxeny.config.loader import unpack_any
from proxeny.explain import header_changes as changes
from proxeny.explain.connection import Explanation, ListenerView, explain_connection
from proxeny.explain.facts import Facts
from proxeny.explain.hosts import ClusterView, cluster_view
from proxeny.explain.prediction import Prediction, predict
from proxeny.explain.rehearsal import HCM, Outcome, Rehearsal, rehearses, request_bytes
from proxeny.explain.request_facts import host_of
from proxeny.explain.routes import RouteQuestions, RouteTrace, routes_of
from proxeny.network.address import ip_address, parse_ip_port

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxeny.explain.header_changes import HeaderChange
    from proxeny.explain.request_facts import RequestFacts
    from proxeny.explain.world import World
    from proxeny.network.address import Address

HTTP_TYPE: Final = f"{HCM.replace('envoy.filters', 'envoy.extensions.filters')}.v3.HttpConnectionManager"


MOST_ASKED: Final = 1_000
"""Routes that are asked one by one, unless all are wanted: on a running proxy main does it, in one turn of its loop."""


class FilterVerdict(NamedTuple):
    """A filter of the chain: whether it runs for this request."""

    name: str
    runs: bool
    why: str


class RequestExplanation(NamedTuple):
    """All decisions, in their order."""

    facts: RequestFacts
    notes: list[str]
    connection: Explanation
    manager: str
    """The connection manager's ``stat_prefix``; "" where the connection gets none."""
    sanitised: list[HeaderChange]
    routes: RouteTrace | None
    """None: it did not come as far as the route table."""
    filters: list[FilterVerdict]
    mutated: list[HeaderChange]
    response_headers: list[str]
    """What would be done to the response's headers."""
    cluster: ClusterView | None
    outcome: Outcome | None
    prediction: Prediction


def explain_request(world: World, facts: RequestFacts) -> RequestExplanation:
    """The decisions about one request; ConfigError where the question leaves open which listener is meant."""
    views = list(world.listeners())
    destination, notes = _destination(facts, views)
    protocols = facts.protocols or (() if facts.tls else ("http/1.1",))
    connection = explain_connection(
        views,
        Facts(facts.source, destination, facts.server_name if facts.tls else "", protocols, facts.tls, facts.listener),
    )
    if not facts.protocols:
        # Nobody asked about them: what no filter looks for is not missed.
        connection = connection._replace(notes=[note for note in connection.notes if "protocols" not in note])
    found = _manager_of(connection)
    if found is None:
        prediction = _without_manager(connection)
        return RequestExplanation(facts, notes, connection, "", [], None, [], [], [], None, None, prediction)
    view, message = found
    context = world.context.for_listener(view.config.name, view.config.stat_prefix, view.direction)
    rehearsal = Rehearsal(message, world, context, view.config.buffer_limit)
    try:
        return _explain(facts, notes, connection, message, rehearsal, world)
    finally:
        rehearsal.close()


def _explain(
    facts: RequestFacts, notes: list[str], connection: Explanation, message: Any, rehearsal: Rehearsal, world: World
) -> RequestExplanation:
    info = connection.info
    assert info is not None
    draw = facts.random_value
    random_value = rehearsal.context.random.random() if draw is None else draw
    headers = [("host", facts.authority), *facts.headers]
    target = facts.path if facts.method.upper() != "CONNECT" else facts.authority
    data = request_bytes(facts.method, target, headers, facts.body_size)
    if facts.http10:
        data = data.replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", 1)
    chain: Any = connection.chain.chain if connection.chain is not None else None
    outcome = rehearsal.run(data, info, random_value, chain.factories if chain is not None else ())
    before = [(":method", facts.method), (":path", facts.path), (":authority", facts.authority), *facts.headers]
    routed = outcome.routed if outcome.routed is not None else outcome.request_headers
    sanitised: list[HeaderChange] = []
    if routed is not None:
        found = changes.header_changes(before, changes.pairs_of(routed))
        sanitised = changes.explain_sanitising(found, rehearsal.config.sanitizer.internal_only)
    trace, config = None, None
    if outcome.routed is not None and rehearsal.table is not None:
        config, table = routes_of(message, rehearsal.table, outcome.routed, rehearsal.context.routes)
        if table is None:
            trace = RouteTrace(rehearsal.table.name, notes=["no scope has the key of this request"])
        else:
            questions = RouteQuestions(config, table, rehearsal.context, outcome.routed)
            trace = questions.trace(outcome.route, outcome.info, random_value, 0 if facts.all else MOST_ASKED)
    levels, action = _levels(config, outcome, trace)
    mutated: list[HeaderChange] = []
    if outcome.sent and outcome.sent[0].headers is not None and routed is not None:
        found = changes.header_changes(changes.pairs_of(routed), changes.pairs_of(outcome.sent[0].headers))
        mutated = changes.explain_mutations(found, levels, action)
    cluster = None
    if outcome.router is not None and outcome.router.cluster:
        cluster = cluster_view(outcome.router.cluster, rehearsal.clusters, world)
    return RequestExplanation(
        facts,
        notes,
        connection,
        message.stat_prefix,
        sanitised,
        trace,
        _filters(rehearsal, outcome),
        mutated,
        changes.response_mutations(levels),
        cluster,
        outcome,
        predict(outcome),
    )


def _levels(config: Any, outcome: Outcome, trace: RouteTrace | None) -> tuple[list[tuple[str, Any]], Any]:
    """The messages that may mutate headers, the most specific first; and the route's action."""
    if trace is None or trace.chosen is None or trace.position is None:
        return [], None
    host = config.virtual_hosts[trace.position]
    levels: list[tuple[str, Any]] = []
    above = [(f"virtual host '{host.name}'", host), (f"route configuration '{config.name}'", config)]
    if not host.routes:
        # The route is in the virtual host's matcher, whose messages are not looked for.
        return above, None
    route = host.routes[trace.chosen]
    if route.route.HasField("weighted_clusters") and outcome.router is not None:
        name = outcome.router.cluster
        one = next((one for one in route.route.weighted_clusters.clusters if one.name == name), None)
        if one is not None:
            levels.append((f"the weighted cluster '{name}'", one))
    title = f"route '{route.name}'" if route.name else f"route {trace.chosen}"
    levels += [(title, route), *above]
    kind = route.WhichOneof("action")
    return levels, getattr(route, kind) if kind else None


def _filters(rehearsal: Rehearsal, outcome: Outcome) -> list[FilterVerdict]:
    """The chain's filters, and which of them the route (or the configuration) switches off."""
    chain = rehearsal.chain
    left = chain.for_route(outcome.route).names if chain.factories else ()
    verdicts = []
    for position, name in enumerate(chain.names):
        if name in left:
            passes = position != chain.last and not rehearses(chain.factories[position])
            verdicts.append(FilterVerdict(name, True, "taken to let the request pass as it is" if passes else ""))
        else:
            said = outcome.route is not None and outcome.route.filter_disabled(name)
            verdicts.append(FilterVerdict(name, False, "disabled here" if said else "disabled: true in the chain"))
    return verdicts


# The listener.


def _destination(facts: RequestFacts, views: Sequence[ListenerView]) -> tuple[Address, list[str]]:
    """Where the client connects to, and what was assumed about that."""
    if facts.destination is not None:
        return facts.destination, []
    if facts.listener:
        named = next((view for view in views if view.config.name == facts.listener), None)
        return (named.bound[0] if named is not None else _any_address(facts)), []
    literal = parse_ip_port(f"{host_of(facts.authority)}:{facts.port}")
    if literal is not None:
        return literal, []
    binding = [view for view in views if view.config.bind_to_port]
    for view in binding:
        for bound in view.bound:
            if not bound.is_pipe and bound.port == facts.port:
                return bound if not bound.is_any else _loopback(bound), []
    http = [view for view in binding if _is_http(view)]
    if len(http) == 1:
        bound = http[0].bound[0]
        note = f"no listener has port {facts.port}: '{http[0].config.name}' is taken, the only one for HTTP"
        return (bound if bound.is_pipe or not bound.is_any else _loopback(bound)), [note]
    if any(view.restores for view in binding):
        return _any_address(facts), [f"the client is taken to connect to {_any_address(facts).as_string()}"]
    names = ", ".join([f"'{view.config.name}'" for view in http]) or "there are none for HTTP"
    raise ConfigError(f"no listener has port {facts.port}: say which is meant by port, dst or listener ({names})")


def _any_address(facts: RequestFacts) -> Address:
    """An address of documentation's (RFC 5737), where only the port matters."""
    return ip_address("192.0.2.1", facts.port)


def _loopback(bound: Address) -> Address:
    return ip_address("127.0.0.1" if bound.ip_version == 4 else "::1", bound.port)


def _is_http(view: ListenerView) -> bool:
    return any(factory.name == HCM for chain in view.config.chains.values() for factory in chain.factories)


def _manager_of(connection: Explanation) -> tuple[ListenerView, Any] | None:
    """The listener that serves the connection, and the connection manager's message."""
    chain = connection.chain.chain if connection.chain is not None else None
    if chain is None:
        return None
    view = connection.stages[-1].listener
    message = message_of(view, chain)
    for item in message.filters if message is not None else ():
        if item.typed_config.type_url.rpartition("/")[2] == HTTP_TYPE:
            return view, unpack_any(item.typed_config)
    return None


def message_of(view: ListenerView, chain: Any) -> Any:
    """The ``FilterChain`` message that a chain was compiled from."""
    listener = view.message
    candidates = [(one, b"") for one in listener.filter_chains]
    if listener.HasField("default_filter_chain"):
        candidates.append((listener.default_filter_chain, b"default"))
    for message, kind in candidates:
        data = message.SerializeToString(deterministic=True)
        key = hashlib.blake2b(data, digest_size=16, person=kind).digest()
        if view.config.chains.get(key) is chain:
            return message
    return None


def _without_manager(connection: Explanation) -> Prediction:
    if connection.accepted.listener is None:
        return Prediction("refused", text=f"the connection is refused: {connection.accepted.why}")
    if connection.chain is None or connection.chain.chain is None:
        text = "the connection is closed: no filter chain takes it"
        return Prediction("closed", text=text, flags="NR", details="filter_chain_not_found")
    names = ", ".join([name for name, _ in connection.filters]) or "no filter"
    return Prediction("not_http", text=f"not HTTP here: its bytes go to {names}")
