"""What makes a long page in pieces."""

import random

from proxeny.admin import pieces
from proxeny.admin.pieces import joined, pauses, sorted_steps


def test_short_texts_go_together(monkeypatch):
    monkeypatch.setattr(pieces, "_TOGETHER", 2)
    assert list(joined(iter("abcde"))) == ["ab", "cd", "e"]
    assert list(joined([])) == []


def test_steps_are_pieces_without_text():
    def steps():
        yield
        yield
        return 7

    def page():
        yield str((yield from pauses(steps())))

    assert list(page()) == ["", "", "7"]


def test_many_values_are_sorted_in_steps(monkeypatch):
    monkeypatch.setattr(pieces, "_RUN", 10)
    values = [random.randrange(100) for _ in range(95)]
    steps = sorted_steps(values, key=lambda one: one)
    count = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            assert list(end.value) == sorted(values)
            break
        count += 1
    assert count == 10
