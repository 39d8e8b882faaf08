"""Parses format strings: literals and ``%COMMAND(ARGUMENT):LENGTH%`` (Envoy: SubstitutionFormatParser)."""

from __future__ import annotations

import re2

from proxeny.config.errors import ConfigError

_COMMAND = re2.compile(r"^%((?:[A-Z]|[0-9]|_)+)(?:\((.*?)\))?(?::([0-9]+))?%")


class Command:
    """One command of a format string."""

    __slots__ = ("argument", "max_length", "name")

    def __init__(self, name: str, argument: str = "", max_length: int | None = None) -> None:
        self.name = name
        self.argument = argument
        self.max_length = max_length

    def __repr__(self) -> str:
        return f"Command({self.name!r}, {self.argument!r}, {self.max_length!r})"


def parse(text: str) -> list[str | Command]:
    """The literals and commands of a format string in order; ``%%`` is a percent sign. ConfigError in Envoy's words."""
    parts: list[str | Command] = []
    literal = ""
    position = 0
    while position < len(text):
        percent = text.find("%", position)
        if percent < 0:
            literal += text[position:]
            break
        literal += text[position:percent]
        if text.startswith("%%", percent):
            literal += "%"
            position = percent + 2
            continue
        if literal:
            parts.append(literal)
            literal = ""
        rest = text[percent:]
        match = _COMMAND.match(rest)
        if match is None:
            at = _bytes_before(text, percent)
            raise ConfigError(f"Incorrect configuration: {text}. Couldn't find valid command at position {at}")
        length = match.group(3)
        parts.append(Command(match.group(1), match.group(2) or "", int(length) if length else None))
        position = percent + match.end()
    if literal or not parts:
        parts.append(literal)
    return parts


def _bytes_before(text: str, position: int) -> int:
    # Envoy counts bytes.
    return len(text[:position].encode("utf-8", "surrogateescape"))
