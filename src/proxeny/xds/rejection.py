"""Which resources of an update were refused, and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from proxeny.config.debug_string import debug_string
from proxeny.config.errors import ConfigError
from proxeny.config.inspector import VIOLATION

LONGEST_DETAIL: Final = 4096
"""Of an error as control planes are told of it (Envoy: ``truncateGrpcStatusMessage``)."""


class RefusedResource(NamedTuple):
    """One resource that could not be taken."""

    name: str
    details: str
    serialized: bytes | None = None
    """Its message as delivered, where whoever refused it has it at hand."""
    version: str = ""
    """Likewise."""
    told: str = ""
    """What the control plane hears of it."""


class UpdateRejected(ConfigError):
    """An update was refused, as a whole or in part. ``message`` is what the control plane hears."""

    def __init__(self, message: str, refused: Sequence[RefusedResource]) -> None:
        super().__init__(message)
        self.refused = tuple(refused)

    def __reduce__(self) -> tuple[type[ConfigError], tuple[object, ...]]:
        return type(self), (self.message, self.refused)


def told(error: ConfigError, message: Any = None) -> str:
    """The words as Envoy's: without a path, and before a broken rule stands the message that breaks it (``message``,
    unless it lies in an Any), if it is not so long that the words would be cut off.
    """
    words, within = error.message, error.within or message
    if within is None or not words.startswith(VIOLATION) or within.ByteSize() > LONGEST_DETAIL:
        return words
    text = f"{debug_string(within)}: {words}"
    return text if len(text) <= LONGEST_DETAIL else words


def joined(errors: Sequence[ConfigError]) -> UpdateRejected:
    """What is refused of one response, by one owner or another."""
    refused = [one for error in errors if isinstance(error, UpdateRejected) for one in error.refused]
    return UpdateRejected("; ".join(dict.fromkeys(map(str, errors))), refused)


def refused_names(error: ConfigError, names: Iterable[str]) -> set[str]:
    """Which of ``names`` an owner refused that was given them all; who does not say which refuses all."""
    if isinstance(error, UpdateRejected):
        return {one.name for one in error.refused}
    return set(names)
