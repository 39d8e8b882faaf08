"""Compiles ``bootstrap.stats_config`` and the flush interval."""

from __future__ import annotations

from typing import Any

from proxeny.matcher.string import StringMatcher, compile_string_matcher
from proxeny.stats.histogram import DEFAULT_BUCKETS
from proxeny.stats.stats_matcher import StatsMatcher
from proxeny.stats.tags import TagProducer

DEFAULT_FLUSH_INTERVAL_MS = 5000
"""Bootstrap.stats_flush_interval."""


class StatsSettings:
    """How statistics are named, kept and bucketed."""

    __slots__ = ("_buckets", "flush_interval_ms", "matcher", "tags")

    def __init__(self, bootstrap: Any = None, cli_tags: tuple[tuple[str, str], ...] = ()) -> None:
        """`bootstrap` is a Bootstrap message or None; ConfigError in Envoy's words."""
        config: Any = bootstrap.stats_config if bootstrap is not None and bootstrap.HasField("stats_config") else None
        self.tags = TagProducer(config, cli_tags)
        self.matcher = StatsMatcher(config.stats_matcher if config and config.HasField("stats_matcher") else None)
        self._buckets: list[tuple[StringMatcher, tuple[float, ...]]] = [
            (compile_string_matcher(setting.match), tuple(sorted(setting.buckets)))
            for setting in (config.histogram_bucket_settings if config is not None else ())
        ]
        self.flush_interval_ms = DEFAULT_FLUSH_INTERVAL_MS
        if bootstrap is not None and bootstrap.HasField("stats_flush_interval"):
            self.flush_interval_ms = max(1, bootstrap.stats_flush_interval.ToMilliseconds())

    def buckets(self, name: str) -> tuple[float, ...]:
        """The bucket bounds of a histogram: of the first setting that matches its name."""
        if self._buckets:
            text = name.encode("utf-8", "surrogateescape")
            for matcher, bounds in self._buckets:
                if matcher.match(text):
                    return bounds
        return DEFAULT_BUCKETS
