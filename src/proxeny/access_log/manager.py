"""Access log files: lines are buffered and written by a timer, without threads (Envoy: AccessLogManagerImpl).

Several workers append to the same file: each flush is one ``write`` of whole lines to a descriptor opened with
O_APPEND, so lines of different workers never mix.
"""

from __future__ import annotations

import os
import select
import stat
from typing import TYPE_CHECKING

from proxeny.access_log.stats import (
    FILESYSTEM,
    FLUSHED_BY_TIMER,
    PREFIX,
    REOPEN_FAILED,
    WRITE_BUFFERED,
    WRITE_COMPLETED,
    WRITE_FAILED,
    WRITE_TOTAL_BUFFERED,
)
from proxeny.config.errors import ConfigError

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher
    from proxeny.kernel.stats import Block
    from proxeny.stats.store import Store

FLUSH_INTERVAL_MS = 10_000
"""Envoy's --file-flush-interval-msec."""
MIN_FLUSH_SIZE = 64 * 1024
"""Envoy's --file-flush-min-size-kb."""
MAX_PENDING = 4 * 1024 * 1024
"""What is kept for a pipe that nobody reads; beyond it lines are dropped and counted as write_failed."""
PIPE_CHUNK = 4096
"""PIPE_BUF: a pipe that poll() calls writable takes this much at once."""
PIPE_RETRY_MS = 50

STDOUT = "<stdout>"
STDERR = "<stderr>"
_STREAMS = {STDOUT: 1, STDERR: 2}
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


def open_log(path: str) -> int:
    """A descriptor for appending; ConfigError in Envoy's words."""
    stream = _STREAMS.get(path)
    try:
        return os.dup(stream) if stream is not None else os.open(path, _FLAGS, 0o644)
    except OSError as error:
        raise ConfigError(f"unable to open file '{path}': {error.strerror}") from error


class AccessLogFile:
    """One log file of this process: a buffer of lines and the descriptor they go to."""

    __slots__ = (
        "_armed",
        "_fd",
        "_is_file",
        "_lines",
        "_min_flush_size",
        "_poll",
        "_retry",
        "_size",
        "_stats",
        "_timer",
        "_waiting",
        "interval_ms",
        "path",
    )

    def __init__(
        self, path: str, dispatcher: Dispatcher, stats: Block, interval_ms: int, min_flush_size: int = MIN_FLUSH_SIZE
    ) -> None:
        self.path = path
        self._min_flush_size = min_flush_size
        self.interval_ms = interval_ms
        self._stats = stats
        self._lines: list[bytes] = []
        self._size = 0
        self._timer = dispatcher.create_timer(self._on_timer)
        self._retry = dispatcher.create_timer(self._on_retry)
        self._armed = False
        """Whether the timer runs, as it does from the first line on."""
        self._waiting = False
        """Whether a full pipe is given time."""
        self._fd = -1
        self._use(open_log(path))

    def _use(self, fd: int) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = fd
        # Anything but a regular file can block the writer, which here is the worker's event loop.
        self._is_file = stat.S_ISREG(os.fstat(fd).st_mode)
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)

    def write(self, line: bytes) -> None:
        """Buffers one line (with its line end)."""
        size = self._size + len(line)
        if size > MAX_PENDING:
            self._stats.inc(WRITE_FAILED)
            return
        self._lines.append(line)
        self._size = size
        stats = self._stats
        stats.inc(WRITE_BUFFERED)
        stats.add(WRITE_TOTAL_BUFFERED, len(line))
        if not self._armed:
            self._armed = True
            self._timer.enable(self.interval_ms)
        if size > self._min_flush_size and not self._waiting:
            self.flush()

    def _on_timer(self) -> None:
        self._stats.inc(FLUSHED_BY_TIMER)
        self._timer.enable(self.interval_ms)
        self.flush()

    def flush(self) -> None:
        """Writes what is buffered; what a full pipe does not take stays for a later try."""
        if not self._lines:
            return
        data = self._lines[0] if len(self._lines) == 1 else b"".join(self._lines)
        self._lines.clear()
        self._size = 0
        rest = self._write_file(data) if self._is_file else self._write_stream(data)
        self._stats.sub(WRITE_TOTAL_BUFFERED, len(data) - len(rest))
        if rest:
            self._lines.append(rest)
            self._size = len(rest)
            self._waiting = True
            self._retry.enable(PIPE_RETRY_MS)

    def _on_retry(self) -> None:
        self._waiting = False
        self.flush()

    def _write_file(self, data: bytes) -> bytes:
        try:
            written = os.write(self._fd, data)
        except OSError:
            written = -1
        # A short write is a full disk; Envoy drops the rest as well.
        self._stats.inc(WRITE_COMPLETED if written == len(data) else WRITE_FAILED)
        return b""

    def _write_stream(self, data: bytes) -> bytes:
        position = 0
        while position < len(data):
            if not self._poll.poll(0):
                return data[position:]
            try:
                position += os.write(self._fd, data[position : position + PIPE_CHUNK])
            except BlockingIOError:
                return data[position:]
            except OSError:
                self._stats.inc(WRITE_FAILED)
                return b""
        self._stats.inc(WRITE_COMPLETED)
        return b""

    def reopen(self) -> None:
        """Writes what is buffered to the old file and opens the path again (after a rotation)."""
        self.flush()
        try:
            self._use(open_log(self.path))
        except ConfigError:
            self._stats.inc(REOPEN_FAILED)

    def close(self) -> None:
        """Writes what is buffered and closes the file."""
        if self._fd < 0:
            return
        self._timer.disable()
        self._armed = False
        self.flush()
        self._retry.disable()
        os.close(self._fd)
        self._fd = -1


class AccessLogManager:
    """All log files of this process, one per path."""

    __slots__ = ("_dispatcher", "_files", "_interval_ms", "_min_flush_size", "_store")

    def __init__(
        self,
        dispatcher: Dispatcher,
        store: Store,
        flush_interval_ms: int = FLUSH_INTERVAL_MS,
        min_flush_size: int = MIN_FLUSH_SIZE,
    ) -> None:
        self._min_flush_size = min_flush_size
        self._dispatcher = dispatcher
        self._store = store
        self._interval_ms = flush_interval_ms
        self._files: dict[str, AccessLogFile] = {}

    def create_access_log(self, path: str) -> AccessLogFile:
        """The file of a path (or STDOUT, STDERR), opened at the first call; ConfigError in Envoy's words."""
        file = self._files.get(path)
        if file is None:
            stats = self._store.block(FILESYSTEM, PREFIX)
            file = self._files[path] = AccessLogFile(
                path, self._dispatcher, stats, self._interval_ms, self._min_flush_size
            )
        return file

    def reopen(self) -> None:
        """SIGUSR1 and /reopen_logs."""
        for path, file in self._files.items():
            if path not in _STREAMS:
                file.reopen()

    def flush(self) -> None:
        """Writes everything that is buffered now."""
        for file in self._files.values():
            file.flush()

    def close(self) -> None:
        """Writes everything and closes all files; the manager can be used again afterwards."""
        for file in self._files.values():
            file.close()
        self._files.clear()
