"""When load balancing follows changes of health."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from proxeny.event.dispatcher import Dispatcher
from proxeny.event.time_source import SimulatedTimeSource
from proxeny.stats.store import MainStore
from proxeny.upstream.merge_window import MergeWindow
from proxeny.upstream.stats import CLUSTER_MANAGER


class World:
    def __init__(self, window_ms: int) -> None:
        self.time = SimulatedTimeSource()
        self.dispatcher = Dispatcher(self.time)
        self.stats = MainStore().block(CLUSTER_MANAGER, "cluster_manager.")
        self.ended = 0
        self.window = MergeWindow(self.dispatcher, self.stats, window_ms, self._on_end)

    def _on_end(self) -> None:
        self.ended += 1

    def after(self, ms: int) -> None:
        self.time.advance_ms(ms)
        self.dispatcher.run_until_complete(asyncio.sleep(0))

    def counts(self) -> dict[str, int]:
        values = {name: self.stats.get(slot) for slot, name in enumerate(CLUSTER_MANAGER.names)}
        return {name: value for name, value in values.items() if value}


@pytest.fixture
def world() -> Iterator[World]:
    made = World(1000)
    yield made
    made.window.close()
    made.dispatcher.close()


def test_changes_after_a_rest_are_followed(world: World) -> None:
    assert world.window.admits()
    world.after(1001)
    assert world.window.admits()
    assert world.counts() == {"cluster_updated": 2, "update_out_of_merge_window": 2}


def test_changes_within_the_window_are_followed_together(world: World) -> None:
    assert world.window.admits()
    world.after(10)
    assert not world.window.admits()
    assert not world.window.admits()
    world.after(1000)
    assert world.ended == 1
    assert world.counts() == {"cluster_updated": 1, "update_out_of_merge_window": 1, "cluster_updated_via_merge": 1}
    # The next window begins where this one ended.
    assert not world.window.admits()


def test_what_does_not_wait_takes_the_rest_along(world: World) -> None:
    assert world.window.admits()
    assert not world.window.admits()
    world.window.force(1)
    world.after(2000)
    assert world.ended == 0
    assert world.counts() == {"cluster_updated": 2, "update_out_of_merge_window": 1, "update_merge_cancelled": 1}


def test_a_cluster_that_begins_anew(world: World) -> None:
    assert world.window.admits()
    world.window.reset()
    assert world.window.admits()


def test_without_a_window() -> None:
    world = World(0)
    assert world.window.admits()
    assert world.window.admits()
    world.window.force(2)
    assert world.counts() == {"cluster_updated": 4}
    world.dispatcher.close()
