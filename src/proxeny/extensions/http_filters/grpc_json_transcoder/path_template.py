"""Path templates of ``google.api.http`` rules.

``Template = "/" Segments [ ":" LITERAL ]``, ``Segment = "*" | "**" | LITERAL | "{" FieldPath [ "=" Segments ] "}"``;
behind ``**`` only literals may follow, and variables do not nest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ONE: Final = b"*"
REST: Final = b"**"
_ENDS_LITERAL: Final = frozenset(b"/:}")
_ENDS_NAME: Final = frozenset(b".}=")


@dataclass(frozen=True, slots=True)
class Variable:
    """Binds the segments ``[start, end)`` to a field; a negative ``end`` counts from the path's end (-1: up to it)."""

    field_path: tuple[bytes, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template."""

    segments: tuple[bytes, ...]
    verb: bytes
    variables: tuple[Variable, ...]


class _Malformed(Exception):
    """The template is none."""


class _Parser:
    """Recursive descent over one template."""

    __slots__ = ("_at", "_in_variable", "_rest_in_variable", "_text", "segments", "variables", "verb")

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._at = 0
        self._in_variable = False
        self._rest_in_variable = False
        self.segments: list[bytes] = []
        self.variables: list[tuple[Variable, bool]] = []
        self.verb = b""

    def parse(self) -> None:
        """_Malformed where it does not follow the grammar."""
        self._expect(b"/")
        self._segments()
        if self._take(b":"):
            self.verb = self._run(_ENDS_LITERAL)
        if self._at != len(self._text):
            raise _Malformed

    def _take(self, char: bytes) -> bool:
        if self._text[self._at : self._at + 1] != char:
            return False
        self._at += 1
        return True

    def _expect(self, char: bytes) -> None:
        if not self._take(char):
            raise _Malformed

    def _run(self, ends: frozenset[int]) -> bytes:
        """The text up to one of ``ends``; there must be some."""
        start = at = self._at
        text = self._text
        while at < len(text) and text[at] not in ends:
            at += 1
        if at == start:
            raise _Malformed
        self._at = at
        return text[start:at]

    def _segments(self) -> None:
        self._segment()
        while self._take(b"/"):
            self._segment()

    def _segment(self) -> None:
        if self._take(b"*"):
            if self._take(b"*"):
                self.segments.append(REST)
                self._rest_in_variable = self._in_variable
            else:
                self.segments.append(ONE)
        elif self._take(b"{"):
            self._variable()
        else:
            self.segments.append(self._run(_ENDS_LITERAL))

    def _variable(self) -> None:
        if self._in_variable:
            raise _Malformed
        self._in_variable, self._rest_in_variable = True, False
        start = len(self.segments)
        names = [self._run(_ENDS_NAME)]
        while self._take(b"."):
            names.append(self._run(_ENDS_NAME))
        if self._take(b"="):
            self._segments()
        else:
            self.segments.append(ONE)
        self._expect(b"}")
        self._in_variable = False
        self.variables.append((Variable(tuple(names), start, len(self.segments)), self._rest_in_variable))


def parse(text: bytes) -> Template | None:
    """The template, or None when it is malformed."""
    if text == b"/":
        return Template((), b"", ())
    parser = _Parser(text)
    try:
        parser.parse()
    except _Malformed:
        return None
    segments = tuple(parser.segments)
    if REST in segments and any(part in (ONE, REST) for part in segments[segments.index(REST) + 1 :]):
        return None
    variables = tuple(
        Variable(variable.field_path, variable.start, variable.end - len(segments) - 1) if has_rest else variable
        for variable, has_rest in parser.variables
    )
    return Template(segments, parser.verb, variables)
