"""The last failed requests of every worker, as main keeps them; a worker that died is still told of."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from proxeny.http.recent_failures import MOST, FailedRequest


class FailureLog:
    """A ring for each worker, so that one with many failures does not hide another's few."""

    def __init__(self) -> None:
        self._rings: dict[int, deque[FailedRequest]] = {}

    def add(self, worker: int, requests: Iterable[FailedRequest]) -> None:
        """What a worker told, the oldest first."""
        self._rings.setdefault(worker, deque(maxlen=MOST)).extend(requests)

    def newest_first(self) -> list[FailedRequest]:
        """All of them, by their beginning."""
        return sorted([one for ring in self._rings.values() for one in ring], key=lambda one: -one.time)
