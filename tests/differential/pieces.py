"""Cases again with their bytes cut at random points: the verdict must not depend on how bytes arrive.

The cuts are drawn from the case's name, so that a run can be repeated.
"""

from dataclasses import replace
from itertools import pairwise
from random import Random

from tests.differential.case import Case, Send, Step
from tests.differential.upstream import Answer

MOST_CUTS = 7
MOST_BYTES = 4096
"""Larger messages are cut within their first bytes only."""


VARYING = (
    "rx_bytes_total",
    r"^log 400 DPE http1\.(codec_error|invalid_characters)",
    r"^client \d <   body '' (rst|fin)",
)
"""What may depend on the pieces: how much was read of a refused request, which of two details Envoy gives, and
whether something that was not read turns a close into a reset."""


def cuts(data: bytes, random: Random) -> tuple[int, ...]:
    """Where to cut: one to seven places, most of them where something ends."""
    size = min(len(data), MOST_BYTES)
    ends = [at + 1 for at in range(size - 1) if data[at] in b"\r\n:; "]
    places = [random.choice(ends) if ends and random.random() < 0.5 else random.randrange(1, size) for _ in range(7)]
    return tuple(sorted(set(places[: random.randint(1, MOST_CUTS)])))


def in_pieces(case: Case, ignore: tuple[str, ...] = ()) -> Case:
    """The same case, what the client sends cut; how much was read of a refused request may differ."""
    random = Random(case.name)
    steps = [_cut_step(step, random) for step in case.steps]
    return replace(case, name=f"{case.name}_in_pieces", steps=steps, ignore=(*case.ignore, *VARYING, *ignore))


def _cut_step(step: Step, random: Random) -> Step:
    if isinstance(step, bytes) and len(step) > 1:
        return Send(step, cuts=cuts(step, random))
    return step


def answered_in_pieces(case: Case) -> Case:
    """The same case, the upstream's answers cut."""
    random = Random(case.name)
    answers = [_cut_answer(answer, random) for answer in case.answers]
    return replace(case, name=f"{case.name}_in_pieces", answers=answers)


def _cut_answer(answer: Answer, random: Random) -> Answer:
    pieces: list[object] = []
    for step in answer:
        if not isinstance(step, bytes) or len(step) < 2:
            pieces.append(step)
            continue
        places = (0, *cuts(step, random), len(step))
        pieces += [step[start:end] for start, end in pairwise(places)]
    return tuple(pieces)  # type: ignore[arg-type]
