"""Main's half of listeners (Envoy: ``ListenerManagerImpl``): compile, bind, hand to the workers, count, drain.

Updates of one listener follow each other: a generation is sent once its predecessor has settled, so that the workers'
answers say what holds. It is warming until all workers have it; only then does its predecessor drain, so a listener
that the workers refuse leaves the old one as it was. An update that changes nothing but filter chains happens in place:
the sockets, the tag and the connections of all other chains stay. Main keeps every listening descriptor, so that a dead
worker's queue survives it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any, Final

from proxeny.config.errors import ConfigError
from proxeny.event.dispatcher import Dispatcher
from proxeny.kernel.stats import Block
from proxeny.listener.socket_factory import ListenSocketFactory
from proxeny.server import messages
from proxeny.server.configuration import CompiledListener, Configuration, check_duplicate_address
from proxeny.server.listener_changes import filter_chain_only_change
from proxeny.server.listener_draining import Draining
from proxeny.server.listener_errors import ListenerErrors
from proxeny.server.listener_generation import (
    ManagedListener,
    SharedSockets,
    State,
    same_addresses,
    socket_facts,
)
from proxeny.server.listener_table import ListenerTable
from proxeny.server.server_stats import LISTENER_MANAGER
from proxeny.server.supervisor import Supervisor, Worker
from proxeny.server.worker_answers import WorkerAnswers
from proxeny.stats.store import MainStore

log = logging.getLogger("proxeny.config")


def _slot(name: str) -> int:
    return LISTENER_MANAGER.slot(name)


ADDED: Final = _slot("listener_added")
MODIFIED: Final = _slot("listener_modified")
IN_PLACE_UPDATED: Final = _slot("listener_in_place_updated")
REMOVED: Final = _slot("listener_removed")
STOPPED: Final = _slot("listener_stopped")
CREATE_SUCCESS: Final = _slot("listener_create_success")
CREATE_FAILURE: Final = _slot("listener_create_failure")
ACTIVE_GAUGE: Final = _slot("total_listeners_active")
WARMING_GAUGE: Final = _slot("total_listeners_warming")
WORKERS_STARTED: Final = _slot("workers_started")

_INBOUND: Final = 1
"""``config.core.v3.TrafficDirection.INBOUND``."""


class ListenerManager:
    """All listeners but admin's."""

    def __init__(
        self, dispatcher: Dispatcher, store: MainStore, configuration: Configuration, supervisor: Supervisor
    ) -> None:
        self._store = store
        self._configuration = configuration
        self._supervisor = supervisor
        self._stats: Block = store.block(LISTENER_MANAGER, "listener_manager.")
        self._answers = WorkerAnswers(dispatcher, supervisor)
        drain_time_ms = configuration.options.drain_time_s * 1000
        self._drains = Draining(dispatcher, store, self._answers, self._stats, drain_time_ms)
        self._drains.on_removed = self._free_row
        self._active: ListenerTable[ManagedListener] = ListenerTable()
        self._warming: ListenerTable[ManagedListener] = ListenerTable()
        self._unsettled: dict[str, ManagedListener] = {}
        """By name the newest generation that the workers have not answered for."""
        self._in_flight: dict[str, ManagedListener] = {}
        """By name the one that they have been told of and have not answered for."""
        self._next_tag = 0
        self._started = False
        self._ready = asyncio.Event()
        """Set once the workers have answered for the first listeners."""
        self._server_drain: str = ""
        """Which listeners /drain_listeners made drain: none, "inbound" or "all"."""
        self._stopped: str = ""
        """Which ones it stopped."""
        self.errors = ListenerErrors()
        self._gauges()

    # -- what others ask ---------------------------------------------------------------------------------------

    def listeners(self) -> list[ManagedListener]:
        """Active listeners in the order they were added."""
        return list(self._active.values())

    def listening(self) -> list[ManagedListener]:
        """Active listeners, and new ones of which the workers are told."""
        told = [one for one in self._in_flight.values() if one.name not in self._active and not one.removed]
        return [*self._active.values(), *told]

    def warming(self) -> list[ManagedListener]:
        """Generations that not all workers have yet."""
        return list(self._warming.values())

    def draining(self) -> list[ManagedListener]:
        """Listeners on their way out, the newest first."""
        return self._drains.listeners()

    @property
    def workers_are_started(self) -> bool:
        """Whether listeners have been sent to the workers: before that, all of them count as active."""
        return self._started

    def names(self) -> list[str]:
        """Names of active and warming listeners."""
        return list(dict.fromkeys([*self._active, *self._warming]))

    # -- configuration -----------------------------------------------------------------------------------------

    def add_static(self, compiled: Iterable[CompiledListener]) -> None:
        """Take the compiled static listeners and bind their sockets; ConfigError."""
        for item in compiled:
            sockets = self._open(item, None)
            listener = self._generation(item, sockets, is_static=True)
            self._active.put(listener)
            self._configuration.init_manager.add(listener.init_target)
            self._stats.inc(ADDED)
        self._gauges()

    def add_or_update(self, proto: Any, version_info: str = "", *, is_static: bool = False) -> bool:
        """Add a listener, or replace the one of its name; False when nothing is to be done. Raises ConfigError.

        ``is_static``: it is one of the bootstrap, and replaces no other.
        """
        try:
            return self._add_or_update(proto, version_info, is_static)
        except ConfigError as error:
            self.errors.note(proto, str(error))
            raise

    def _add_or_update(self, proto: Any, version_info: str, is_static: bool) -> bool:
        if self._covers(self._stopped, proto):
            log.debug("listener %s can not be added: listeners of its traffic direction are stopped", proto.name)
            return False
        newest = self.newest(proto.name)
        if newest is not None and (newest.is_static != is_static or newest.is_made_of(proto)):
            log.debug("duplicate/locked listener '%s'. no add/update", proto.name)
            return False
        compiled = self._configuration.listener(proto)
        name = proto.name
        try:
            fresh = self._successor(compiled, newest, version_info)
        except BaseException:
            self._store.release(compiled.stats)
            raise
        fresh.is_static = is_static
        self._stats.inc(ADDED if newest is None else MODIFIED)
        if self._started:
            self._stop_warming(name)
            self._warming.put(fresh)
            before, self._unsettled[name] = self._unsettled.get(name), fresh
            fresh.initialize()  # at once: what several listeners ask for is asked for together
            self._answers.spawn(self._warm(fresh, None if before is None else before.settled))
        else:
            self._active.put(fresh)
            if newest is not None:
                self._discard(newest)
            self._configuration.init_manager.add(fresh.init_target)
        self._gauges()
        return True

    def _stop_warming(self, name: str) -> None:
        """The generation that warms, if there is one, is not wanted any more: its task finds out."""
        warming = self._warming.drop(name)
        if warming is not None:
            warming.stop_waiting()

    def _successor(
        self, compiled: CompiledListener, newest: ManagedListener | None, version_info: str
    ) -> ManagedListener:
        base = self._warmed(compiled.proto.name)
        if base is None or not self._started or not _in_place(base, compiled):
            return self._generation(compiled, self._open(compiled, newest), version_info)
        assert base.sockets is not None
        fresh = self._generation(compiled, base.sockets.share(), base.version_info, tag=base.tag)
        fresh.told_to_go = base.told_to_go
        self._stats.inc(IN_PLACE_UPDATED)
        return fresh

    def _generation(
        self,
        compiled: CompiledListener,
        sockets: SharedSockets,
        version_info: str = "",
        *,
        tag: int | None = None,
        is_static: bool = False,
    ) -> ManagedListener:
        self._next_tag += 1
        number = self._next_tag
        return ManagedListener(
            compiled, number if tag is None else tag, number, sockets, version_info, is_static=is_static
        )

    def _warmed(self, name: str) -> ManagedListener | None:
        """The newest generation that waits for nothing but workers: in Envoy it would be active."""
        warming = self._warming.get(name)
        if warming is not None and warming.warmed.is_set():
            return warming
        return self._in_flight.get(name) or self._active.get(name)

    def newest(self, name: str) -> ManagedListener | None:
        """The generation that warms, else the one that is active."""
        return self._warming.get(name) or self._active.get(name)

    def remove(self, name: str, *, is_static: bool = False) -> bool:
        """Drain and remove a listener; False when there is none, or it is (not) static."""
        newest = self.newest(name)
        if newest is None or newest.is_static != is_static:
            log.debug("unknown/locked listener '%s'. no remove", name)
            return False
        self._remove(name)
        return True

    def _remove(self, name: str) -> None:
        self._stop_warming(name)
        active = self._active.drop(name)
        told = self._in_flight.get(name)
        if told is not None:
            told.removed = True  # it goes once the workers have answered, and takes its predecessor along
        elif active is not None:
            self._retire(active)
        self._stats.inc(REMOVED)
        self._gauges()

    def _retire(self, listener: ManagedListener) -> None:
        if self._started:
            self._drains.drain(listener)
        else:
            self._discard(listener)

    def _discard(self, listener: ManagedListener) -> None:
        """No worker has it."""
        listener.close()
        self._store.release(listener.compiled.stats)

    # -- sockets -----------------------------------------------------------------------------------------------

    def _open(self, compiled: CompiledListener, newest: ManagedListener | None) -> SharedSockets:
        """The sockets of a generation: those of the last one, or of a draining listener, or new ones."""
        config = compiled.config
        if newest is not None:
            if config.reuse_port != newest.config.reuse_port:
                raise ConfigError(f"Listener {newest.name}: reuse port cannot be changed during an update")
            if newest.sockets is not None and newest.sockets.facts == socket_facts(config):
                return newest.sockets.share()
        self._check_duplicates(compiled)
        for leaving in [*self._drains.with_addresses(config), *self._in_flight.values()]:
            sockets = leaving.sockets
            if sockets is not None and same_addresses(leaving.config, config) and _may_share(leaving.config, config):
                return sockets.share()
        try:
            factory = ListenSocketFactory(config, self._configuration.options.concurrency, listen=False)
            return SharedSockets(factory, config)
        except ConfigError as error:
            self._stats.inc(CREATE_FAILURE)
            log.error("listener '%s' failed to bind or apply socket options: %s", config.name, error.message)
            raise

    def _check_duplicates(self, compiled: CompiledListener) -> None:
        # Without reuse_port a generation cannot bind beside its predecessor either.
        others = [
            listener.compiled
            for listener in [*self._active.sharing(compiled.config), *self._warming.sharing(compiled.config)]
            if listener.name != compiled.proto.name or not compiled.config.reuse_port
        ]
        check_duplicate_address(compiled, others)

    def listen(self) -> None:
        """The workers are about to start: listen on all sockets; who cannot is dropped, the others go on."""
        self._started = True
        for listener in list(self._active.values()):
            if not self._listen(listener):
                self._remove(listener.name)

    def _listen(self, listener: ManagedListener) -> bool:
        try:
            if listener.sockets is not None:
                listener.sockets.listen()
        except ConfigError as error:
            log.error("final pre-worker listener init for listener '%s' failed: %s", listener.name, error.message)
            listener.failure = error.message
            self._stats.inc(CREATE_FAILURE)
            return False
        return True

    # -- workers -----------------------------------------------------------------------------------------------

    def feed(self, worker: Worker) -> list[asyncio.Future[messages.Done]]:
        """Send every listener to a worker; its answers."""
        self._started = True
        answers = []
        for listener in self._active.values():
            if listener.balance_row < 0:
                self._allot_row(listener, None)
            if not listener.stopped:
                answers.append(self._send(worker, listener, None))
                if not self._ready.is_set():
                    listener.answers.append(answers[-1])
        answers += [self._send(worker, one, self._active.get(one.name)) for one in self._in_flight.values()]
        return answers

    def _send(
        self, worker: Worker, listener: ManagedListener, old: ManagedListener | None
    ) -> asyncio.Future[messages.Done]:
        """Have a worker add it, or change ``old``, which has the same tag."""
        tag, version, size = listener.tag, listener.version, len(listener.compiled.data)
        rows = messages.stat_rows(listener.compiled.stats)
        data, memfd = listener.carried()
        if old is not None and old.tag == tag:
            return worker.request(
                lambda request_id: messages.UpdateListener(request_id, tag, version, size, rows, data), memfd
            )
        addresses, row = [bound.as_string() for bound in listener.addresses], listener.balance_row
        answer = worker.request(
            lambda request_id: messages.AddListener(request_id, tag, size, rows, addresses, row, data),
            [*memfd, *listener.fds(worker.index)],
        )
        if listener.told_to_go:
            worker.request(lambda request_id: messages.DrainListener(request_id, tag))
        return answer

    def listening_fds(self, worker_index: int) -> list[tuple[int, list[int]]]:
        """Main's duplicates of the sockets that a worker accepts from, by listener."""
        accepting = {listener.tag: listener for listener in self._active.values()}
        accepting |= {listener.tag: listener for listener in self._in_flight.values()}
        found = [(tag, listener.fds(worker_index)) for tag, listener in accepting.items() if not listener.stopped]
        return [(tag, fds) for tag, fds in found if fds]

    def workers_started(self) -> None:
        """All workers were fed with the first listeners; raises ConfigError when one refused a static one."""
        for listener in list(self._active.values()):
            answers, listener.answers = [answer.result() for answer in listener.answers], []
            failure = self._count(answers)
            if failure and listener.is_static:
                raise ConfigError(failure)
            if failure:
                self._active.drop(listener.name)
                self._refused(listener, failure)
            else:
                listener.state = State.ACTIVE
        self._started = True
        self._ready.set()
        self._stats.set(WORKERS_STARTED, 1)
        self._gauges()

    def _count(self, answers: list[messages.Done]) -> str:
        """Count the workers' answers; the first refusal, if there is one."""
        for answer in answers:
            self._stats.inc(CREATE_FAILURE if answer.error else CREATE_SUCCESS)
        return next((answer.error for answer in answers if answer.error), "")

    async def _warm(self, fresh: ManagedListener, before: asyncio.Event | None) -> None:
        """Bring a generation to the workers; then its predecessor drains. ``before``: the one before it is settled."""
        name = fresh.name
        await fresh.warmed.wait()
        await self._ready.wait()
        if before is not None:
            await before.wait()
        try:
            if self._warming.get(name) is not fresh:
                self._discard(fresh)  # superseded or removed before anybody heard of it
                return
            if not self._listen(fresh):
                if fresh.is_static:
                    self._warming.drop(name)  # whoever reloads the configuration goes back to the old one
                else:
                    self._remove(name)  # the active generation goes too, as in Envoy
                self._discard(fresh)
                return
            old = self._active.get(name)
            self._allot_row(fresh, old)
            self._in_flight[name] = fresh
            answers = [self._send(worker, fresh, old) for worker in self._supervisor.configured_workers()]
            self._adopt(fresh)
            failure = self._count(await self._answers.gather(answers))
            if failure:
                self._give_up(fresh, old, failure)
            else:
                self._activate(fresh, old)
        finally:
            self._in_flight.pop(name, None)
            if self._unsettled.get(name) is fresh:
                del self._unsettled[name]
            fresh.settled.set()
            self._gauges()

    def _allot_row(self, listener: ManagedListener, old: ManagedListener | None) -> None:
        """Its row in the balance table: that of its tag."""
        if old is not None and old.tag == listener.tag:
            listener.balance_row = old.balance_row
        elif listener.config.exact_balance:
            try:
                listener.balance_row = self._supervisor.balance.allot_row()
            except OSError as error:
                log.warning("connections of listener '%s' are not balanced: %s", listener.name, error)

    def _free_row(self, listener: ManagedListener) -> None:
        if listener.balance_row >= 0:
            self._supervisor.balance.free_row(listener.balance_row)

    def _adopt(self, fresh: ManagedListener) -> None:
        """Whoever accepts for a dead worker meanwhile accepts from the new sockets too."""
        for index, helper in self._supervisor.helped():
            self._supervisor.adopt(helper, index, fresh.tag, fresh.fds(index))

    def _activate(self, fresh: ManagedListener, old: ManagedListener | None) -> None:
        name = fresh.name
        fresh.state = State.ACTIVE
        if self._warming.get(name) is fresh:
            self._warming.drop(name)
        if not fresh.removed:
            self._active.put(fresh)
        if old is not None and old.tag == fresh.tag:
            self._drains.drain_chains(old, fresh)
        elif old is not None:
            self._drains.drain(old)
        if fresh.removed:
            self._drains.drain(fresh)
        elif self._covers(self._stopped, fresh.compiled.proto):
            self._answers.spawn(self._stop([fresh]))

    def _give_up(self, fresh: ManagedListener, old: ManagedListener | None, failure: str) -> None:
        """A worker refused: all workers go back to what they had."""
        fresh.failure = failure
        if self._warming.get(fresh.name) is fresh:
            self._warming.drop(fresh.name)
        if old is not None and old.tag == fresh.tag:
            for worker in self._supervisor.configured_workers():
                self._send(worker, old, old)
            self._drains.undo_chains(fresh, old)
            log.error("listener '%s' cannot be updated in place: %s", fresh.name, failure)
            self.errors.note(fresh.compiled.proto, failure)
        else:
            self._refused(fresh, failure)
        if old is not None and fresh.removed:
            self._drains.drain(old)

    def _refused(self, listener: ManagedListener, failure: str) -> None:
        log.error("listener '%s' is refused by a worker: %s", listener.name, failure)
        self.errors.note(listener.compiled.proto, failure)
        self._drains.remove(listener)

    # -- /drain_listeners --------------------------------------------------------------------------------------

    def drain_all(self, graceful: bool, skip_exit: bool, inbound_only: bool) -> None:
        """Tell connections to go; stop at once, or (``graceful``) after the drain time, or (``skip_exit``) never."""
        which = "inbound" if inbound_only else "all"
        if graceful and self._server_drain in (which, "all"):
            return
        self._server_drain = "all" if self._server_drain == "all" else which
        for listener in [*self._active.values(), *self._in_flight.values()]:
            if self._covers(which, listener.compiled.proto):
                listener.told_to_go = True
                self._answers.request_all(lambda request_id, tag=listener.tag: messages.DrainListener(request_id, tag))  # type: ignore[misc]
        if skip_exit:
            return
        if graceful:
            self._drains.after_drain_time(lambda: self._stop_all(which))
        else:
            self._stop_all(which)

    def _stop_all(self, which: str) -> None:
        self._stopped = "all" if self._stopped == "all" else which
        chosen = [one for one in self._active.values() if self._covers(which, one.compiled.proto) and not one.stopped]
        self._answers.spawn(self._stop(chosen))

    async def _stop(self, listeners: list[ManagedListener]) -> None:
        for listener in listeners:
            listener.stopped = True
            answers = self._answers.request_all(
                lambda request_id, tag=listener.tag: messages.StopListener(request_id, tag)  # type: ignore[misc]
            )
            await self._answers.gather(answers)
            listener.release_sockets()
            self._stats.inc(STOPPED)

    @staticmethod
    def _covers(which: str, proto: Any) -> bool:
        return which == "all" or (which == "inbound" and proto.traffic_direction == _INBOUND)

    # -- the rest ----------------------------------------------------------------------------------------------

    def _gauges(self) -> None:
        self._stats.set(WARMING_GAUGE, len(self._warming))
        self._stats.set(ACTIVE_GAUGE, len(self._active))

    def close(self) -> None:
        """Close all of main's listening descriptors."""
        self._answers.close()
        for listener in [*self._active.values(), *self._in_flight.values(), *self._unsettled.values()]:
            listener.close()
        self._active.clear()
        self._warming.clear()
        self._unsettled.clear()
        self._in_flight.clear()
        self._drains.close()


def _in_place(newest: ManagedListener, compiled: CompiledListener) -> bool:
    old, new = newest.compiled.proto, compiled.proto
    return (
        newest.sockets is not None
        and len(new.filter_chains) > 0
        and newest.config.reuse_port == compiled.config.reuse_port
        and filter_chain_only_change(old, new)
    )


def _may_share(old: Any, new: Any) -> bool:
    """With reuse_port on both sides new sockets can be bound beside the old ones, with the new options."""
    return socket_facts(old) == socket_facts(new) or not (old.reuse_port and new.reuse_port)
