"""Connections ahead of need: which hosts, and how many."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from proxeny.stats.store import MainStore
from proxeny.upstream.preconnect import Ahead
from proxeny.upstream.stats import CLUSTER, UPSTREAM_CX_ACTIVE, UPSTREAM_RQ_ACTIVE


class World:
    """A cluster of named hosts; pools that open what they are asked to."""

    def __init__(self, ratio: float, hosts: str = "abc", kind: str = "round_robin") -> None:
        self.stats = MainStore().block(CLUSTER, "cluster.c.")
        info = SimpleNamespace(stats=self.stats)
        policy = SimpleNamespace(kind=kind)
        config: Any = SimpleNamespace(info=info, predictive_preconnect_ratio=ratio, lb_policy=policy)
        self.ahead = Ahead.of(config)
        self.opened: list[str] = []
        self.opens = True
        turn = iter(range(1000))
        if self.ahead is not None:
            choose: Any = lambda context: hosts[next(turn) % len(hosts)]  # noqa: E731
            self.choose: Any = self.ahead.choosing(choose, len(hosts))

    def pool_of(self, host: Any) -> Any:
        return SimpleNamespace(preconnect=lambda ratio: self._open(host))

    def _open(self, host: str) -> bool:
        self.opened.append(host)
        if self.opens:
            self.stats.inc(UPSTREAM_CX_ACTIVE)
        return self.opens

    def request(self) -> str:
        assert self.ahead is not None
        host = self.choose(None)
        self.ahead.before_stream(None, self.pool_of)
        self.stats.inc(UPSTREAM_RQ_ACTIVE)
        return str(host)


def test_the_hosts_that_come_next_are_connected_to() -> None:
    world = World(1.5)
    assert world.request() == "a"
    assert world.opened == ["b", "c"]
    assert world.request() == "b"
    assert world.opened == ["b", "c", "a"]
    assert [world.choose(None) for _ in range(3)] == ["c", "a", "b"]


def test_no_more_choices_ahead_than_there_are_hosts() -> None:
    world = World(3, hosts="ab")
    world.request()
    assert world.opened == ["b", "a"]


def test_three_at_a_time() -> None:
    world = World(3, hosts="abcdefg")
    for _ in range(3):
        world.stats.inc(UPSTREAM_RQ_ACTIVE)
    world.request()
    assert world.opened == ["b", "c", "d"]


def test_a_pool_that_does_not_open_ends_it() -> None:
    world = World(3)
    world.opens = False
    world.request()
    assert world.opened == ["b"]


def test_choices_are_void_when_the_hosts_change() -> None:
    world = World(2)
    world.request()
    assert world.ahead is not None
    choose = world.ahead.choosing(lambda context: "z", 1)  # type: ignore[arg-type,return-value]
    assert choose(None) == "z"


@pytest.mark.parametrize(("ratio", "kind"), [(1.0, "round_robin"), (2.0, "ring_hash"), (2.0, "least_request")])
def test_who_does_not_look_ahead(ratio: float, kind: str) -> None:
    assert World(ratio, kind=kind).ahead is None
