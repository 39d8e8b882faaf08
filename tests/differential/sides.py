"""Envoy and Proxeny, each with surroundings of its own, that do the same and must come to the same."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from tests.differential.proxies import ENVOY, PROXENY


class Closable(Protocol):
    def close(self) -> None:
        """The end of it."""


SideT = TypeVar("SideT", bound=Closable)


class Sides(Generic[SideT]):
    """Both, started together."""

    def __init__(self, make: Callable[[str, Path], SideT], folder: Path) -> None:
        self._pool = ThreadPoolExecutor(2)
        starts = [self._pool.submit(make, kind, folder / kind) for kind in (ENVOY, PROXENY)]
        self.sides = [start.result() for start in starts]

    def check(self, run: Callable[[SideT], Any]) -> None:
        """Both do it, at the same time, and come to the same."""
        envoy, proxeny = [one.result() for one in [self._pool.submit(run, side) for side in self.sides]]
        assert proxeny == envoy

    def close(self) -> None:
        for side in self.sides:
            side.close()
        self._pool.shutdown()
