"""The history is bounded in every direction."""

from __future__ import annotations

from proxeny.xds.history import MOST_CHANGES, Change, Event, History


def event(at: float, version: str = "1", *changes: Change) -> Event:
    return Event(at, "T", "ads", version, "accepted", "", list(changes), 10, 0.5)


def change(size: int) -> Change:
    return Change("changed", "a", b"x" * size, b"y" * size)


def versions(history: History) -> list[str]:
    return [found.version for found in history.newest_first()]


def test_parts_of_one_update_are_one_event() -> None:
    history = History()
    history.add(event(1, "1", change(1)))
    history.add(event(1.5, "1", change(1)))
    history.add(event(1.6, "2", change(1)))
    history.add(event(9, "2"))
    assert versions(history) == ["2", "2", "1"]
    first = history.find(1)
    assert first is not None
    assert (first.number, len(first.changes), first.size, first.seconds) == (1, 2, 20, 1.0)


def test_events_are_bounded() -> None:
    history = History(most_events=3)
    for number in range(10):
        history.add(event(number * 10, str(number)))
    assert versions(history) == ["9", "8", "7"]
    assert history.find(1) is None


def test_changes_of_an_event_are_bounded() -> None:
    history = History()
    history.add(event(1, "1", *[change(0)] * (MOST_CHANGES - 1)))
    history.add(event(1, "1", *[change(0)] * 3))
    found = history.find(1)
    assert found is not None
    assert (len(found.changes), found.left_out) == (MOST_CHANGES, 2)


def test_the_oldest_lose_their_contents_first() -> None:
    history = History(most_bytes=100)
    for number in range(4):
        history.add(event(number * 10, str(number), change(20)))
    kept = [found.changes[0].before is not None for found in history.newest_first()]
    assert kept == [True, True, False, False]
    history.add(event(100, "9", change(200)))
    assert [found.changes[0].after is None for found in history.newest_first()] == [True] * 5
    history.add(event(100.1, "9", change(10)))
    assert [len(found.changes) for found in history.newest_first()] == [1, 1, 1, 1, 1, 1]
