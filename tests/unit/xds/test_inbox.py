"""Responses one after the other, in slices."""

from __future__ import annotations

from unittest import mock

import pytest

from proxeny.event.dispatcher import Dispatcher
from proxeny.event.slices import Steps
from proxeny.xds.inbox import MOST_WAITING, Inbox


def steps(told: list[str], name: str, count: int = 2) -> Steps[None]:
    for number in range(count):
        told.append(f"{name}{number}")
        yield


def test_short_work_is_done_at_once() -> None:
    told: list[str] = []
    inbox = Inbox(Dispatcher())
    inbox.put(lambda: steps(told, "a"))
    inbox.put(lambda: told.append("b"))
    assert told == ["a0", "a1", "b"]


def test_long_work_gives_others_a_turn_and_nothing_overtakes_it() -> None:
    told: list[str] = []
    dispatcher = Dispatcher()
    inbox = Inbox(dispatcher)
    with mock.patch("proxeny.xds.inbox.BUDGET_S", 0):
        inbox.put(lambda: steps(told, "a"))
        inbox.put(lambda: told.append("b"))
        dispatcher.call_soon(told.append, "other")
        dispatcher.run_until(lambda: "b" in told)
    assert told.index("other") < told.index("a1") < told.index("b")


def test_work_that_brings_up_work_is_finished_first() -> None:
    told: list[str] = []
    inbox = Inbox(Dispatcher())

    def outer() -> None:
        inbox.put(lambda: told.append("inner"))
        told.append("outer")

    inbox.put(outer)
    assert told == ["outer", "inner"]


def test_a_fault_is_logged_and_the_next_work_done(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []
    inbox = Inbox(Dispatcher())
    inbox.put(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    inbox.put(lambda: told.append("b"))
    assert told == ["b"]
    assert "ZeroDivisionError" in caplog.text


def test_nothing_is_done_after_the_end() -> None:
    told: list[str] = []
    dispatcher = Dispatcher()
    inbox = Inbox(dispatcher)
    with mock.patch("proxeny.xds.inbox.BUDGET_S", 0):
        inbox.put(lambda: steps(told, "a"))
    inbox.close()
    inbox.put(lambda: told.append("b"))
    dispatcher.run_once()
    assert told == []


def test_a_flood_is_done_where_it_comes() -> None:
    told: list[str] = []
    dispatcher = Dispatcher()
    inbox = Inbox(dispatcher)
    with mock.patch("proxeny.xds.inbox.BUDGET_S", 0):
        for number in range(MOST_WAITING + 1):
            inbox.put(lambda number=number: steps(told, f"{number}."))  # type: ignore[misc]
        assert told == []
        inbox.put(lambda: told.append("last"))
        assert told[0] == "0.0"
        assert "last" not in told
        dispatcher.run_until(lambda: "last" in told)
    assert told == [f"{number}.{step}" for number in range(MOST_WAITING + 1) for step in range(2)] + ["last"]
