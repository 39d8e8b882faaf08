"""The real Envoy and Proxeny, each beside a control plane that does the same: what they ask for must be the same."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.differential.proxies import ENVOY, PROXENY
from tests.differential.transcript import side_by_side
from tests.differential.xds_config import Json, Variant
from tests.differential.xds_side import POLL, Side

from proxeny.testing.xds import ControlPlane

SETTLE = 10.0
"""How long two states may take to become the same."""


@dataclass(frozen=True)
class XdsCase:
    """A case: `contains` must be found in both transcripts."""

    run: Callable[[Side], None]
    contains: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.run.__name__


def into(cases: list[XdsCase]) -> Callable[..., Callable[[Callable[[Side], None]], None]]:
    """A decorator that makes a case of a function."""

    def case(*contains: str) -> Callable[[Callable[[Side], None]], None]:
        return lambda run: cases.append(XdsCase(run, contains))

    return case


class XdsPair:
    """Both proxies, started together and kept for many cases. ``start`` is the transcript of their starts."""

    def __init__(
        self, variant: Variant, folder: Path, bootstrap: Callable[[int], Json] | None = None,
        prepare: Callable[[ControlPlane], None] | None = None,
    ) -> None:  # fmt: skip
        self._pool = ThreadPoolExecutor(2)
        starts = [
            self._pool.submit(Side, kind, variant, folder / kind, bootstrap, prepare) for kind in (ENVOY, PROXENY)
        ]
        errors = [error for start in starts if (error := start.exception())]
        self.sides = [start.result() for start in starts if start.exception() is None]
        if errors:
            self.close()
            raise errors[0]
        self._settle()
        self.start = [[*side.requests(), *side.state()] for side in self.sides]

    def check_start(self, *contains: str) -> None:
        """What both asked for until they were live."""
        problems = _differences(self.start, contains)
        if problems:
            pytest.fail("\n".join(problems), pytrace=False)

    def check(self, case: XdsCase) -> None:
        """Run the case on both sides; a failure shows both transcripts where they differ."""
        for side in self.sides:
            side.begin(case.name)
        runs = [self._pool.submit(case.run, side) for side in self.sides]
        errors = [error for run in runs if (error := run.exception())]
        if not errors:
            self._settle()
        texts = [[*side.requests(), *side.lines, *side.state()] for side in self.sides]
        ends = [self._pool.submit(side.finish) for side in self.sides]
        errors += [error for end in ends if (error := end.exception())]
        problems = [*map(str, errors), *_differences(texts, case.contains)]
        if problems:
            pytest.fail("\n".join([case.name, *problems]), pytrace=False)

    def _settle(self) -> None:
        """Wait until both ask and count the same, or it is too late for that."""
        deadline = time.monotonic() + SETTLE
        envoy, proxeny = self.sides
        while time.monotonic() < deadline:
            if envoy.requests() == proxeny.requests() and envoy.state() == proxeny.state():
                return
            time.sleep(POLL)

    def close(self) -> None:
        for side in self.sides:
            side.close()
        self._pool.shutdown()


def _differences(texts: list[list[str]], contains: tuple[str, ...]) -> list[str]:
    """What is wrong with two transcripts, Envoy's first."""
    problems = []
    for kind, text in zip((ENVOY, PROXENY), texts, strict=True):
        problems += [f"{kind}: no line has {mark!r}" for mark in contains if not any(mark in line for line in text)]
    if texts[0] != texts[1]:
        problems.append("the transcripts differ")
    return [*problems, *side_by_side(*texts)] if problems else []
