"""What makes a long page in pieces of text."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from typing import Any, Final, TypeVar

from proxeny.event.slices import Steps

T = TypeVar("T")

_TOGETHER: Final = 128
"""Short texts that make one piece: a piece has a price of its own."""
_RUN: Final = 4096
"""Values that one step sorts."""


def joined(texts: Iterable[str]) -> Iterator[str]:
    """Many short texts as fewer longer ones."""
    texts = iter(texts)
    while together := "".join(islice(texts, _TOGETHER)):
        yield together


def pauses(steps: Steps[T]) -> Generator[str, None, T]:
    """Work in steps as pieces without text; what it returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            made: T = end.value
            return made
        yield ""


def sorted_steps(values: list[T], key: Callable[[T], Any]) -> Steps[Iterator[T]]:
    """The values in order: sorted in runs, which are merged while they are taken."""
    if len(values) <= _RUN:
        return iter(sorted(values, key=key))
    runs = []
    for start in range(0, len(values), _RUN):
        runs.append(sorted(values[start : start + _RUN], key=key))
        yield
    return heapq.merge(*runs, key=key)
