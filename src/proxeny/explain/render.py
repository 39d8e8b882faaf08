"""An explanation as text for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from proxeny.listener.filter_chain_trace import DEFAULT, MATCHED, MISSING, ChainTrace

if TYPE_CHECKING:
    from proxeny.explain.connection import Choice, Explanation
    from proxeny.explain.facts import Facts

MOST_OTHERS: Final = 50
"""How many of the other chains the text tells of; the JSON tells of all."""
_HOW: Final = {
    MATCHED: "it matches",
    DEFAULT: "the default chain: no other matches",
    MISSING: "the matcher names a chain that the listener does not have",
}


def as_text(explanation: Explanation) -> str:
    """Numbered decisions, a line each, with their reasons below."""
    lines = [_headline(explanation.facts)]
    for number, (title, details) in enumerate(sections(explanation), start=1):
        lines.append(f"{number}. {title}")
        lines += [f"   {detail}" for detail in details]
    return "\n".join(lines) + "\n"


def _headline(facts: Facts) -> str:
    text = f"connection from {facts.source.as_string()} to {facts.destination.as_string()}"
    said = ["TLS"] if facts.tls else []
    said += [f"server name '{facts.server_name}'"] if facts.server_name else []
    said += [f"protocols {', '.join(facts.protocols)}"] if facts.protocols else []
    return f"{text} ({', '.join(said)})" if said else text


def sections(explanation: Explanation) -> Iterator[tuple[str, list[str]]]:
    """The decisions in their order: what was decided, and lines that say why."""
    accepted = explanation.accepted
    if accepted.listener is None:
        yield f"refused: {accepted.why}", []
        return
    yield f"accepted by listener '{accepted.listener.config.name}': {accepted.why}", []
    for position, stage in enumerate(explanation.stages):
        if position == 1:
            yield _handed_off(explanation), []
        if stage.filters:
            title = f"listener filters of '{stage.listener.config.name}'"
            yield title, [f"{name}: {finds}" for name, _, finds in stage.filters]
    if explanation.handed_off is not None and len(explanation.stages) == 1:
        yield _handed_off(explanation), []
    if explanation.chain is not None:
        name = explanation.stages[-1].listener.config.name
        yield _chain_title(explanation.chain, name), [*explanation.notes, *_chain_details(explanation.chain)]
    if explanation.filters:
        yield "network filters", [f"{name}: {what}" if what else name for name, what in explanation.filters]


def _handed_off(explanation: Explanation) -> str:
    choice = explanation.handed_off
    assert choice is not None
    if choice.listener is None:
        return f"not handed off: {choice.why}"
    return f"handed to listener '{choice.listener.config.name}': {choice.why}"


def _chain_title(trace: ChainTrace, listener: str) -> str:
    if trace.chain is None:
        why = _HOW.get(trace.how, "none matches")
        return f"no filter chain of '{listener}': {why}; it is closed (NR, filter_chain_not_found)"
    return f"filter chain {_named(trace.chain.name)} of '{listener}': {_HOW[trace.how]}"


def _named(chain: str) -> str:
    return f"'{chain}'" if chain else "without a name"


def _chain_details(trace: ChainTrace) -> Iterator[str]:
    for criterion in trace.criteria:
        yield f"{criterion.name} {criterion.actual}: {criterion.chosen or 'no chain fits'}"
    yield from trace.notes
    for name, why in trace.others[:MOST_OTHERS]:
        yield f"not {_named(name)}: {why}"
    if len(trace.others) > MOST_OTHERS:
        yield f"and {len(trace.others) - MOST_OTHERS} other chains"


def as_json(explanation: Explanation) -> dict[str, Any]:
    """The same decisions as values."""
    facts, trace = explanation.facts, explanation.chain
    return {
        "source": facts.source.as_string(),
        "destination": facts.destination.as_string(),
        "tls": facts.tls,
        "server_name": facts.server_name,
        "application_protocols": list(facts.protocols),
        "accepted": _choice(explanation.accepted),
        "listeners": [
            {
                "name": stage.listener.config.name,
                "listener_filters": [
                    {"name": name, "runs": runs, "finds": finds} for name, runs, finds in stage.filters
                ],
            }
            for stage in explanation.stages
        ],
        "handed_off": None if explanation.handed_off is None else _choice(explanation.handed_off),
        "notes": explanation.notes,
        "filter_chain": None if trace is None else _chain(trace),
        "network_filters": [{"name": name, "does": what} for name, what in explanation.filters],
    }


def _choice(choice: Choice) -> dict[str, Any]:
    name = None if choice.listener is None else choice.listener.config.name
    return {"listener": name, "how": choice.how, "why": choice.why}


def _chain(trace: ChainTrace) -> dict[str, Any]:
    return {
        "name": None if trace.chain is None else trace.chain.name,
        "how": trace.how,
        "criteria": [
            {"name": item.name, "connection": item.actual, "chosen": item.chosen or None} for item in trace.criteria
        ],
        "matcher": trace.notes,
        "others": [{"name": name, "why": why} for name, why in trace.others],
    }
