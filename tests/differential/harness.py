"""The differential test: one case, driven with the same bytes through Envoy and through Proxeny, gives two transcripts.

A transcript is a list of lines: what the client read and how its connections ended, what the upstreams saw, the access
log, and by how much each counter moved. Everything that may differ between two runs of one proxy is normalised; the
rest must be equal. A case also states its own expectation, which is asserted on both sides, so that two proxies that
fail in the same way are not taken for agreement.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.differential.case import (
    Asked,
    Case,
    Do,
    Expect,
    Names,
    Release,
    Reply,
    Send,
    StatIs,
    Step,
    UpstreamSaw,
    case_id,
    request,
)
from tests.differential.driver import Driver
from tests.differential.proxies import CONFIGS, ENVOY, PROXENY, Proxy
from tests.differential.transcript import compared, expectation_failures, safety_failures, side_by_side

__all__ = [
    "Asked",
    "Case",
    "Do",
    "Expect",
    "Names",
    "Pairs",
    "Release",
    "Reply",
    "Send",
    "StatIs",
    "Step",
    "UpstreamSaw",
    "case_id",
    "request",
]


class Pair:
    """Envoy and Proxeny on one configuration, started together and kept for many cases."""

    def __init__(self, config: str, folder: Path, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        template = (CONFIGS / f"{config}.yaml").read_text()
        starts = [pool.submit(Proxy, kind, template, folder / kind) for kind in (ENVOY, PROXENY)]
        self.error: BaseException | None = next((error for start in starts if (error := start.exception())), None)
        self.sides = [start.result() for start in starts if start.exception() is None]

    def check(self, case: Case) -> None:
        """Run the case on both sides; AssertionError with both transcripts where they differ."""
        if self.error is not None:
            pytest.fail(f"config {case.config!r} does not run: {self.error}", pytrace=False)
        envoy, proxeny = (Driver(side, case) for side in self.sides)
        for done in [self._pool.submit(driver.run) for driver in (envoy, proxeny)]:
            done.result()
        envoy.collect()
        # A stricter side need not come to the same: it is not waited for.
        proxeny.collect(like=None if case.stricter else envoy)
        problems = [f"envoy: {text}" for text in expectation_failures(case, envoy.transcript)]
        if case.stricter:
            problems += safety_failures(envoy.transcript, proxeny.transcript)
        else:
            problems += [f"proxeny: {text}" for text in expectation_failures(case, proxeny.transcript)]
            if compared(case, envoy.transcript) != compared(case, proxeny.transcript):
                problems.append("the transcripts differ")
        problems += [f"{side.kind} died:\n{side.log_tail()}" for side in self.sides if not side.alive()]
        if self.sides[1].stats("^server.worker_restarts$").get("server.worker_restarts", 0):
            problems.append(f"proxeny lost a worker:\n{self.sides[1].log_tail()}")
        if problems:
            table = side_by_side(compared(case, envoy.transcript), compared(case, proxeny.transcript))
            pytest.fail("\n".join([f"{case.config}/{case.listener}: {case.name}", *problems, *table]), pytrace=False)

    def close(self) -> None:
        for side in self.sides:
            side.close()


MOST_PAIRS = 6
"""Proxies that run at a time: idle ones are not free, and a file of tests needs few."""


class Pairs:
    """The pairs of a test session, started on first use; the ones used least recently make room."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pool = ThreadPoolExecutor(4)
        self._pairs: dict[str, Pair] = {}
        self._started = 0

    def check(self, case: Case) -> None:
        pair = self._pairs.pop(case.config, None)
        if pair is None:
            while len(self._pairs) >= MOST_PAIRS:
                self._pairs.pop(next(iter(self._pairs))).close()
            self._started += 1
            pair = Pair(case.config, self._folder / f"{self._started}-{case.config}", self._pool)
        self._pairs[case.config] = pair
        pair.check(case)

    def close(self) -> None:
        for pair in self._pairs.values():
            pair.close()
        self._pool.shutdown()
