"""The explanation of a request as text for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from proxeny.explain.render import as_json as connection_as_json
from proxeny.explain.render import sections as connection_sections

if TYPE_CHECKING:
    from proxeny.explain.header_changes import HeaderChange
    from proxeny.explain.hosts import ClusterView
    from proxeny.explain.request import RequestExplanation
    from proxeny.explain.routes import RouteTrace, RouteVerdict

MOST_ROUTES: Final = 20
"""How many routes the text tells of, the nearest ones; with ``all`` it is all."""
MOST_HOSTS: Final = 20

Section = tuple[str, list[str]]


def as_text(explanation: RequestExplanation) -> str:
    """Numbered decisions, a line each, with their reasons below; what comes out is last."""
    facts = explanation.facts
    lines = [f"request {facts.method} {facts.url} from {facts.source.as_string()}"]
    for number, (title, details) in enumerate(_sections(explanation), start=1):
        lines.append(f"{number}. {title}")
        lines += [f"   {detail}" for detail in details]
    return "\n".join(lines) + "\n"


def _sections(explanation: RequestExplanation) -> Iterator[Section]:
    notes = list(explanation.notes)
    for title, details in connection_sections(explanation.connection):
        if title != "network filters":
            yield title, [*notes, *details]
            notes = []
    if explanation.manager:
        yield f"HTTP connection manager '{explanation.manager}'", [_change(one) for one in explanation.sanitised]
    if explanation.routes is not None:
        yield from _route_sections(explanation)
    if explanation.filters and explanation.routes is not None:
        yield "HTTP filters", [_filter(*one) for one in explanation.filters]
    yield from _upstream_sections(explanation)
    yield f"answer: {explanation.prediction.text}", _answer_details(explanation)


def _change(change: HeaderChange) -> str:
    if change.how == "removed":
        text = f"{change.name} is removed"
    elif change.how == "added":
        text = f"{change.name} is added: {change.after!r}"
    else:
        text = f"{change.name} becomes {change.after!r}"
    return f"{text} ({change.why})" if change.why else text


def _filter(name: str, runs: bool, why: str) -> str:
    text = name if runs else f"{name} does not run"
    return f"{text}: {why}" if why else text


def _route_sections(explanation: RequestExplanation) -> Iterator[Section]:
    trace = explanation.routes
    assert trace is not None
    others = [f"not '{one.name}': {one.why}" for one in trace.others]
    if trace.host is None:
        title = f"no route table of '{trace.table}'" if trace.notes else f"no virtual host of '{trace.table}'"
        yield title if trace.notes else f"{title}: no domain matches", [*trace.notes, *others]
        return
    yield f"virtual host '{trace.host}' of '{trace.table}': domain {trace.domain}", [*trace.notes, *others]
    chosen = next((one for one in trace.routes if one.position == trace.chosen), None)
    details = list(_route_details(trace, explanation.facts.all))
    if chosen is None:
        title = "no route is asked" if trace.unasked and not trace.routes else "no route matches"
        yield title, details
        return
    yield f"route {_route_name(chosen)}: {chosen.match}", details


def _route_name(route: RouteVerdict) -> str:
    return f"'{route.name}' ({route.position})" if route.name else str(route.position)


def _route_details(trace: RouteTrace, everything: bool) -> Iterator[str]:
    refused = [one for one in trace.routes if one.why]
    shown = refused
    if not everything and len(refused) > MOST_ROUTES:
        nearest = sorted(refused, key=lambda one: (-one.nearness, one.position))[:MOST_ROUTES]
        shown = sorted(nearest, key=lambda one: one.position)
    for one in shown:
        yield f"not {_route_name(one)}: {one.why}"
    if len(shown) < len(refused):
        yield f"and not {len(refused) - len(shown)} others, which came less close"
    if trace.passed_over:
        yield f"and not {trace.passed_over} more, whose paths look less like it"
    if trace.unasked:
        yield f"{trace.unasked} further routes are not asked"
    if trace.shares:
        shares = ", ".join([f"{name} {weight}" for name, weight in trace.shares])
        chooser = trace.chosen_by or f"the random number {trace.random_value}"
        yield f"weighted clusters: {shares}; {chooser} chooses"


def _upstream_sections(explanation: RequestExplanation) -> Iterator[Section]:
    if explanation.cluster is not None:
        yield _cluster_section(explanation.cluster, explanation.facts.all)
    outcome = explanation.outcome
    if outcome is None or not outcome.sent:
        return
    if explanation.mutated:
        yield "request headers on their way upstream", [_change(one) for one in explanation.mutated]
    yield "times and retries", list(_time_details(explanation))
    others = [f"to cluster '{one.cluster}'" for one in outcome.sent[1:]]
    if others:
        yield "mirrored", others


def _cluster_section(cluster: ClusterView, everything: bool) -> Section:
    if not cluster.found:
        return f"cluster '{cluster.name}': there is none of this name", []
    details = list(cluster.notes)
    for one in cluster.sets:
        panic = ", in panic" if one.panic else ""
        degraded = f", {one.degraded} degraded" if one.degraded else ""
        health = f"{one.healthy} of {one.hosts} hosts healthy{degraded}{panic}"
        details.append(f"priority {one.priority}: {health}: {one.load} % of requests")
    most = len(cluster.hosts) if everything else MOST_HOSTS
    worth = [host for host in cluster.hosts[:most] if not host.usable or len(cluster.hosts) > 1]
    details += [f"{host.address}: {host.health}{'' if host.usable else ', not used'}" for host in worth]
    if len(cluster.hosts) > most:
        details.append(f"and {len(cluster.hosts) - most} other hosts")
    return f"cluster '{cluster.name}': {cluster.choice}", details


def _time_details(explanation: RequestExplanation) -> Iterator[str]:
    outcome = explanation.outcome
    assert outcome is not None
    for name, value in outcome.times.items():
        if value:
            yield f"{name}: {value} ms"
    router = outcome.router
    if router is None:
        return
    yield f"route timeout: {router.timeout_ms} ms" if router.timeout_ms else "route timeout: none"
    if router.per_try_timeout_ms:
        yield f"per_try_timeout: {router.per_try_timeout_ms} ms"
    if router.per_try_idle_timeout_ms:
        yield f"per_try_idle_timeout: {router.per_try_idle_timeout_ms} ms"
    if router.priority != "default":
        yield f"priority: {router.priority}"
    if router.virtual_cluster:
        yield f"virtual cluster: {router.virtual_cluster}"
    retries = router.retries
    if retries is None:
        yield "retries: none"
    else:
        yield f"retries: up to {retries['retries']} on {', '.join(retries['retry_on'])}"


def _answer_details(explanation: RequestExplanation) -> list[str]:
    prediction = explanation.prediction
    details = [f"{name}: {value}" for name, value in prediction.headers]
    if prediction.body:
        details.append(f"body: {prediction.body!r}")
    if explanation.outcome is not None and explanation.outcome.sent:
        details += [f"response header {text}" for text in explanation.response_headers]
    if prediction.closes:
        details.append("the connection is closed")
    return details


# JSON.


def as_json(explanation: RequestExplanation) -> dict[str, Any]:
    """The same decisions as values."""
    facts, outcome = explanation.facts, explanation.outcome
    return {
        "request": {
            "method": facts.method,
            "url": facts.url,
            "source": facts.source.as_string(),
            "headers": [list(pair) for pair in facts.headers],
        },
        "notes": explanation.notes,
        "connection": connection_as_json(explanation.connection),
        "connection_manager": explanation.manager or None,
        "sanitized": [one._asdict() for one in explanation.sanitised],
        "routes": None if explanation.routes is None else _routes(explanation.routes),
        "http_filters": [one._asdict() for one in explanation.filters],
        "mutated": [one._asdict() for one in explanation.mutated],
        "response_headers": explanation.response_headers,
        "cluster": None if explanation.cluster is None else _cluster(explanation.cluster),
        "times_ms": {} if outcome is None else outcome.times,
        "router": None if outcome is None or outcome.router is None else outcome.router._asdict(),
        "sent": [] if outcome is None else [_sent(one) for one in outcome.sent],
        "answer": _prediction(explanation),
    }


def _routes(trace: RouteTrace) -> dict[str, Any]:
    return {
        "route_config": trace.table,
        "virtual_host": trace.host,
        "domain": trace.domain or None,
        "other_virtual_hosts": [one._asdict() for one in trace.others],
        "route": trace.chosen,
        "asked": [
            {"position": one.position, "name": one.name, "match": one.match, "why_not": one.why or None}
            for one in trace.routes
        ],
        "passed_over": trace.passed_over,
        "not_asked": trace.unasked,
        "weighted_clusters": [{"name": name, "weight": weight} for name, weight in trace.shares],
        "random_value": trace.random_value,
        "notes": trace.notes,
    }


def _cluster(cluster: ClusterView) -> dict[str, Any]:
    return {
        "name": cluster.name,
        "found": cluster.found,
        "priorities": [one._asdict() for one in cluster.sets],
        "hosts": [one._asdict() for one in cluster.hosts],
        "load_balancer": cluster.policy,
        "choice": cluster.choice,
        "notes": cluster.notes,
    }


def _sent(sent: Any) -> dict[str, Any]:
    headers = [] if sent.headers is None else sent.headers.items()
    return {
        "cluster": sent.cluster,
        "host": sent.host.address.as_string(),
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in headers],
        "body_bytes": sent.body_bytes,
    }


def _prediction(explanation: RequestExplanation) -> dict[str, Any]:
    prediction = explanation.prediction
    return {
        "kind": prediction.kind,
        "text": prediction.text,
        "code": prediction.code,
        "location": prediction.location or None,
        "response_flags": prediction.flags,
        "response_code_details": prediction.details,
        "route_name": prediction.route_name,
        "cluster": prediction.cluster,
        "headers": [list(pair) for pair in prediction.headers],
        "body": prediction.body,
        "closes": prediction.closes,
    }
