"""Parameters of /stats and /stats/prometheus (Envoy: StatsParams)."""

from __future__ import annotations

import re
from typing import Any

import re2

from proxeny.admin.query import Query
from proxeny.admin.response import AdminResponse, respond

# Of a pattern made of words, dots and anchors only, every word must be in a name that matches: looking for the
# longest one first spares most names the regex (a filter over 200,000 names takes 0.1 s instead of 0.8).
_SIMPLE = re.compile(r"(?:[A-Za-z0-9_.^$]|\\\.)*").fullmatch
_WORD = re.compile(r"[A-Za-z0-9_]+").findall

FORMATS = ("html", "active-html", "json", "prometheus", "text")
TYPES = ("All", "Counters", "Histograms", "Gauges", "TextReadouts")
BUCKET_MODES = ("cumulative", "disjoint", "detailed", "summary", "prometheusnative")


class StatsFilter:
    """``filter`` and ``invert_filter``: which names; ValueError in RE2's words."""

    __slots__ = ("_invert", "_needle", "_regex", "key")

    def __init__(self, text: str, invert: bool) -> None:
        self.key = ("!" if invert else "=") + text
        self._invert = invert
        self._regex = compile_filter(text)
        words = _WORD(text.replace("\\.", ".")) if _SIMPLE(text) else ()
        self._needle = max(words, key=len, default="")

    def accepts(self, name: str) -> bool:
        """Whether one statistic is asked for."""
        found = self._needle in name and self._regex.search(name) is not None
        return found != self._invert


class StatsParams:
    """What to show, and how."""

    __slots__ = (
        "buckets",
        "format",
        "names",
        "text_readouts",
        "type",
        "used_only",
    )

    def __init__(self) -> None:
        self.format = "text"
        self.type = "All"
        self.buckets = ""
        self.used_only = False
        self.text_readouts = False
        self.names: StatsFilter | None = None

    def parse(self, query: Query, prometheus: bool) -> AdminResponse | None:
        """Takes the parameters; an answer when one of them is bad."""
        parameters = query.parameters
        self.used_only = "usedonly" in parameters
        self.text_readouts = "text_readouts" in parameters
        text = parameters.get("filter", "")
        if text:
            try:
                self.names = StatsFilter(text, "invert_filter" in parameters)
            except ValueError as error:
                return respond(f"Invalid re2 regex: {error}", 400)
        self.buckets = parameters.get("histogram_buckets", "")
        if self.buckets and self.buckets != "none" and self.buckets not in BUCKET_MODES:
            return respond(f"usage: /stats?histogram_buckets=({'|'.join(BUCKET_MODES)})\n", 400)
        self.format = "prometheus" if prometheus else parameters.get("format", "text")
        if self.format not in FORMATS:
            return respond(f"usage: /stats?format=({'|'.join(FORMATS)})\n\n", 400)
        if self.format == "prometheus" and self.buckets in ("disjoint", "detailed", "prometheusnative"):
            return respond("unsupported prometheus histogram bucket mode", 400)
        if self.format != "prometheus" and self.buckets == "prometheusnative":
            return respond("Invalid histogram_buckets type for non prometheus stats type", 400)
        self.type = parameters.get("type", "All")
        return None if self.type in TYPES else respond("invalid &type= param", 400)

    def shows(self, kind: str) -> bool:
        """Whether a kind of statistics is asked for."""
        return self.type in ("All", kind)

    def accepts(self, name: str, used: bool) -> bool:
        """Whether one statistic is asked for."""
        if self.used_only and not used:
            return False
        return self.names is None or self.names.accepts(name)


def compile_filter(text: str) -> Any:
    """A regex from a URL; ValueError in RE2's words. Its memory is capped, its time linear: it comes from outside."""
    options = re2.Options()
    options.max_mem = 1 << 20
    options.log_errors = False
    try:
        return re2.compile(text, options)
    except UnicodeEncodeError as error:
        raise ValueError("invalid UTF-8") from error
    except re2.error as error:
        message = error.args[0] if error.args else ""
        raise ValueError(message.decode("utf-8", "replace") if isinstance(message, bytes) else str(message)) from error
