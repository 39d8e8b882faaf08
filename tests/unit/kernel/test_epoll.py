"""Poller: stale events, reuse of descriptors, exceptions, the ready list."""

import gc
import os
import socket
import time
import weakref

import pytest

from proxeny.kernel.epoll import EPOLLET, EPOLLIN, EPOLLOUT, EPOLLRDHUP, Poller, Watcher
from proxeny.kernel.stats import Segment
from proxeny.stats.histogram import lower_bound


class Recorder(Watcher):
    __slots__ = ("__weakref__", "action", "errors", "masks")

    def __init__(self, action=None):
        self.masks = []
        self.errors = []
        self.action = action

    def on_event(self, mask):
        self.masks.append(mask)
        if self.action:
            self.action()

    def on_handler_error(self, error):
        self.errors.append(error)
        super().on_handler_error(error)


@pytest.fixture
def poller():
    made = Poller()
    yield made
    made.close()


@pytest.fixture
def pairs():
    made = [socket.socketpair() for _ in range(4)]
    yield made
    for pair in made:
        for end in pair:
            end.close()


def test_level_and_edge(poller, pairs):
    level, edge = Recorder(), Recorder()
    poller.add(level, pairs[0][0].fileno(), EPOLLIN)
    poller.add(edge, pairs[1][0].fileno(), EPOLLIN | EPOLLET)
    pairs[0][1].send(b"x")
    pairs[1][1].send(b"x")
    assert poller.wait(1000) == 2
    assert poller.wait(0) == 1
    assert len(level.masks) == 2 and len(edge.masks) == 1


def test_an_event_of_a_watcher_removed_in_the_same_batch_is_dropped(poller, pairs):
    watchers = []

    def remove_the_others():
        for watcher in watchers:
            if not watcher.masks:
                poller.remove(watcher)

    for mine, theirs in pairs:
        watcher = Recorder(remove_the_others)
        watchers.append(watcher)
        poller.add(watcher, mine.fileno(), EPOLLIN)
        theirs.send(b"x")
    assert poller.wait(1000) == 4
    assert sum(len(watcher.masks) for watcher in watchers) == 1


def test_a_descriptor_number_is_not_reused_inside_a_batch(poller):
    """One handler closes both of two ready connections and opens new ones: they must get new numbers and no events."""
    pairs = [socket.socketpair() for _ in range(2)]
    numbers = [pair[0].detach() for pair in pairs]
    late = []
    closed = []

    def close_all_and_open_another():
        for watcher, number in zip(watchers, numbers, strict=True):
            poller.remove(watcher)
            poller.close_fd_after_batch(number)
        closed.append(1)
        fresh = socket.socketpair()
        late.append((Recorder(), fresh))
        poller.add(late[-1][0], fresh[0].fileno(), EPOLLIN)

    watchers = [Recorder(close_all_and_open_another) for _ in numbers]
    for watcher, number in zip(watchers, numbers, strict=True):
        poller.add(watcher, number, EPOLLIN)
    for pair in pairs:
        pair[1].send(b"secret")
    poller.wait(1000)
    assert len(closed) == 1
    recorder, fresh = late[0]
    assert recorder.masks == []
    assert not {end.fileno() for end in fresh} & set(numbers)
    for number in numbers:
        with pytest.raises(OSError):
            os.fstat(number)
    for end in (pairs[0][1], pairs[1][1], *fresh):
        end.close()


def test_a_watcher_registered_anew_in_the_batch_gets_no_stale_event(poller, pairs):
    second = Recorder()

    def swap():
        poller.remove(second)
        poller.add(second, pairs[2][0].fileno(), EPOLLIN)

    first = Recorder(swap)
    poller.add(first, pairs[0][0].fileno(), EPOLLIN | EPOLLET)
    poller.add(second, pairs[1][0].fileno(), EPOLLIN | EPOLLET)
    pairs[0][1].send(b"x")
    pairs[1][1].send(b"x")
    poller.wait(1000)
    assert first.masks and not second.masks
    poller.wait(0)
    assert not second.masks


def test_an_exception_reaches_its_own_watcher_only(poller, pairs):
    heard = []
    poller.error_hook = lambda watcher, error: heard.append((watcher, str(error)))

    def fail():
        raise ValueError("broken")

    bad, good = Recorder(fail), Recorder()
    poller.add(bad, pairs[0][0].fileno(), EPOLLIN)
    poller.add(good, pairs[1][0].fileno(), EPOLLIN)
    pairs[0][1].send(b"x")
    pairs[1][1].send(b"x")
    poller.wait(1000)
    assert heard == [(bad, "broken")] and bad.poller is None
    assert good.masks and good.poller is poller


def test_an_interrupt_ends_the_turn_after_the_batch(poller, pairs):
    def interrupt():
        raise KeyboardInterrupt

    watchers = [Recorder(interrupt), Recorder(), Recorder()]
    for watcher, pair in zip(watchers, pairs, strict=False):
        poller.add(watcher, pair[0].fileno(), EPOLLIN | EPOLLET)
        pair[1].send(b"x")
    with pytest.raises(KeyboardInterrupt):
        poller.wait(1000)
    assert all(watcher.masks for watcher in watchers)
    assert not poller.in_batch


def test_the_ready_list_runs_in_the_next_turn_once(poller, pairs):
    watcher = Recorder(lambda: len(watcher.masks) < 3 and poller.mark_ready(watcher))
    poller.add(watcher, pairs[0][0].fileno(), EPOLLIN)
    poller.mark_ready(watcher)
    poller.mark_ready(watcher)
    poller.wait(60_000)
    assert len(watcher.masks) == 1
    poller.wait(60_000)
    poller.wait(60_000)
    assert len(watcher.masks) == 3
    assert poller.wait(0) == 0 and len(watcher.masks) == 3


def test_a_removed_watcher_leaves_the_ready_list(poller, pairs):
    watcher = Recorder()
    poller.add(watcher, pairs[0][0].fileno(), EPOLLIN)
    poller.mark_ready(watcher)
    poller.remove(watcher)
    poller.wait(0)
    assert not watcher.masks


def test_the_poller_keeps_a_registered_watcher_alive_and_lets_it_go(poller, pairs):
    gc.disable()
    try:
        watcher = Recorder()
        poller.add(watcher, pairs[0][0].fileno(), EPOLLIN)
        seen = weakref.ref(watcher)
        del watcher
        assert seen() is not None
        pairs[0][1].send(b"x")
        poller.wait(1000)
        poller.remove(seen())
        assert seen() is None
    finally:
        gc.enable()


def test_modify_reports_anew(poller, pairs):
    watcher = Recorder()
    poller.add(watcher, pairs[0][0].fileno(), EPOLLIN | EPOLLET)
    assert poller.wait(0) == 0
    poller.modify(watcher, EPOLLIN | EPOLLOUT | EPOLLET)
    poller.wait(1000)
    assert watcher.masks == [EPOLLOUT]


def test_misuse_is_refused(poller, pairs):
    watcher = Recorder()
    with pytest.raises(ValueError):
        poller.modify(watcher, EPOLLIN)
    poller.add(watcher, pairs[0][0].fileno(), EPOLLIN)
    with pytest.raises(ValueError):
        poller.add(watcher, pairs[1][0].fileno(), EPOLLIN)
    with pytest.raises(OSError):
        poller.add(Recorder(), pairs[0][0].fileno(), EPOLLIN)


def test_a_turn_ends_when_a_timer_is_due(poller):
    fired = []
    timer = poller.wheel.create(lambda: fired.append(1))
    timer.enable(5)
    while not fired:
        poller.run_turn(60_000)


def test_hang_ups_come_first(poller, pairs):
    """What a peer's end means for others of the batch is known before they are served."""
    order = []
    for number, (own, _) in enumerate(pairs):
        watcher = Recorder(lambda number=number: order.append(number))
        poller.add(watcher, own.fileno(), EPOLLIN | EPOLLRDHUP | EPOLLET)
    pairs[0][1].send(b"request")
    pairs[1][1].send(b"request")
    pairs[2][1].shutdown(socket.SHUT_WR)
    pairs[3][1].send(b"request")
    assert poller.wait(1000) == 4
    assert order[0] == 2 and sorted(order) == [0, 1, 2, 3]


def test_times_of_turns(poller):
    block = Segment.create("times").block(0, 2)
    poller.run_turn(0)
    poller.record_times(block, 0, 1)
    poller.run_turn(1)
    assert block.bins(0) == {}  # the first turn began before
    assert sum(block.bins(1).values()) == 1
    time.sleep(0.003)
    poller.run_turn(0)
    ((key, count),) = block.bins(0).items()
    assert count == 1
    assert lower_bound(key) >= 3000
    assert sum(block.bins(1).values()) == 2
