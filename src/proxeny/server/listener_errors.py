"""The updates that were refused, as /config_dump shows them (Envoy: ``UpdateFailureState``)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class UpdateFailure:
    """A refused listener: the message, why, and when (0: not told)."""

    message: Any
    details: str
    attempted_at: float = 0.0


class ListenerErrors:
    """What the last update refused: by listener name, and the list of all."""

    def __init__(self) -> None:
        self.by_name: dict[str, UpdateFailure] = {}
        self.overall: list[UpdateFailure] = []

    def begin_update(self) -> None:
        """A new update: what the last one refused is history."""
        self.by_name.clear()

    def note(self, proto: Any, details: str) -> None:
        """A listener was refused."""
        self.by_name[proto.name] = UpdateFailure(proto, details, time.time())

    def end_update(self, failures: list[UpdateFailure]) -> None:
        """All that the update refused."""
        self.overall = failures
