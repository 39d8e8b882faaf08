"""The zygote: a single-threaded process that forks the workers.

Main forks it once all modules of the data plane are imported and frozen out of the collector, and before it compiles
any configuration; so a worker starts in milliseconds and shares those pages. A worker is forked through an
intermediate process that ends at once, and main is the reaper of orphans: workers are main's own children. So main
learns of a worker's end by SIGCHLD, the kernel ends a worker with main, and the death of the zygote harms no worker.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
from collections.abc import Callable

from proxeny.server import log as log_set_up
from proxeny.server import messages, process
from proxeny.server.channel import Channel

log = logging.getLogger("proxeny.main")

WorkerMain = Callable[[int, int, socket.socket, list[int]], int]
"""(index, epoch, channel, descriptors of the shared memory) -> exit status; runs in a worker."""


class Zygote:
    """Main's handle on the zygote."""

    def __init__(self, pid: int, channel: Channel) -> None:
        self.pid = pid
        self.channel = channel

    def fork_worker(self, index: int, epoch: int, channel: socket.socket, shared: list[int]) -> None:
        """Have a worker forked; it says WorkerStarted on ``channel``, whose socket here is closed."""
        self.channel.send(messages.ForkWorker(index, epoch), [channel.fileno(), *shared])
        channel.close()

    def close(self) -> None:
        """Let the zygote end (its workers live on)."""
        self.channel.close()


def freeze() -> None:
    """Put everything alive now where the collector never writes to it, so that forks keep sharing its pages."""
    gc.collect()
    gc.freeze()


def start(worker_main: WorkerMain) -> Zygote:
    """Fork the zygote, which keeps no descriptor of main's but the log's.

    Main calls it early; and again, from its loop, when the zygote died.
    """
    main_pid = os.getpid()
    process.adopt_orphans()
    channel, theirs = Channel.pair()
    pid = os.fork()
    if pid:
        theirs.close()
        return Zygote(pid, channel)
    status = 1
    try:
        process.die_with_parent(main_pid)
        signal.set_wakeup_fd(-1)
        _close_all_but({0, 1, 2, theirs.fileno(), log_set_up.descriptor()})
        process.set_name("proxeny:zygote")
        status = _serve(Channel(theirs), main_pid, worker_main)
    except BaseException:
        log.critical("the zygote failed", exc_info=True)
    finally:
        os._exit(status)


def _close_all_but(kept: set[int]) -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in kept:
            try:
                os.close(int(name))
            except OSError:  # the listing's own
                continue


def _ignore_signals() -> None:
    # They reach the whole process group (Ctrl-C, a service manager); only main acts on them.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


def _serve(channel: Channel, main_pid: int, worker_main: WorkerMain) -> int:
    _ignore_signals()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    while (received := channel.receive()) is not None:
        for message, fds in received:
            if isinstance(message, messages.ForkWorker):
                _fork(message, fds, channel, main_pid, worker_main)
    return 0


def _fork(
    message: messages.ForkWorker, fds: list[int], channel: Channel, main_pid: int, worker_main: WorkerMain
) -> None:
    middle = os.fork()
    if middle:
        for fd in fds:
            os.close(fd)
        os.waitpid(middle, 0)
        return
    try:
        if os.fork():
            os._exit(0)
        _run_worker(message, fds, channel, main_pid, worker_main)
    finally:
        os._exit(1)


def _run_worker(
    message: messages.ForkWorker, fds: list[int], channel: Channel, main_pid: int, worker_main: WorkerMain
) -> None:
    status = 1
    try:
        channel.close()
        sock = socket.socket(fileno=fds[0])
        _wait_for_adoption(main_pid)
        process.die_with_parent(main_pid)
        process.set_name(f"proxeny:wrk:{message.index}")
        status = worker_main(message.index, message.epoch, sock, fds[1:])
    except SystemExit as leaving:
        status = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:
        log.critical("worker %d failed", message.index, exc_info=True)
    finally:
        logging.shutdown()
        os._exit(status)


def _wait_for_adoption(main_pid: int) -> None:
    # The intermediate process ends right after the fork; until then it, and not main, is our parent.
    while (parent := os.getppid()) != main_pid:
        if parent == 1:
            os._exit(1)
        os.sched_yield()
