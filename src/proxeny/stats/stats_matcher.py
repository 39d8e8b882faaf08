"""Which statistics exist at all: ``stats_config.stats_matcher`` (Envoy: StatsMatcherImpl)."""

from __future__ import annotations

from typing import Any

from proxeny.matcher.string import StringMatcher, compile_string_matcher


class StatsMatcher:
    """Says whether a statistic is kept."""

    __slots__ = ("_inclusive", "_patterns", "accepts_all")

    def __init__(self, config: Any = None) -> None:
        """`config` is a StatsMatcher message or None: everything is kept; ConfigError for bad patterns."""
        chosen = None if config is None else config.WhichOneof("stats_matcher")
        self._patterns: tuple[StringMatcher, ...] = ()
        # An inclusion list keeps what matches; an exclusion list keeps what does not.
        self._inclusive = chosen == "inclusion_list" or (chosen == "reject_all" and config.reject_all)
        if chosen in ("inclusion_list", "exclusion_list"):
            patterns = getattr(config, chosen).patterns
            self._patterns = tuple([compile_string_matcher(pattern) for pattern in patterns])
        self.accepts_all = not self._inclusive and not self._patterns

    def accepts(self, name: str) -> bool:
        """True: the statistic is shown and counted."""
        if self.accepts_all:
            return True
        text = name.encode("utf-8", "surrogateescape")
        return any(pattern.match(text) for pattern in self._patterns) == self._inclusive
