"""``envoy.matching.matchers.ip``: an IP address in one of several ranges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.matcher.cidr import LongestPrefix, parse_ip, parse_range
from proxeny.stats.schema import Schema

if TYPE_CHECKING:
    from proxeny.kernel.stats import Block
    from proxeny.network.factory_context import FactoryContext

STATS = Schema("ip_matcher", counters=("ip_parsing_failed",))
PARSING_FAILED = STATS.slot("ip_parsing_failed")


class IpMatcher:
    """Ranges; text that is no IP address is counted and does not match."""

    __slots__ = ("_ranges", "_stats", "_text")

    def __init__(self, message: Any, stats: Block) -> None:
        ranges = [parse_range(cidr) for cidr in message.cidr_ranges]
        self._ranges = LongestPrefix([(prefix, True) for prefix in ranges])
        self._text = f"is in {' or '.join(map(str, ranges))}"
        self._stats = stats

    def match(self, value: Any) -> bool:
        """Whether one of the ranges holds it."""
        if not isinstance(value, bytes) or not value:
            return False
        packed = parse_ip(value.decode("latin-1"))
        if packed is None:
            self._stats.inc(PARSING_FAILED)
            return False
        return self._ranges.get(packed) is not None

    def __str__(self) -> str:
        return self._text


class IpMatcherFactory:
    """The registered factory."""

    def create_matcher(self, message: Any, context: FactoryContext) -> IpMatcher:
        """Read the ranges; the stat is ``<stat_prefix>.ip_parsing_failed``."""
        return IpMatcher(message, context.stats.block(STATS, message.stat_prefix.removesuffix(".") + "."))


FACTORY = IpMatcherFactory()
