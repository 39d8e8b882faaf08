"""Names that the table does not have, asked of other name servers (Envoy: ``DnsFilterResolver``)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from proxeny.extensions.udp_filters.dns_filter.message import RecordType, Response
from proxeny.upstream import dns_resolver
from proxeny.upstream.dns_options import V4_ONLY, V6_ONLY

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher
    from proxeny.kernel.stats import Block
    from proxeny.upstream.dns_resolver import DnsAnswer
    from proxeny.upstream.dns_resolver_config import ResolverOptions

log = logging.getLogger("proxeny.filter")

_FAMILIES: Final = {RecordType.A: V4_ONLY, RecordType.AAAA: V6_ONLY}

Answered = Callable[[Response, bytes, list[str]], None]
"""Gets the response to complete, its flow, and the addresses; none when there are none or nobody said."""


class LookupSettings:
    """``client_config``, compiled."""

    __slots__ = ("max_pending", "resolver", "stats", "timeout_ms")

    def __init__(self, resolver: ResolverOptions, stats: Block, timeout_ms: int, max_pending: int) -> None:
        self.resolver = resolver
        self.stats = stats
        self.timeout_ms = timeout_ms
        self.max_pending = max_pending


class Lookup:
    """One question on its way."""

    __slots__ = ("done", "flow", "lookups", "response", "retries", "timer")

    def __init__(self, lookups: Lookups, response: Response, flow: bytes, retries: int) -> None:
        self.lookups = lookups
        self.response = response
        self.flow = flow
        self.retries = retries
        self.done = False
        self.timer = lookups.dispatcher.create_timer(self._on_timeout)

    def on_answer(self, answer: DnsAnswer) -> None:
        """The resolver came to an end, in time or not."""
        if not self.done:
            self.lookups.finish(self, answer.addresses)

    def _on_timeout(self) -> None:
        self.lookups.on_timeout(self)


class Lookups:
    """All questions of one filter that wait for other name servers."""

    __slots__ = ("_answered", "_pending", "_resolver", "_settings", "dispatcher")

    def __init__(self, dispatcher: Dispatcher, settings: LookupSettings, answered: Answered) -> None:
        self.dispatcher = dispatcher
        self._settings = settings
        self._answered = answered
        self._resolver = dns_resolver.create(dispatcher, settings.resolver, settings.stats)
        self._pending: dict[Lookup, None] = {}

    def resolve(self, response: Response, flow: bytes, retries: int) -> None:
        """Ask for the addresses of a query's name; answered at once when it is of another type, or too many wait."""
        family = _FAMILIES.get(response.query.type)  # type: ignore[call-overload]
        if family is None or len(self._pending) > self._settings.max_pending:
            self._answered(response, flow, [])
            return
        lookup = Lookup(self, response, flow, retries)
        self._pending[lookup] = None
        lookup.timer.enable(self._settings.timeout_ms)
        try:
            self._resolver.resolve(response.query.name, family, lookup.on_answer)
        except (OSError, ValueError) as error:
            log.debug("the name %r cannot be asked for: %s", response.query.name, error)
            self.finish(lookup, [])

    def finish(self, lookup: Lookup, addresses: list[str]) -> None:
        """The question is answered."""
        self._forget(lookup)
        self._answered(lookup.response, lookup.flow, addresses)

    def on_timeout(self, lookup: Lookup) -> None:
        """Nobody answered: ask again as often as the table says (``external_retry_count``)."""
        if lookup.retries:
            self._forget(lookup)
            self.resolve(lookup.response, lookup.flow, lookup.retries - 1)
        else:
            self.finish(lookup, [])

    def _forget(self, lookup: Lookup) -> None:
        lookup.done = True
        lookup.timer.close()
        self._pending.pop(lookup, None)

    def close(self) -> None:
        """Nobody is answered any more."""
        for lookup in list(self._pending):
            self._forget(lookup)
        self._resolver.close()

    def __len__(self) -> int:
        return len(self._pending)
