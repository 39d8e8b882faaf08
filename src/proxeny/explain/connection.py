"""What would become of a connection, decision by decision: which listener accepts it, what its listener filters find,
which listener it is handed to, which filter chain it gets and why not another, and what serves it.

The decisions are those of the objects that serve traffic (filter predicates, the look-up of listeners, filter-chain
matchers); only the kernel's part, and what a client would send, is taken from the facts.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from proxeny.explain.listener_filters import ORIGINAL_DST, FilterStep, run_filters, unseen
from proxeny.filter_config.provider import current_of
from proxeny.listener.filter_chain_trace import ChainTrace, trace_chains
from proxeny.listener.listener_lookup import ListenerLookup
from proxeny.network.stream_info import ConnectionInfo

if TYPE_CHECKING:
    from proxeny.explain.facts import Facts
    from proxeny.listener.config import ListenerConfig
    from proxeny.listener.listen_address import ListenAddress
    from proxeny.network.address import Address

EXACT, WILDCARD, CAPTURED, NAMED, NOBODY, STAYS = "exact", "wildcard", "captured", "named", "nobody", "stays"
OUTBOUND = 2
"""``config.core.v3.TrafficDirection.OUTBOUND``."""


@dataclass(frozen=True, slots=True, eq=False)
class ListenerView:
    """A listener that is there: as compiled, and where it is bound. Looked up by what it is, not by what it holds."""

    config: ListenerConfig
    direction: int
    """``traffic_direction``."""
    bound: Sequence[Address]
    """One per configured address; the configured ones where they are not bound (yet)."""
    message: Any = None
    """The ``Listener`` that it was compiled from."""

    @property
    def addresses(self) -> Iterable[tuple[ListenAddress, Address]]:
        """(as configured, as bound) pairs."""
        return list(zip(self.config.listen_addresses, self.bound, strict=False))

    @property
    def restores(self) -> bool:
        """Whether it finds out where redirected connections were going."""
        return any(
            getattr(current_of(factory), "name", "") == ORIGINAL_DST for factory, _ in self.config.listener_filters
        )


class Choice(NamedTuple):
    """Which listener, how it was found, and that in words."""

    listener: ListenerView | None
    how: str
    why: str


class Stage(NamedTuple):
    """A listener that the connection is at, and what its listener filters find."""

    listener: ListenerView
    filters: list[FilterStep]


class Explanation(NamedTuple):
    """All decisions, in their order."""

    facts: Facts
    accepted: Choice
    stages: list[Stage]
    handed_off: Choice | None
    """None where nothing is handed off."""
    notes: list[str]
    chain: ChainTrace | None
    filters: list[tuple[str, str]]
    """The chain's network filters: name, and what they do with the connection."""
    info: ConnectionInfo | None = None
    """The connection's facts as its network filters would find them."""


def explain_connection(listeners: Sequence[ListenerView], facts: Facts) -> Explanation:
    """The decisions about one connection."""
    views = [view for view in listeners if view.config.socket_type == socket.SOCK_STREAM]
    accepted = _accepting(views, facts)
    view = accepted.listener
    if view is None:
        return Explanation(facts, accepted, [], None, [], None, [])
    captured = accepted.how == CAPTURED or (accepted.how == NAMED and _bound_how(view, facts.destination) is None)
    info = ConnectionInfo(view.bound[0] if captured else facts.destination, facts.source, 0)
    original = facts.destination if captured and not facts.destination.is_pipe else None
    stages = [Stage(view, run_filters(view.config, info, facts, original))]
    handed_off = None
    if view.config.hands_off_restored and info.local_address_restored:
        handed_off = _hand_off(views, view, info.local_address)
        if handed_off.listener is not None:
            view = handed_off.listener
            stages.append(Stage(view, run_filters(view.config, info, facts, original)))
    chain = trace_chains(view.config.matcher, info)
    filters = _network_filters(chain.chain)
    return Explanation(facts, accepted, stages, handed_off, unseen(info, facts), chain, filters, info)


def _accepting(views: list[ListenerView], facts: Facts) -> Choice:
    text = facts.destination.as_string()
    if facts.listener:
        named = next((view for view in views if view.config.name == facts.listener), None)
        why = "as asked" if named is not None else f"there is no TCP listener '{facts.listener}'"
        return Choice(named, NAMED if named is not None else NOBODY, why)
    binding = [view for view in views if view.config.bind_to_port]
    found = _by_address(binding, facts.destination)
    if found is not None:
        how = _bound_how(found, facts.destination) or WILDCARD
        why = (
            f"it listens on {text}" if how == EXACT else f"it listens on the wildcard of port {facts.destination.port}"
        )
        return Choice(found, how, why)
    restoring = [view for view in binding if view.restores]
    if not restoring or facts.destination.is_pipe:
        return Choice(None, NOBODY, f"no listener is bound to {text}, and none takes redirected connections")
    chosen = next((view for view in restoring if view.direction == OUTBOUND), restoring[0])
    why = (
        f"no listener is bound to {text}: it is taken to be redirected to {chosen.bound[0].as_string()}, "
        "where the original destination is restored"
    )
    if len(restoring) > 1:
        others = ", ".join([f"'{view.config.name}'" for view in restoring if view is not chosen])
        why += f" (as {others} could be: name the one that is meant)"
    return Choice(chosen, CAPTURED, why)


def _hand_off(views: list[ListenerView], at: ListenerView, destination: Address) -> Choice:
    text = destination.as_string()
    found = _by_address(views, destination)
    if found is None:
        why = f"use_original_dst: no listener has {text}, nor the wildcard of its port, so '{at.config.name}' keeps it"
        return Choice(None, STAYS, why)
    if _bound_how(found, destination) == EXACT:
        return Choice(found, EXACT, f"use_original_dst: its address is the original destination {text}")
    return Choice(found, WILDCARD, f"use_original_dst: it has the wildcard of port {destination.port}")


def _by_address(views: Iterable[ListenerView], address: Address) -> ListenerView | None:
    if address.is_pipe:
        return next((view for view in views if address in view.bound), None)
    lookup = ListenerLookup()
    for view in views:
        lookup.add(view, view.addresses)
    found: ListenerView | None = lookup.find(address)
    return found


def _bound_how(view: ListenerView, address: Address) -> str | None:
    if any(bound.as_string() == address.as_string() for bound in view.bound):
        return EXACT
    return WILDCARD if any(bound.is_any and bound.port == address.port for bound in view.bound) else None


def _network_filters(chain: Any) -> list[tuple[str, str]]:
    filters = []
    for entry in chain.factories if chain is not None else ():
        factory = current_of(entry)
        if factory is None:
            filters.append((entry.name, "its configuration has not come: the connection is closed"))
            continue
        describe = getattr(factory, "describe", None)
        filters.append((factory.name, describe() if describe is not None else ""))
    return filters
