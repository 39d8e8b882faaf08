"""Which resources of an update were refused, and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from proxeny.config.errors import ConfigError


class RefusedResource(NamedTuple):
    """One resource that could not be taken."""

    name: str
    details: str
    serialized: bytes | None = None
    """Its message as delivered, where whoever refused it has it at hand."""
    version: str = ""
    """Likewise."""


class UpdateRejected(ConfigError):
    """An update was refused, as a whole or in part. ``message`` is what the control plane hears."""

    def __init__(self, message: str, refused: Sequence[RefusedResource]) -> None:
        super().__init__(message)
        self.refused = tuple(refused)

    def __reduce__(self) -> tuple[type[ConfigError], tuple[object, ...]]:
        return type(self), (self.message, self.refused)


def joined(errors: Sequence[ConfigError]) -> UpdateRejected:
    """What is refused of one response, by one owner or another."""
    refused = [one for error in errors if isinstance(error, UpdateRejected) for one in error.refused]
    return UpdateRejected("; ".join(dict.fromkeys(map(str, errors))), refused)


def refused_names(error: ConfigError, names: Iterable[str]) -> set[str]:
    """Which of ``names`` an owner refused that was given them all; who does not say which refuses all."""
    if isinstance(error, UpdateRejected):
        return {one.name for one in error.refused}
    return set(names)
