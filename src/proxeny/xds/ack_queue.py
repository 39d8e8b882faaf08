"""Acknowledgements that wait to be sent (Envoy: ``PausableAckQueue``)."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from proxeny.config.errors import ConfigError


class UpdateAck(NamedTuple):
    """What is said of a response; ``error``: why it was refused."""

    nonce: str
    type_url: str
    error: ConfigError | None = None


class PausableAckQueue:
    """First in, first out, but for types that are paused."""

    def __init__(self) -> None:
        self._acks: list[UpdateAck] = []
        self._pauses: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._acks)

    def push(self, ack: UpdateAck) -> None:
        """It is to be sent."""
        self._acks.append(ack)

    def clear(self) -> None:
        """There is another stream, which knows no old nonce."""
        self._acks.clear()

    def front(self) -> UpdateAck | None:
        """The one to send next; None: there is none that may be sent."""
        for ack in self._acks:
            if not self._pauses[ack.type_url]:
                return ack
        return None

    def remove(self, ack: UpdateAck) -> None:
        """It was sent."""
        self._acks.remove(ack)

    def pause(self, type_url: str) -> None:
        """Hold back those of a type; pauses nest."""
        self._pauses[type_url] += 1

    def resume(self, type_url: str) -> None:
        """End one pause."""
        self._pauses[type_url] -= 1

    def is_paused(self, type_url: str) -> bool:
        """Whether those of a type are held back."""
        return self._pauses[type_url] > 0
