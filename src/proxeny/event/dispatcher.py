"""Dispatcher: the event loop of a process, Envoy's ``Event::Dispatcher`` and an asyncio loop in one.

It is ``asyncio.SelectorEventLoop`` with a selector of ours. The selector's ``select()`` runs one turn of the kernel's
poller, and data-plane handlers are called from inside it. asyncio's own descriptors live in an inner epoll whose
descriptor is watched by the outer one *level-triggered*: edge-triggered, a wake-up is lost when asyncio reads only part
of what the inner epoll holds. A turn is: deferred deletions, unsent data, epoll batch, ready list, timers, deferred
deletions; then asyncio's callbacks.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import selectors
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from proxeny.event.time_source import RealTimeSource, TimeSource
from proxeny.kernel.epoll import EPOLLIN, Alarm, Poller, Watcher, run_deferred
from proxeny.kernel.splice import PipePool
from proxeny.kernel.timer import Timer, TimerWheel

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

logger = logging.getLogger("proxeny.main")

LONGEST_WAIT_MS = 3_600_000


class KernelSelector(selectors.BaseSelector):
    """The selector that asyncio sees; ``select()`` is a turn of the data plane."""

    def __init__(self, poller: Poller, loop: Dispatcher) -> None:
        self.poller = poller
        self.loop = loop
        self.inner = selectors.EpollSelector()
        self.inner_watcher = Alarm()
        """Watches the epoll descriptor that holds asyncio's own descriptors."""
        poller.add(self.inner_watcher, self.inner.fileno(), EPOLLIN)

    def register(self, fileobj: FileDescriptorLike, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch one of asyncio's descriptors."""
        return self.inner.register(fileobj, events, data)

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        """Stop watching one of asyncio's descriptors."""
        return self.inner.unregister(fileobj)

    def modify(self, fileobj: FileDescriptorLike, events: int, data: Any = None) -> selectors.SelectorKey:
        """Change what one of asyncio's descriptors is watched for."""
        return self.inner.modify(fileobj, events, data)

    def get_map(self) -> Mapping[FileDescriptorLike, selectors.SelectorKey]:
        """asyncio's descriptors."""
        return self.inner.get_map()

    def get_key(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        """The registration of one of asyncio's descriptors."""
        return self.inner.get_key(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Run turns for up to ``timeout`` seconds (None: for ever), until asyncio has something to do.

        A turn of asyncio's own costs about as much as a small request, so it gets one only when it needs it.
        """
        if self.loop.takes_single_turns:
            self.loop.single_turn(timeout)
        else:
            self.poller.run_turns(-1.0 if timeout is None else timeout, self.inner_watcher, self.loop)
        if self.inner_watcher.fired:
            self.inner_watcher.fired = False
            return self.inner.select(0)
        return []

    def close(self) -> None:
        """Give both epoll descriptors back."""
        self.poller.remove(self.inner_watcher)
        self.inner.close()
        self.poller.close()


class Dispatcher(asyncio.SelectorEventLoop):
    """One process's event loop: data-plane descriptors, timers, deferred deletion, and all of asyncio."""

    def __init__(self, time_source: TimeSource | None = None, name: str = "main") -> None:
        self.name = name
        self.time_source: TimeSource = time_source if time_source is not None else RealTimeSource()
        # Attributes, not methods: the clocks are read several times per request.
        self.monotonic_ns: Callable[[], int] = self.time_source.monotonic_ns
        """Monotonic nanoseconds, now."""
        self.system_time: Callable[[], float] = self.time_source.system_time
        """Seconds since the epoch, now."""
        simulated = self.time_source.simulated
        now_ms = self.time_source.monotonic_ns() // 1_000_000 if simulated else None
        self.wheel = TimerWheel(now_ms, simulated)
        self.wheel.error_hook = self._timer_failed
        self.poller = Poller(self.wheel)
        self.poller.error_hook = self._handler_failed
        self.handler_errors = 0
        self.next_connection_id: Callable[[], int] = itertools.count().__next__
        self.pipe_pool = PipePool()
        self.deferred: list[Callable[[], object]] = []
        self.defer: Callable[[Callable[[], object]], None] = self.deferred.append
        """Call it at the end of this turn, when no handler is on the stack (Envoy: ``deferredDelete``)."""
        self._until: Callable[[], object] | None = None
        self._kernel_selector = KernelSelector(self.poller, self)
        super().__init__(self._kernel_selector)

    # Turns

    @property
    def takes_single_turns(self) -> bool:
        """Whether somebody looks after every turn: ``run_until``, or whoever plays the time."""
        return self._until is not None or self.wheel.simulated

    def single_turn(self, timeout: float | None) -> None:
        """One turn of up to ``timeout`` seconds (None: until something happens)."""
        # asyncio's callbacks ran since the last turn; what they wrote and deferred must not wait for the next event.
        self.poller.flush_dirty()
        if self.deferred:
            self.run_deferred()
        if self.wheel.simulated:
            self.wheel.advance(self.monotonic_ns() // 1_000_000)
        if self._until is not None and self._until():
            timeout = 0
        if timeout is None:
            self.poller.run_turn(-1)
        else:
            self.poller.run_turn(min(int(timeout * 1000 + 0.999), LONGEST_WAIT_MS) if timeout > 0 else 0)
        if self.deferred:
            self.run_deferred()
        if self._until is not None and self._until():
            self.stop()

    def run_deferred(self) -> None:
        """Call what was deferred, and what that defers; send what it wrote."""
        run_deferred(self.deferred, self._deferred_failed)
        self.poller.flush_dirty()

    def _deferred_failed(self, callback: object, error: Exception) -> None:
        self._report("deferred callback", callback, error)

    def _handler_failed(self, watcher: Watcher, error: Exception) -> None:
        self._report("event handler", watcher, error)

    def _timer_failed(self, timer: Timer, error: Exception) -> None:
        self._report("timer", timer, error)

    def _report(self, where: str, what: object, error: Exception) -> None:
        self.handler_errors += 1
        logger.error("exception in %s of %r", where, what, exc_info=error)

    # Envoy's dispatcher

    def create_timer(self, callback: Callable[[], object]) -> Timer:
        """A disabled timer; it is disabled again when nobody holds it any more."""
        return self.wheel.create(callback)

    def post(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` in the loop; from any thread."""
        self.call_soon_threadsafe(callback)

    def run(self) -> None:
        """Run until ``exit()``."""
        self.run_forever()

    def exit(self) -> None:
        """End ``run()`` after this turn; from any thread."""
        self.call_soon_threadsafe(self.stop)

    def run_once(self) -> None:
        """One turn that does not block (Envoy: ``RunType::NonBlock``)."""
        self.call_soon(self.stop)
        self.run_forever()

    def run_until(self, predicate: Callable[[], object], timeout_s: float = 10.0) -> None:
        """Run until ``predicate()`` is true, looked at after every turn; raises TimeoutError (real time)."""
        deadline = time.monotonic() + timeout_s
        alarm = self.call_later(timeout_s, lambda: None)
        self._until = lambda: predicate() or time.monotonic() >= deadline
        try:
            if not predicate():
                self.run_forever()
        finally:
            self._until = None
            alarm.cancel()
        if not predicate():
            raise TimeoutError(f"the condition did not come true in {timeout_s} s")

    # Time

    @property
    def now_ms(self) -> int:
        """Monotonic milliseconds, as of this turn."""
        return self.wheel.now_ms

    def time(self) -> float:
        """asyncio's clock, in seconds."""
        return self.monotonic_ns() / 1e9

    def http_date(self) -> bytes:
        """The Date header's value."""
        return self.time_source.http_date()

    def statistics(self) -> dict[str, int]:
        """Counts for admin pages."""
        return {**self.poller.statistics(), **self.wheel.statistics(), "handler_errors": self.handler_errors}

    def close(self) -> None:
        """Close the loop and its epoll descriptors."""
        if not self.is_closed():
            self.deferred.clear()
        super().close()
