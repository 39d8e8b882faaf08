"""Slots summed over workers."""

from __future__ import annotations

from proxeny.kernel.all_workers import AllWorkers
from proxeny.kernel.stats import Segment


def test_alone_a_slot_is_its_own() -> None:
    block = Segment.create().block(8, 4)
    block.add(2, 5)
    assert AllWorkers().get(block, 2) == 5
    assert len(AllWorkers()) == 0


def test_the_sum_over_segments() -> None:
    segments = [Segment.create() for _ in range(3)]
    blocks = [segment.block(8, 4) for segment in segments]
    for amount, block in enumerate(blocks, 1):
        block.add(2, amount)
    workers = AllWorkers(segments)
    assert [workers.get(block, 2) for block in blocks] == [6, 6, 6]
    blocks[0].dec(2)
    assert workers.get(blocks[1], 2) == 5
    assert workers.get(blocks[1], 1) == 0
