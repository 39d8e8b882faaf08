"""When a listener filter is skipped: ``filter_disabled`` (Envoy: ``ListenerFilterMatcherBuilder``), compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from proxeny.config.errors import ConfigError

if TYPE_CHECKING:
    from proxeny.network.stream_info import ConnectionInfo

UINT32: Final = 0xFFFFFFFF


class FilterPredicate(Protocol):
    """A condition on an accepted socket, asked just before its listener filter would run."""

    def matches(self, info: ConnectionInfo) -> bool:
        """Whether the filter is disabled for this socket, by what is known of it now."""


class AnyMatch:
    """Holds always."""

    __slots__ = ()

    def matches(self, info: ConnectionInfo) -> bool:
        """True."""
        return True


class NotMatch:
    """Holds where another does not."""

    __slots__ = ("rule",)

    def __init__(self, rule: FilterPredicate) -> None:
        self.rule = rule

    def matches(self, info: ConnectionInfo) -> bool:
        """The opposite of the rule's answer."""
        return not self.rule.matches(info)


class AndMatch:
    """Holds where all of several hold."""

    __slots__ = ("rules",)

    def __init__(self, rules: tuple[FilterPredicate, ...]) -> None:
        self.rules = rules

    def matches(self, info: ConnectionInfo) -> bool:
        """Asked in their order, up to the first that fails."""
        return all(rule.matches(info) for rule in self.rules)


class OrMatch(AndMatch):
    """Holds where one of several holds."""

    __slots__ = ()

    def matches(self, info: ConnectionInfo) -> bool:
        """Asked in their order, up to the first that holds."""
        return any(rule.matches(info) for rule in self.rules)


class DestinationPortRange:
    """Holds for a local port in [start, end), and for every address that has no port."""

    __slots__ = ("end", "start")

    def __init__(self, start: int, end: int) -> None:
        # Envoy keeps the bounds unsigned: a negative start is above every port, a negative end too.
        self.start = start & UINT32
        self.end = end & UINT32

    def matches(self, info: ConnectionInfo) -> bool:
        """By the local address, restored or not."""
        local = info.local_address
        return not local.ip_version or self.start <= local.port < self.end


def compile_predicate(message: Any) -> FilterPredicate:
    """From a ``ListenerFilterChainMatchPredicate``."""
    rule = message.WhichOneof("rule")
    if rule == "any_match":
        return AnyMatch()
    if rule == "not_match":
        return NotMatch(compile_predicate(message.not_match))
    if rule == "and_match":
        return AndMatch(tuple(compile_predicate(part) for part in message.and_match.rules))
    if rule == "or_match":
        return OrMatch(tuple(compile_predicate(part) for part in message.or_match.rules))
    if rule == "destination_port_range":
        return DestinationPortRange(message.destination_port_range.start, message.destination_port_range.end)
    raise ConfigError("ListenerFilterChainMatchPredicate: rule is required")
