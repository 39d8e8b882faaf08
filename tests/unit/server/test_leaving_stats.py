"""Statistics that are used again when nobody counts in them."""

from typing import Any

from proxeny.server.leaving_stats import LeavingStats


class Worker:
    def __init__(self, index: int) -> None:
        self.index = index


class Supervisor:
    def __init__(self, *indices: int) -> None:
        self.workers = [Worker(index) for index in indices]

    def configured_workers(self) -> list[Worker]:
        return self.workers


def table(name: str) -> Any:
    return {("schema", name): 1}


def made(*workers: int) -> tuple[LeavingStats, list[Any]]:
    released: list[Any] = []
    supervisor: Any = Supervisor(*workers)
    return LeavingStats(supervisor, released.append), released


def test_without_workers_they_are_released_at_once() -> None:
    leaving, released = made()
    assert leaving.leave(table("a")) == 0
    assert released == [table("a")]


def test_the_last_worker_that_lets_go_releases_them_once() -> None:
    leaving, released = made(0, 1)
    one, two = leaving.leave(table("a")), leaving.leave(table("b"))
    assert (one, two) == (1, 2)
    leaving.on_released(0, [one, two])
    assert released == []
    leaving.on_released(1, [two, 99])
    assert released == [table("b")]
    leaving.on_released(1, [two])
    leaving.on_released(1, [one])
    assert released == [table("b"), table("a")]


def test_a_worker_that_begins_anew_has_none() -> None:
    leaving, released = made(0, 1)
    one = leaving.leave(table("a"))
    leaving.worker_started(0)
    assert released == []
    leaving.on_released(1, [one])
    assert released == [table("a")]
