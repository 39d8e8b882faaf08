"""Listeners and filter chains on their way out: told to go at once, closed when the drain time is over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from proxeny.event.dispatcher import Dispatcher
from proxeny.kernel.stats import Block
from proxeny.kernel.timer import Timer
from proxeny.server import messages
from proxeny.server.listener_changes import removed_chains
from proxeny.server.listener_generation import ManagedListener, State
from proxeny.server.server_stats import LISTENER_MANAGER
from proxeny.server.worker_answers import Answer, WorkerAnswers
from proxeny.stats.store import MainStore, StatTable

LISTENERS_GAUGE: Final = LISTENER_MANAGER.slot("total_listeners_draining")
CHAINS_GAUGE: Final = LISTENER_MANAGER.slot("total_filter_chains_draining")

Chains = Sequence[Any]
"""Compiled filter chains."""


def only_in(one: ManagedListener, other: ManagedListener) -> Chains:
    """The filter chains that another generation lacks."""
    return [chain for key, chain in one.config.chains.items() if key not in other.config.chains]


class Draining:
    """Owns what drains; its stats stay until the workers have let go of them."""

    def __init__(
        self, dispatcher: Dispatcher, store: MainStore, answers: WorkerAnswers, stats: Block, drain_time_ms: int
    ) -> None:
        self._dispatcher = dispatcher
        self._store = store
        self._answers = answers
        self._stats = stats
        self._drain_time_ms = drain_time_ms
        self._listeners: dict[ManagedListener, None] = {}
        self._by_address: dict[Any, dict[ManagedListener, None]] = {}
        """By their first address."""
        self._chains = 0
        self._timers: set[Timer] = set()
        self.on_removed: Callable[[ManagedListener], object] | None = None
        """Hears of listeners that no worker has any more."""

    def listeners(self) -> list[ManagedListener]:
        """Draining listeners, the newest first."""
        return list(reversed(self._listeners))

    def with_addresses(self, config: Any) -> list[ManagedListener]:
        """Those that may have the addresses of a listener, the newest first."""
        found = [one for address in config.addresses for one in self._by_address.get(address, ())]
        return found[::-1]

    def after_drain_time(self, callback: Callable[[], object]) -> None:
        """Run something when the drain time that begins now is over."""
        self._after(self._drain_time_ms, callback)

    def _after(self, ms: int, callback: Callable[[], object]) -> None:
        def over() -> None:
            self._timers.discard(timer)
            timer.close()
            callback()

        timer = self._dispatcher.create_timer(over)
        self._timers.add(timer)
        timer.enable(ms)

    # -- listeners ---------------------------------------------------------------------------------------------

    def drain(self, listener: ManagedListener) -> None:
        """Stop it everywhere; remove it when the drain time is over."""
        listener.state = State.DRAINING
        self._listeners[listener] = None
        self._by_address.setdefault(listener.config.addresses[0], {})[listener] = None
        self._count_listeners()
        answers = self._answers.request_all(lambda request_id: messages.StopListener(request_id, listener.tag))
        self._answers.spawn(self._release_sockets(listener, answers))
        self.after_drain_time(lambda: self.remove(listener))

    async def _release_sockets(self, listener: ManagedListener, answers: list[Answer]) -> None:
        # Not before all workers stopped: till then another listener may take the sockets over, queues included.
        await self._answers.gather(answers)
        listener.release_sockets()

    def remove(self, listener: ManagedListener) -> None:
        """Close what is left of its connections, then forget it."""
        answers = self._answers.request_all(lambda request_id: messages.RemoveListener(request_id, listener.tag))
        self._answers.spawn(self._removed(listener, answers))

    async def _removed(self, listener: ManagedListener, answers: list[Answer]) -> None:
        await self._answers.gather(answers)
        listener.close()
        self._store.release(listener.compiled.stats)
        if self.on_removed is not None:
            self.on_removed(listener)
        if listener in self._listeners:
            del self._listeners[listener]
            self._forget_address(listener)
        self._count_listeners()

    def _forget_address(self, listener: ManagedListener) -> None:
        address = listener.config.addresses[0]
        same = self._by_address[address]
        del same[listener]
        if not same:
            del self._by_address[address]

    # -- filter chains -----------------------------------------------------------------------------------------

    def drain_chains(self, old: ManagedListener, fresh: ManagedListener) -> None:
        """``fresh`` took the place of ``old``: the chains that it lacks go when the drain time is over."""
        gone = removed_chains(old.compiled.proto, fresh.compiled.proto)
        old.close()
        self._chains_go(fresh, old.compiled.stats, gone, only_in(old, fresh))

    def undo_chains(self, refused: ManagedListener, old: ManagedListener) -> None:
        """``old`` was put back in the place of ``refused``: what only that one had goes."""
        refused.close()
        self._chains_go(refused, {}, 0, (), wait=True)
        self._chains_go(old, refused.compiled.stats, 0, only_in(refused, old), wait=True)

    def _chains_go(
        self, by: ManagedListener, table: StatTable, count: int, chains: Chains, *, wait: bool = False
    ) -> None:
        """``chains`` are kept until the workers have let go of theirs: what they discover must not end before."""
        tag, version = by.tag, by.version
        self._count_chains(count)

        def remove() -> None:
            answers = self._answers.request_all(
                lambda request_id: messages.RemoveFilterChains(request_id, tag, version)
            )
            self._answers.spawn(self._chains_removed(answers, table, count, chains))

        if count or wait:
            self.after_drain_time(remove)
        else:
            remove()

    async def _chains_removed(self, answers: list[Answer], table: StatTable, count: int, chains: Chains) -> None:
        await self._answers.gather(answers)
        self._store.release(table)
        self._count_chains(-count)

    # -- the rest ----------------------------------------------------------------------------------------------

    def _count_listeners(self) -> None:
        self._stats.set(LISTENERS_GAUGE, len(self._listeners))

    def _count_chains(self, more: int) -> None:
        self._chains += more
        self._stats.set(CHAINS_GAUGE, self._chains)

    def close(self) -> None:
        """The process ends: nothing waits any more."""
        for timer in self._timers:
            timer.close()
        self._timers.clear()
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        self._by_address.clear()
