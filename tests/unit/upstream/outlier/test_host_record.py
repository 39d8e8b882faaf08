"""How long a host is out, and how that grows and shrinks."""

from __future__ import annotations

from proxeny.upstream.outlier.host_record import BackOff


def test_each_time_is_longer_up_to_the_longest() -> None:
    back_off = BackOff()
    lengths = []
    for _ in range(6):
        back_off.begin(0, 100, 350, 0)
        lengths.append(next(now for now in range(0, 1000, 50) if back_off.is_over(now, 100, 350)))
    assert lengths == [100, 200, 300, 350, 350, 350]
    assert back_off.multiplier == 5


def test_jitter_comes_on_top() -> None:
    back_off = BackOff()
    back_off.begin(1000, 100, 100, 7)
    assert not back_off.is_over(1106, 100, 100)
    assert back_off.is_over(1107, 100, 100)


def test_it_relaxes_after_an_interval_in_order() -> None:
    back_off = BackOff()
    back_off.relax(10_000, 10)
    for _ in range(3):
        back_off.begin(0, 100, 1000, 0)
    back_off.relax(10_000, 10)
    assert back_off.multiplier == 3
    back_off.end(1000)
    back_off.relax(1009, 10)
    assert back_off.multiplier == 3
    for now in (1010, 1020, 1030, 1040):
        back_off.relax(now, 10)
    assert back_off.multiplier == 0
