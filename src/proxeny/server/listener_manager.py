"""Main's half of listeners (Envoy: ``ListenerManagerImpl``): compile, bind, hand to the workers, count, drain.

A listener is added to a worker with its own sockets and is ready there when the worker says so; only then is
``listener_create_success`` counted, once per worker. Main keeps every listening descriptor, so that a dead worker's
queue survives it.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from proxeny.config.errors import ConfigError
from proxeny.event.dispatcher import Dispatcher
from proxeny.kernel.stats import Block
from proxeny.kernel.timer import Timer
from proxeny.listener.socket_factory import ListenSocketFactory
from proxeny.server import messages
from proxeny.server.configuration import CompiledListener, Configuration, check_duplicate_address
from proxeny.server.server_stats import LISTENER_MANAGER
from proxeny.server.supervisor import Supervisor, Worker, WorkerDied
from proxeny.stats.store import MainStore

log = logging.getLogger("proxeny.config")


def _slot(name: str) -> int:
    return LISTENER_MANAGER.slot(name)


ADDED: Final = _slot("listener_added")
MODIFIED: Final = _slot("listener_modified")
REMOVED: Final = _slot("listener_removed")
STOPPED: Final = _slot("listener_stopped")
CREATE_SUCCESS: Final = _slot("listener_create_success")
CREATE_FAILURE: Final = _slot("listener_create_failure")
ACTIVE_GAUGE: Final = _slot("total_listeners_active")
WARMING_GAUGE: Final = _slot("total_listeners_warming")
DRAINING_GAUGE: Final = _slot("total_listeners_draining")
WORKERS_STARTED: Final = _slot("workers_started")

_INBOUND: Final = 1
"""``config.core.v3.TrafficDirection.INBOUND``."""


class State(Enum):
    """Where a listener is; it only moves forward."""

    WARMING = "warming"
    ACTIVE = "active"
    DRAINING = "draining"


@dataclass(slots=True, eq=False)
class ManagedListener:
    """One generation of a listener."""

    compiled: CompiledListener
    tag: int
    sockets: ListenSocketFactory
    memfd: int
    state: State = State.WARMING
    failure: str = ""
    balance_row: int = -1
    """Its row in the balance table; -1 without exact balance."""
    owns_sockets: bool = True
    """False once a newer generation on the same addresses has taken them over."""
    drain_timer: Timer | None = None
    origin: str = "static"
    updated_at: float = field(default=0.0)

    @property
    def name(self) -> str:
        """The listener's name."""
        return str(self.compiled.proto.name)

    def close_sockets(self) -> None:
        """Nobody accepts any more: what waits in the queues is reset, and the addresses are free."""
        if self.owns_sockets:
            self.sockets.close()

    def close(self) -> None:
        """Close main's descriptors."""
        self.close_sockets()
        if self.memfd >= 0:
            os.close(self.memfd)
            self.memfd = -1


class ListenerManager:
    """All listeners but admin's."""

    def __init__(
        self, dispatcher: Dispatcher, store: MainStore, configuration: Configuration, supervisor: Supervisor
    ) -> None:
        self._dispatcher = dispatcher
        self._store = store
        self._configuration = configuration
        self._supervisor = supervisor
        self._stats: Block = store.block(LISTENER_MANAGER, "listener_manager.")
        for name in LISTENER_MANAGER.gauges:
            self._stats.set(_slot(name), 0)
        self._listeners: dict[str, ManagedListener] = {}
        self._draining: list[ManagedListener] = []
        self._next_tag = 0
        self._started = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._drain_end: Timer | None = None
        self._drain_time_ms = configuration.options.drain_time_s * 1000

    # -- what others ask ---------------------------------------------------------------------------------------

    def listeners(self) -> list[ManagedListener]:
        """Active and warming listeners in the order they were added."""
        return list(self._listeners.values())

    def draining(self) -> list[ManagedListener]:
        """Listeners on their way out."""
        return list(self._draining)

    # -- configuration -----------------------------------------------------------------------------------------

    def add_static(self, compiled: Iterable[CompiledListener]) -> None:
        """Take the compiled static listeners and bind their sockets; ConfigError."""
        for item in compiled:
            self._listeners[item.proto.name] = self._bind(item)
            self._stats.inc(ADDED)
        self._gauges()

    def add_or_update(self, proto: Any) -> bool:
        """Add a listener, or replace the one of its name; False when it is the same. Raises ConfigError."""
        compiled = self._configuration.listener(proto)
        old = self._listeners.get(proto.name)
        if old is not None and old.compiled.hash == compiled.hash:
            self._store.release(compiled.stats)
            return False
        check_duplicate_address(compiled, {name: item.compiled for name, item in self._listeners.items()})
        fresh = self._bind(compiled, old)
        self._stats.inc(ADDED if old is None else MODIFIED)
        self._listeners[proto.name] = fresh
        self._gauges()
        if self._started:
            if self._listen(fresh):
                self._spawn(self._replace(fresh, old))
            elif old is not None:
                self._drain(old)
        elif old is not None:
            old.close()
        return True

    def remove(self, name: str) -> bool:
        """Drain and remove a listener; False when there is none."""
        old = self._listeners.pop(name, None)
        if old is None:
            return False
        self._stats.inc(REMOVED)
        self._drain(old)
        return True

    def drain_all(self, graceful: bool, skip_exit: bool, inbound_only: bool) -> None:
        """/drain_listeners: ``graceful`` drains for the drain time and then stops (not with ``skip_exit``)."""
        chosen = [
            listener
            for listener in self._listeners.values()
            if not inbound_only or listener.compiled.proto.traffic_direction == _INBOUND
        ]
        if not graceful:
            self._spawn(self._stop(chosen))
            return
        for listener in chosen:
            self._request_all(lambda request_id, tag=listener.tag: messages.DrainListener(request_id, tag))  # type: ignore[misc]
        if not skip_exit:
            self._drain_end = self._dispatcher.create_timer(lambda: self._spawn(self._stop(chosen)))
            self._drain_end.enable(self._drain_time_ms)

    async def _stop(self, listeners: list[ManagedListener]) -> None:
        for listener in listeners:
            answers = self._request_all(lambda request_id, tag=listener.tag: messages.StopListener(request_id, tag))  # type: ignore[misc]
            listener.close_sockets()
            for _ in await self._gather(answers):
                self._stats.inc(STOPPED)

    def _bind(self, compiled: CompiledListener, old: ManagedListener | None = None) -> ManagedListener:
        self._next_tag += 1
        try:
            if old is not None and _same_sockets(old.compiled.config, compiled.config):
                sockets, old.owns_sockets = old.sockets, False
            else:
                sockets = ListenSocketFactory(compiled.config, self._configuration.options.concurrency, listen=False)
        except ConfigError as error:
            self._stats.inc(CREATE_FAILURE)
            log.error("listener '%s' failed to bind or apply socket options: %s", compiled.proto.name, error.message)
            raise
        memfd = os.memfd_create("proxeny-listener", os.MFD_CLOEXEC)
        with os.fdopen(memfd, "wb", closefd=False) as file:
            file.write(compiled.data)
        row = self._supervisor.balance.allot_row() if compiled.config.exact_balance else -1
        return ManagedListener(compiled, self._next_tag, sockets, memfd, balance_row=row)

    def listen(self) -> None:
        """The workers are about to start: listen on all sockets; who cannot is dropped, the others go on."""
        for listener in list(self._listeners.values()):
            self._listen(listener)

    def _listen(self, listener: ManagedListener) -> bool:
        try:
            listener.sockets.listen()
        except ConfigError as error:
            log.error("final pre-worker listener init for listener '%s' failed: %s", listener.name, error.message)
            self._stats.inc(CREATE_FAILURE)
            self.remove(listener.name)
            return False
        return True

    # -- workers -----------------------------------------------------------------------------------------------

    def feed(self, worker: Worker) -> list[asyncio.Future[messages.Done]]:
        """Send every listener to a worker; its answers."""
        return [self._send(worker, listener) for listener in self._listeners.values()]

    def _send(self, worker: Worker, listener: ManagedListener) -> asyncio.Future[messages.Done]:
        compiled, addresses = listener.compiled, listener.sockets.addresses
        rows = messages.stat_rows(compiled.stats)
        return worker.request(
            lambda request_id: messages.AddListener(
                request_id,
                listener.tag,
                len(compiled.data),
                rows,
                [bound.as_string() for bound in addresses],
                listener.balance_row,
            ),
            [listener.memfd, *listener.sockets.fds(worker.index)],
        )

    def listening_fds(self, worker_index: int) -> list[tuple[int, list[int]]]:
        """Main's duplicates of the sockets that a worker accepts from, by listener."""
        return [(listener.tag, listener.sockets.fds(worker_index)) for listener in self._listeners.values()]

    def workers_started(self, answers: list[messages.Done]) -> None:
        """All workers were fed with the static listeners; raises ConfigError when one refused."""
        self._started = True
        for answer in answers:
            self._stats.inc(CREATE_FAILURE if answer.error else CREATE_SUCCESS)
        refused = [answer.error for answer in answers if answer.error]
        if refused:
            raise ConfigError(refused[0])
        for listener in self._listeners.values():
            listener.state = State.ACTIVE
        self._stats.set(WORKERS_STARTED, 1)
        self._gauges()

    async def _replace(self, fresh: ManagedListener, old: ManagedListener | None) -> None:
        answers = await self._gather([self._send(worker, fresh) for worker in self._supervisor.configured_workers()])
        for answer in answers:
            self._stats.inc(CREATE_FAILURE if answer.error else CREATE_SUCCESS)
        fresh.failure = next((answer.error for answer in answers if answer.error), "")
        fresh.state = State.ACTIVE
        if old is not None:
            self._drain(old)
        self._gauges()

    def _drain(self, listener: ManagedListener) -> None:
        listener.state = State.DRAINING
        self._draining.append(listener)
        self._request_all(lambda request_id: messages.StopListener(request_id, listener.tag))
        listener.close_sockets()
        listener.drain_timer = self._dispatcher.create_timer(lambda: self._spawn(self._remove_drained(listener)))
        listener.drain_timer.enable(self._drain_time_ms)
        self._gauges()

    async def _remove_drained(self, listener: ManagedListener) -> None:
        await self._gather(self._request_all(lambda request_id: messages.RemoveListener(request_id, listener.tag)))
        self._draining.remove(listener)
        listener.close()
        if listener.balance_row >= 0:
            self._supervisor.balance.free_row(listener.balance_row)
        self._store.release(listener.compiled.stats)
        self._gauges()

    def _request_all(self, make: Callable[[int], Any]) -> list[asyncio.Future[messages.Done]]:
        return [worker.request(make) for worker in self._supervisor.configured_workers()]

    async def _gather(self, answers: list[asyncio.Future[messages.Done]]) -> list[messages.Done]:
        # A worker that dies meanwhile is fed anew by the supervisor, with the state of then.
        found = await asyncio.gather(*answers, return_exceptions=True)
        for answer in found:
            if isinstance(answer, BaseException) and not isinstance(answer, WorkerDied):
                raise answer
        return [answer for answer in found if isinstance(answer, messages.Done)]

    def _spawn(self, coroutine: Any) -> None:
        task = self._dispatcher.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _gauges(self) -> None:
        states = [listener.state for listener in self._listeners.values()]
        # Before the workers start Envoy counts its listeners as active already.
        warming = states.count(State.WARMING) if self._started else 0
        self._stats.set(WARMING_GAUGE, warming)
        self._stats.set(ACTIVE_GAUGE, len(states) - warming)
        self._stats.set(DRAINING_GAUGE, len(self._draining))

    def close(self) -> None:
        """Close all of main's listening descriptors; unix sockets' files go."""
        for listener in [*self._listeners.values(), *self._draining]:
            listener.close()
        self._listeners.clear()
        self._draining.clear()


def _same_sockets(old: Any, new: Any) -> bool:
    """Whether a newer generation can go on with the sockets of the older one, queues included."""
    return _socket_facts(old) == _socket_facts(new)


def _socket_facts(config: Any) -> tuple[Any, ...]:
    return [listen.facts() for listen in config.listen_addresses], config.bind_to_port, config.backlog
