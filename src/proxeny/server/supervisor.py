"""The supervisor: keeps one worker process per ``--concurrency`` alive and fed.

A worker that ends unasked is replaced through the zygote: its counters move to the retired segment, a live worker
accepts from its listening sockets meanwhile (main holds duplicates of them, so what waits in their queues is not
reset), the new one gets everything that the others have. One that dies again and again is restarted ever more slowly.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from proxeny.event.dispatcher import Dispatcher
from proxeny.kernel.balance import BalanceTable
from proxeny.kernel.limits import LimitTable
from proxeny.kernel.outlier import OutlierTable
from proxeny.kernel.stats import Block
from proxeny.kernel.token_bucket import BucketTable
from proxeny.server import messages, zygote
from proxeny.server.channel import Channel
from proxeny.server.inboxes import Inboxes
from proxeny.server.server_stats import WORKER_RESTARTS
from proxeny.server.watchdog import Watchdog
from proxeny.stats.store import MainStore

log = logging.getLogger("proxeny.main")

STABLE_S: Final = 10.0
"""A worker that lived this long starts its count of deaths anew."""
FIRST_BACKOFF_S: Final = 0.1
LAST_BACKOFF_S: Final = 10.0
MOST_MAPPED = 100
"""Up to so many workers each maps the segments of all: a message carries 253 descriptors at most."""
FORK_TIMEOUT_S: Final = 10.0
"""A zygote that does not bring a worker up in this time is stuck, and replaced."""
MOST_STRANGERS: Final = 64


class WorkerDied(ConnectionError):
    """The worker ended before it answered."""


class Feeder(Protocol):
    """What the supervisor asks of the owner of configuration."""

    def feed(self, worker: Worker) -> list[asyncio.Future[messages.Done]]:
        """Send a new worker all that the others have; the answers to wait for before it counts as ready."""

    def listening_fds(self, worker_index: int) -> list[tuple[int, list[int]]]:
        """(listener tag, main's duplicates of the sockets that worker ``worker_index`` accepts from)."""

    def on_worker_message(self, worker: Worker, message: Any) -> None:
        """A message that is no answer."""


class Worker:
    """Main's handle on one worker process."""

    __slots__ = ("_next_id", "_on_update", "_pending", "channel", "configured", "fed", "index", "pid", "started")

    def __init__(self, index: int, channel: Channel, on_update: Callable[[], object] = lambda: None) -> None:
        """``on_update`` hears when it is sent something that changes what it serves (``messages.UPDATES``)."""
        self.index = index
        self.channel = channel
        self.pid = 0
        self.configured = False
        """Whether it has been sent its configuration: from then on it gets every change."""
        self.fed = False
        """Whether it has carried that out."""
        self.started = time.monotonic()
        self._on_update = on_update
        self._next_id = 0
        self._pending: dict[int, asyncio.Future[messages.Done]] = {}

    def send(self, message: Any, fds: Sequence[int] = (), *, close_fds: bool = False) -> None:
        """Send a message that has no answer."""
        self.channel.send(message, fds, close_fds=close_fds)
        if type(message) in messages.UPDATES:
            self._on_update()

    def request(
        self, make: Callable[[int], Any], fds: Sequence[int] = (), *, close_fds: bool = False
    ) -> asyncio.Future[messages.Done]:
        """Send ``make(id)``; the future ends with the worker's Done, or WorkerDied."""
        self._next_id += 1
        future: asyncio.Future[messages.Done] = asyncio.get_running_loop().create_future()
        # A future that nobody waits for any more must not complain.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._pending[self._next_id] = future
        self.send(make(self._next_id), fds, close_fds=close_fds)
        return future

    def on_done(self, message: messages.Done) -> None:
        """The worker answered."""
        future = self._pending.pop(message.id, None)
        if future is not None and not future.done():
            future.set_result(message)

    def fail_pending(self) -> None:
        """The worker is gone: nothing will be answered."""
        pending, self._pending = self._pending, {}
        for future in pending.values():
            if not future.done():
                future.set_exception(WorkerDied(f"worker {self.index} ended"))

    def __repr__(self) -> str:
        return f"Worker({self.index}, pid={self.pid})"


class Supervisor:
    """Starts, watches, replaces and stops the workers."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        store: MainStore,
        stats: Block,
        the_zygote: zygote.Zygote,
        worker_main: zygote.WorkerMain,
        concurrency: int,
    ) -> None:
        self._dispatcher = dispatcher
        self._store = store
        self._stats = stats
        self._zygote = the_zygote
        self._worker_main = worker_main
        self._concurrency = concurrency
        self.limits = LimitTable.create(concurrency + 1, concurrency)
        """Counts that hold across processes: one column per worker, the last one main's."""
        store.on_freed = self.limits.clear_rows
        self.on_update: Callable[[], object] = lambda: None
        """Hears when a worker is sent something that changes what it serves."""
        self.balance = BalanceTable.create(concurrency)
        """Connections by worker, of listeners with exact balance."""
        self.token_buckets = BucketTable.create()
        """From which all workers draw."""
        self.outliers = OutlierTable.create()
        """What became of requests, by host."""
        self.inboxes = Inboxes(concurrency)
        """Through which workers hand sockets over."""
        self.workers: dict[int, Worker] = {}
        self.feeder: Feeder | None = None
        self.watchdog: Watchdog | None = None
        self._deaths: dict[int, int] = {}
        self._helpers: dict[int, Worker] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._epoch = 0
        self._strangers: dict[int, str] = {}
        self._feeding = False
        self._stopping = False
        self._all_gone: asyncio.Event | None = None

    # -- start and stop ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Have all workers forked; they are fed once ``feeder`` is set and ``feed_all`` is called."""
        self._dispatcher.add_signal_handler(signal.SIGCHLD, self._reap)
        self._zygote.channel.attach(self._dispatcher, lambda message, fds: None, self._on_zygote_gone)
        for index in range(self._concurrency):
            self._fork(index)

    def _fork(self, index: int) -> Worker:
        self._epoch += 1
        segment = self._store.create_worker_segment(index)
        channel, theirs = Channel.pair()
        worker = self.workers[index] = Worker(index, channel, lambda: self.on_update())
        channel.attach(
            self._dispatcher, lambda message, fds: self._on_message(worker, message), lambda: self._on_eof(worker)
        )
        tables = [self.limits.fd, self.balance.fd, self.token_buckets.fd, self.outliers.fd]
        shared = [segment.fd, *tables, *self.inboxes.fds(index)]
        if 1 < self._concurrency <= MOST_MAPPED:
            shared += [other.fd for other in self._store.worker_segments(self._concurrency)]
        self._zygote.fork_worker(index, self._epoch, theirs, shared)
        self._dispatcher.call_later(FORK_TIMEOUT_S, self._check_started, worker, self._zygote)
        return worker

    def _check_started(self, worker: Worker, asked: zygote.Zygote) -> None:
        if worker.pid == 0 and self.workers.get(worker.index) is worker and asked is self._zygote:
            log.error("the zygote (pid %d) does not start worker %d: killing it", asked.pid, worker.index)
            os.kill(asked.pid, signal.SIGKILL)

    async def feed_all(self) -> list[messages.Done]:
        """Feed every worker; their answers in order, WorkerDied if one ended meanwhile."""
        self._feeding = True
        answers: list[asyncio.Future[messages.Done]] = []
        for worker in self.workers.values():
            answers += self._feed(worker)
        done = list(await asyncio.gather(*answers))
        for worker in self.workers.values():
            self._ready(worker)
        return done

    def _ready(self, worker: Worker) -> None:
        worker.fed = True
        if self.watchdog is not None:
            self.watchdog.watch(worker.index, worker.pid)

    async def stop(self, timeout_s: float) -> None:
        """Ask all workers to end, and end those that do not."""
        self._stopping = True
        for task in list(self._tasks):
            task.cancel()
        if self.workers:
            self._all_gone = asyncio.Event()
            for worker in self.workers.values():
                worker.send(messages.Stop())
            try:
                await asyncio.wait_for(self._all_gone.wait(), timeout_s)
            except TimeoutError:
                for worker in self.workers.values():
                    log.warning("worker %d does not end: killing it", worker.index)
                    self._kill(worker)
        self._zygote.close()
        self.inboxes.close()

    # -- messages ----------------------------------------------------------------------------------------------

    def live_workers(self) -> list[Worker]:
        """Workers that have been fed."""
        return [worker for worker in self.workers.values() if worker.fed]

    def pids(self) -> list[int]:
        """Processes of the zygote and the workers, for memory gauges."""
        return [self._zygote.pid, *(worker.pid for worker in self.workers.values() if worker.pid)]

    def configured_workers(self) -> list[Worker]:
        """Workers that get every change: what came before was in their feed."""
        return [worker for worker in self.workers.values() if worker.configured]

    def helped(self) -> list[tuple[int, Worker]]:
        """Indexes of dead workers, with the worker that accepts for each until its replacement does."""
        return list(self._helpers.items())

    def broadcast(self, message: Any) -> None:
        """Send to every worker that was configured."""
        for worker in self.configured_workers():
            worker.send(message)

    def _feed(self, worker: Worker) -> list[asyncio.Future[messages.Done]]:
        assert self.feeder is not None
        answers = self.feeder.feed(worker)
        worker.send(messages.Serve())
        worker.configured = True
        return answers

    def _on_message(self, worker: Worker, message: Any) -> None:
        if isinstance(message, messages.Done):
            worker.on_done(message)
        elif isinstance(message, messages.WorkerStarted):
            worker.pid = message.pid
        elif self.feeder is not None:
            self.feeder.on_worker_message(worker, message)

    # -- deaths ------------------------------------------------------------------------------------------------

    def _kill(self, worker: Worker) -> None:
        if worker.pid:
            try:
                os.kill(worker.pid, signal.SIGKILL)
            except ProcessLookupError:
                return

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            worker = next((worker for worker in self.workers.values() if worker.pid == pid), None)
            if worker is not None:
                self._on_death(worker, _how(status))
            elif len(self._strangers) < MOST_STRANGERS:
                # Perhaps a worker whose first message has not been read yet.
                self._strangers[pid] = _how(status)

    def _on_eof(self, worker: Worker) -> None:
        if self.workers.get(worker.index) is not worker:
            return
        how = self._strangers.pop(worker.pid, "")
        if worker.pid and not how:
            # Its end of the channel is closed, so it serves no more; SIGCHLD tells when it is gone for sure.
            self._kill(worker)
        else:
            self._on_death(worker, how or "could not be started")

    def _on_death(self, worker: Worker, how: str) -> None:
        del self.workers[worker.index]
        worker.channel.close()
        worker.fail_pending()
        if self.watchdog is not None:
            self.watchdog.forget(worker.index)
        if self._stopping:
            self._store.retire_worker(worker.index)
            if not self.workers and self._all_gone is not None:
                self._all_gone.set()
            return
        log.error("worker %d (pid %d) %s; starting another", worker.index, worker.pid, how)
        task = self._dispatcher.create_task(self._replace(worker))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _replace(self, dead: Worker) -> None:
        index = dead.index
        self._stats.inc(WORKER_RESTARTS)
        self._store.retire_worker(index)
        self.limits.clear_column(index)
        self.balance.worker_died(index)
        if not self._feeding:
            self._fork(index)
            return
        self._adopt(index)
        for helped, helper in list(self._helpers.items()):
            if helper is dead:
                self._adopt(helped)
        delay = self._backoff(dead)
        if delay:
            log.error("worker %d keeps ending; next start in %.1f s", index, delay)
            await asyncio.sleep(delay)
        worker = self._fork(index)
        try:
            answers = await asyncio.gather(*self._feed(worker))
        except WorkerDied:
            return  # its own end started another replacement
        self._ready(worker)
        errors = [done.error for done in answers if done.error]
        if errors:
            # Whoever accepts for it meanwhile goes on.
            log.error("worker %d cannot serve all: %s", index, errors[0])
            return
        replaced = self._helpers.pop(index, None)
        if replaced is not None and self.workers.get(replaced.index) is replaced:
            replaced.request(lambda request_id: messages.ReleaseAdopted(request_id, index))

    def _adopt(self, index: int) -> None:
        assert self.feeder is not None
        others = [worker for worker in self.live_workers() if worker.index != index]
        self._helpers.pop(index, None)
        if not others:
            return
        busy = list(self._helpers.values())
        helper = min(others, key=busy.count)
        self._helpers[index] = helper
        for tag, fds in self.feeder.listening_fds(index):
            self.adopt(helper, index, tag, fds)

    @staticmethod
    def adopt(helper: Worker, index: int, tag: int, fds: list[int]) -> None:
        """Have a worker accept from the sockets that dead worker ``index`` has for listener ``tag``."""
        if fds:
            helper.request(lambda request_id: messages.AdoptListener(request_id, tag, index), fds)

    def _backoff(self, dead: Worker) -> float:
        if time.monotonic() - dead.started >= STABLE_S:
            self._deaths[dead.index] = 0
            return 0.0
        deaths = self._deaths[dead.index] = self._deaths.get(dead.index, 0) + 1
        return 0.0 if deaths < 3 else min(LAST_BACKOFF_S, FIRST_BACKOFF_S * 2 ** min(deaths - 3, 10))

    def _on_zygote_gone(self) -> None:
        if self._stopping:
            return
        log.error("the zygote (pid %d) has ended; starting another", self._zygote.pid)
        self._zygote = zygote.start(self._worker_main)
        self._zygote.channel.attach(self._dispatcher, lambda message, fds: None, self._on_zygote_gone)


def _how(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with status {code}"
