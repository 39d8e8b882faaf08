"""When a connection had too many requests that were given up at once."""

from types import SimpleNamespace
from typing import Any

from proxeny.http.premature_resets import PrematureResets

SECOND = 1_000_000_000


class Runtime:
    def __init__(self, **values: int) -> None:
        self.values = values

    def get_integer(self, key: str, default: int) -> int:
        return self.values.get(key.rpartition(".")[2], default)


def stream(seconds: float = 0) -> Any:
    return SimpleNamespace(start_ns=0, end_ns=int(seconds * SECOND))


def test_half_of_the_limit_is_too_many_at_once():
    resets = PrematureResets(None)
    assert [resets.are_too_many(stream(), number + 1) for number in range(250)] == [False] * 249 + [True]


def test_answers_and_long_streams_are_no_resets():
    resets = PrematureResets(None)
    assert not any(resets.are_too_many(stream(seconds=2), 600) for _ in range(600))
    # With 1,200 good streams before them as many may be bad.
    found = [resets.are_too_many(stream(), 1201 + number) for number in range(1201)]
    assert found.index(True) == 1199


def test_runtime_changes_the_limits():
    resets = PrematureResets(
        Runtime(premature_reset_total_stream_count=4, premature_reset_min_stream_lifetime_seconds=5)
    )
    assert [resets.are_too_many(stream(seconds=5), 2) for _ in range(2)] == [False, True]
