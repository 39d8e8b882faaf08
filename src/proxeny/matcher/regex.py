"""RE2 patterns over bytes (Envoy: ``Regex::Utility::parseRegex``, ``CompiledGoogleReMatcher``).

Patterns see bytes as Latin-1, as Envoy's do (asked of 1.40: ``a.b`` matches ``a\\xe9b`` and not
``a\\xc3\\xa9b``), so that no byte a peer can send falls outside of ``.``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from re2 import _re2

from proxeny.config.errors import ConfigError

_UNANCHORED: Final = _re2.RE2.Anchor.UNANCHORED
_ANCHOR_BOTH: Final = _re2.RE2.Anchor.ANCHOR_BOTH
_PLAIN: Final = re.compile(rb"[A-Za-z0-9/_,;:@!%&=~-]*")
"""What a pattern begins with that stands for itself, unless a quantifier follows."""
_QUANTIFIERS: Final = b"*+?{"
_LONGEST_PREFIX: Final = 64
"""How much of a pattern's literal beginning is looked for."""
_SET_MEMORY: Final = 64 << 20
"""Budget of a RegexSet's automaton; RE2's own default (8 MB) is for one pattern."""


def _options(never_capture: bool, max_mem: int | None = None) -> Any:
    options = _re2.RE2.Options()
    options.encoding = options.Encoding.LATIN1
    options.log_errors = False
    options.never_capture = never_capture
    if max_mem is not None:
        options.max_mem = max_mem
    return options


class CompiledRegex:
    """One pattern; ``match`` asks for a full match. ConfigError with RE2's words for a pattern it refuses."""

    __slots__ = ("_capturing", "_match", "_regexp", "pattern")

    def __init__(self, pattern: str | bytes) -> None:
        self.pattern = pattern.encode("utf-8") if isinstance(pattern, str) else pattern
        regexp = _re2.RE2(self.pattern, _options(never_capture=True))
        if not regexp.ok():
            error = regexp.error()
            raise ConfigError(error.decode("utf-8", "replace") if isinstance(error, bytes) else str(error))
        self._regexp = regexp
        self._match = regexp.Match
        self._capturing: Any = None

    @property
    def program_size(self) -> int:
        """How many instructions the compiled pattern has: its cost in memory and in a RegexSet."""
        return int(self._regexp.ProgramSize())

    def literal_prefix(self) -> bytes:
        """Text that everything which ``match`` accepts begins with; as long as RE2 can say."""
        if b"|" not in self.pattern:
            plain = _PLAIN.match(self.pattern).end()  # type: ignore[union-attr]
            if plain < len(self.pattern) and self.pattern[plain] in _QUANTIFIERS:
                plain -= 1
            if plain > 0:
                return self.pattern[:plain]
        known, least, most = self._regexp.PossibleMatchRange(_LONGEST_PREFIX)
        if not known:
            return b""
        shared = 0
        while shared < min(len(least), len(most)) and least[shared] == most[shared]:
            shared += 1
        return bytes(least[:shared])

    def groups(self, text: bytes) -> list[bytes] | None:
        """What the pattern's groups match when the whole of ``text`` does (b"" for one that takes no part)."""
        spans = self._with_groups().Match(_ANCHOR_BOTH, text, 0, len(text))
        return None if spans[0][0] < 0 else [text[start:end] if start >= 0 else b"" for start, end in spans[1:]]

    def group_names(self) -> dict[str, int]:
        """Numbers of the named groups, the first of all groups being 1."""
        return {_text(name): int(number) for name, number in self._with_groups().NamedCapturingGroups()}

    def _with_groups(self) -> Any:
        if self._capturing is None:
            self._capturing = _re2.RE2(self.pattern, _options(never_capture=False))
        return self._capturing

    def match(self, text: bytes) -> bool:
        """Whether the whole of ``text`` matches."""
        return bool(self._match(_ANCHOR_BOTH, text, 0, len(text))[0][0] == 0)

    def describe(self) -> str:
        """For people."""
        return f"regex {self.pattern.decode('utf-8', 'replace')!r}"

    def replace_all(self, text: bytes, substitution: bytes) -> bytes:
        """All non-overlapping matches replaced; ``\\0``..``\\9`` stand for groups (RE2's GlobalReplace).

        A substitution that names a group the pattern has not, or that ends in a backslash, leaves the text as it is.
        """
        regexp = self._with_groups()
        parts = parse_substitution(substitution)
        if parts is None or any(isinstance(p, int) and p > regexp.NumberOfCapturingGroups() for p in parts):
            return text
        return _global_replace(regexp, text, parts)


def _text(text: str | bytes) -> str:
    return text.decode("latin-1") if isinstance(text, bytes) else text


def containing(literal: bytes, any_case: bool) -> bytes:
    """A pattern for all texts with ``literal`` in them."""
    flags = b"(?is)" if any_case else b"(?s)"
    return flags + b".*" + b"".join([b"\\x{%02x}" % byte for byte in literal]) + b".*"


def parse_substitution(substitution: bytes) -> list[bytes | int] | None:
    """Literals and group numbers of an RE2 rewrite string; None where RE2 refuses it."""
    parts: list[bytes | int] = []
    position = 0
    while (slash := substitution.find(b"\\", position)) >= 0:
        escaped = substitution[slash + 1 : slash + 2]
        if escaped == b"\\":
            parts.append(substitution[position : slash + 1])
        elif escaped and escaped in b"0123456789":
            parts.append(substitution[position:slash])
            parts.append(escaped[0] - 48)
        else:
            return None
        position = slash + 2
    parts.append(substitution[position:])
    return parts


def _global_replace(regexp: Any, text: bytes, parts: list[bytes | int]) -> bytes:
    """RE2's rule for empty matches: none directly behind a match; a byte is copied instead."""
    out: list[bytes] = []
    position, last_end, size = 0, -1, len(text)
    while position <= size:
        spans = regexp.Match(_UNANCHORED, text, position, size)
        start, end = spans[0]
        if start < 0:
            break
        out.append(text[position:start])
        if start == end and start == last_end:
            out.append(text[start : start + 1])
            position = start + 1
            continue
        for part in parts:
            if isinstance(part, bytes):
                out.append(part)
            elif spans[part][0] >= 0:
                out.append(text[spans[part][0] : spans[part][1]])
        position = last_end = end
        if start == end:
            out.append(text[end : end + 1])
            position += 1
    out.append(text[position:])
    return b"".join(out)


class RegexSet:
    """Many patterns matched in one pass: which of them match the whole text, ascending.

    ``compile`` returns None when the automaton would not fit its memory; the caller then asks one by one.
    """

    __slots__ = ("_match",)

    def __init__(self, matcher: Any) -> None:
        self._match = matcher

    @classmethod
    def compile(cls, patterns: Sequence[bytes]) -> RegexSet | None:
        """A set over patterns that each compiled on their own."""
        regexes = _re2.Set(_ANCHOR_BOTH, _options(never_capture=True, max_mem=_SET_MEMORY))
        try:
            for pattern in patterns:
                regexes.Add(pattern)
            regexes.Compile()
        except _re2.Error:
            return None
        return cls(regexes.Match)

    def matching(self, text: bytes) -> list[int]:
        """Positions (in the order given) of the patterns that match."""
        return sorted(self._match(text))
