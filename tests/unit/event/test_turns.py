"""asyncio gets a turn when it needs one, and only then: turns of the data plane alone stay inside the selector."""

import asyncio
import os
import socket
import threading
from collections.abc import Iterator

import pytest

from proxeny.event.dispatcher import Dispatcher
from proxeny.kernel.epoll import EPOLLIN, Watcher


class Counts(Watcher):
    """Reads a byte per event and counts."""

    def __init__(self, dispatcher: Dispatcher, fd: int) -> None:
        self.events = 0
        self.then: object = None
        dispatcher.poller.add(self, fd, EPOLLIN)

    def on_event(self, mask: int) -> None:
        os.read(self.fd, 1)
        self.events += 1
        if callable(self.then):
            self.then()


@pytest.fixture
def dispatcher() -> Iterator[Dispatcher]:
    made = Dispatcher()
    yield made
    made.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


def run(dispatcher: Dispatcher) -> int:
    """Run until stopped; how many turns asyncio had."""
    turns = 0
    select = dispatcher._kernel_selector.select

    def counted(timeout: float | None = None) -> object:
        nonlocal turns
        turns += 1
        return select(timeout)

    dispatcher._kernel_selector.select = counted  # type: ignore[assignment, method-assign]
    dispatcher.run_forever()
    return turns


def test_many_turns_of_the_data_plane_are_one_of_asyncio(
    dispatcher: Dispatcher, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    watcher = Counts(dispatcher, ours.fileno())

    def next_one() -> None:
        if watcher.events < 100:
            theirs.send(b"x")
        else:
            dispatcher.stop()

    watcher.then = next_one
    theirs.send(b"x")
    assert run(dispatcher) == 1
    assert watcher.events == 100


def test_what_a_handler_asks_of_asyncio_is_done_at_once(
    dispatcher: Dispatcher, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    watcher = Counts(dispatcher, ours.fileno())
    done: list[str] = []

    async def task() -> None:
        done.append("task")
        await asyncio.sleep(0.001)
        done.append("timer")
        dispatcher.stop()

    tasks: list[asyncio.Task[None]] = []
    watcher.then = lambda: tasks.append(dispatcher.create_task(task()))
    theirs.send(b"x")
    dispatcher.run_forever()
    assert done == ["task", "timer"]


def test_a_timer_set_by_a_handler_shortens_the_wait(
    dispatcher: Dispatcher, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    watcher = Counts(dispatcher, ours.fileno())
    dispatcher.call_later(3600, dispatcher.stop)
    watcher.then = lambda: dispatcher.call_later(0.001, dispatcher.stop)
    theirs.send(b"x")
    dispatcher.run_forever()
    assert watcher.events == 1


def test_a_timer_of_asyncio_is_kept_while_the_data_plane_is_busy(
    dispatcher: Dispatcher, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    watcher = Counts(dispatcher, ours.fileno())
    watcher.then = lambda: theirs.send(b"x")
    theirs.send(b"x")
    dispatcher.call_later(0.01, dispatcher.stop)
    dispatcher.run_forever()
    assert watcher.events > 1


def test_another_thread_wakes_it(dispatcher: Dispatcher) -> None:
    thread = threading.Thread(target=lambda: dispatcher.call_soon_threadsafe(dispatcher.stop))
    dispatcher.call_soon(thread.start)
    dispatcher.run_forever()
    thread.join()
