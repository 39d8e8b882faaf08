"""TimerWheel: order, exactness, re-enabling, lifetimes."""

import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxeny.kernel.timer import TimerWheel

START = 1_000_000


def wheel():
    return TimerWheel(START, True)


@given(st.lists(st.integers(0, 20_000_000), max_size=40), st.lists(st.integers(1, 5_000_000), max_size=20))
def test_fires_each_timer_once_in_order_and_never_early(delays, advances):
    timers = wheel()
    fired = []
    kept = []
    for number, delay in enumerate(delays):
        timer = timers.create(lambda number=number: fired.append(number))
        timer.enable(delay)
        kept.append(timer)
    due = [START + max(delay, 1) for delay in delays]
    now = START
    for step in [*advances, 20_000_001]:
        now += step
        deadline = timers.next_deadline_ms()
        pending = [due[n] for n in range(len(due)) if n not in fired]
        assert (deadline == -1) == (not pending)
        assert not pending or deadline <= min(pending)
        timers.advance(now)
        assert sorted(fired) == [n for n in range(len(due)) if due[n] <= now]
    assert [due[n] for n in fired] == sorted(due)
    assert timers.armed == 0


def test_enable_replaces_the_deadline_and_disable_forgets_it():
    timers = wheel()
    fired = []
    timer = timers.create(lambda: fired.append(1))
    timer.enable(10)
    timer.enable(100)
    assert timer.deadline_ms == START + 100
    timers.advance(START + 50)
    assert not fired and timer.enabled
    timer.disable()
    timers.advance(START + 500)
    assert not fired and not timer.enabled


def test_a_callback_may_re_enable_itself_without_holding_up_the_turn():
    timers = wheel()
    fired = []
    timer = timers.create(lambda: (fired.append(1), timer.enable(0)))
    timer.enable(0)
    timers.advance(START + 5)
    assert len(fired) <= 2
    seen = len(fired)
    timers.advance(START + 6)
    assert len(fired) == seen + 1


def test_a_callback_may_disable_another_due_timer():
    timers = wheel()
    fired = []
    second = timers.create(lambda: fired.append("second"))
    first = timers.create(lambda: (fired.append("first"), second.disable()))
    first.enable(5)
    second.enable(6)
    timers.advance(START + 10)
    assert fired == ["first"]


def test_a_dropped_timer_does_not_fire():
    timers = wheel()
    fired = []
    timers.create(lambda: fired.append(1)).enable(5)
    assert timers.armed == 0
    timers.advance(START + 10)
    assert not fired


def test_close_lets_the_callback_go():
    class Owner:
        def __init__(self, timers):
            self.timer = timers.create(self.tick)

        def tick(self):
            pass

    gc.disable()
    try:
        owner = Owner(wheel())
        owner.timer.enable(1)
        owner.timer.close()
        seen = weakref.ref(owner)
        del owner
        assert seen() is None
    finally:
        gc.enable()


def test_a_closed_timer_cannot_be_enabled():
    timer = wheel().create(print)
    timer.close()
    with pytest.raises(RuntimeError):
        timer.enable(1)


def test_errors_go_to_the_hook_and_the_rest_still_fires():
    timers = wheel()
    heard, fired = [], []
    timers.error_hook = lambda timer, error: heard.append(str(error))

    def fail():
        raise ValueError("broken")

    bad, good = timers.create(fail), timers.create(lambda: fired.append(1))
    bad.enable(1)
    good.enable(1)
    timers.advance(START + 2)
    assert (heard, fired) == (["broken"], [1])


def test_deadlines_beyond_the_span_of_the_wheel_are_kept():
    timers = wheel()
    fired = []
    timer = timers.create(lambda: fired.append(1))
    far = 3 * 2**36
    timer.enable(far)
    timers.advance(START + far - 1)
    assert not fired
    timers.advance(START + far)
    assert fired


def test_a_real_wheel_reads_the_clock():
    timers = TimerWheel()
    before = timers.now_ms
    timers.advance()
    assert timers.now_ms >= before and not timers.simulated
