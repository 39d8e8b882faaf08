"""Why a connection got its filter chain and not another: for people, from the objects that decide for traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from proxeny.listener.filter_chain_match import FilterChainMatcher, Step
from proxeny.listener.filter_chain_matcher import UnifiedFilterChainMatcher

if TYPE_CHECKING:
    from proxeny.listener.filter_chain_levels import Level
    from proxeny.network.stream_info import ConnectionInfo, StreamInfo

MATCHED, DEFAULT, MISSING, NONE = "matched", "default", "missing", "none"


class Criterion(NamedTuple):
    """A criterion that was asked: what the connection has, and what was chosen; "" where nothing fits."""

    name: str
    actual: str
    chosen: str


class ChainTrace(NamedTuple):
    """How a listener's matcher decided."""

    chain: Any
    """The chain that the connection gets; None: it is closed."""
    how: str
    """MATCHED, DEFAULT (nothing matched), MISSING (an action named no chain that there is) or NONE."""
    criteria: list[Criterion]
    """Of FilterChainMatch, in the order in which they were asked."""
    notes: list[str]
    """Of the unified matcher, likewise."""
    others: list[tuple[str, str]]
    """Every other chain's name, and why it is not that one."""


class Notes:
    """What the unified matcher tells of a match (``matcher.tree.Observer``)."""

    __slots__ = ("texts",)

    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        """A step."""
        self.texts.append(text)

    def skipped(self, action: Any) -> None:
        """An action under ``keep_matching``."""
        self.texts.append(f"{action} is passed over (keep_matching)")


def trace_chains(
    matcher: FilterChainMatcher | UnifiedFilterChainMatcher, info: ConnectionInfo, stream: StreamInfo | None = None
) -> ChainTrace:
    """The decision about a connection with its reasons."""
    if isinstance(matcher, UnifiedFilterChainMatcher):
        return _trace_unified(matcher, info, stream)
    steps, chain = matcher.trace(info)
    how = NONE if chain is None else MATCHED
    if matcher.default is not None and (chain is None or chain is matcher.default):
        chain, how = matcher.default, DEFAULT
    criteria = [
        Criterion(step.level.name, step.level.actual(info), step.level.show(step.value) if step.fits else "")
        for step in steps
    ]
    others = [(other.name, _reason(asked, steps, info)) for other, asked in matcher.chains if other is not chain]
    return ChainTrace(chain, how, criteria, [], others)


def _reason(asked: dict[Level, list[Any]], steps: list[Step], info: ConnectionInfo) -> str:
    """The first criterion at which a chain is out."""
    for level, fits, value in steps:
        values = asked.get(level, [level.anything])
        if fits and value in values:
            continue
        wanted = " or ".join([level.show(item) for item in values])
        if fits and level.fits(values, info):
            return f"{level.name} {level.actual(info)}: {wanted} is less specific than {level.show(value)}"
        return f"{level.name} {level.actual(info)} is not {wanted}"
    return "another chain comes first"


def _trace_unified(matcher: UnifiedFilterChainMatcher, info: ConnectionInfo, stream: StreamInfo | None) -> ChainTrace:
    notes = Notes()
    action, chain = matcher.trace(info, notes, stream)
    if action is None:
        notes.note("the matcher leads to no action")
        chain, how = matcher.default, NONE if matcher.default is None else DEFAULT
    else:
        notes.note(f"the action is {action}")
        how = MISSING if chain is None else MATCHED
    others = [(other.name, "the matcher does not lead to it") for other in matcher.chains if other is not chain]
    return ChainTrace(chain, how, [], notes.texts, others)


def why_none(
    matcher: FilterChainMatcher | UnifiedFilterChainMatcher, info: ConnectionInfo, stream: StreamInfo | None = None
) -> str:
    """Why no chain was found, in one line."""
    trace = trace_chains(matcher, info, stream)
    if not trace.criteria:
        return "; ".join(trace.notes)
    passed = [f"{item.name} {item.actual}" for item in trace.criteria[:-1]]
    last = trace.criteria[-1]
    behind = f" (behind {', '.join(passed)})" if passed else ""
    return f"no chain takes {last.name} {last.actual}{behind}"
