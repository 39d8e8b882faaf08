"""Tells of files that are moved into place (Envoy: ``Filesystem::WatcherImpl`` over inotify).

A watch is always on the directory: a file that is replaced by a rename is another file, and a watch on it would end.
Writing into a file is no event, since a half-written configuration must not be read; who can tell a half-written file
by its content may ask for these events too.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import struct
from collections.abc import Callable
from typing import Final

log = logging.getLogger("proxeny.file")

_IN_CLOSE_WRITE: Final = 0x00000008
_IN_MOVED_TO: Final = 0x00000080
_IN_CREATE: Final = 0x00000100
_IN_Q_OVERFLOW: Final = 0x00004000
_IN_IGNORED: Final = 0x00008000
_EVENT: Final = struct.Struct("iIII")
_READ_SIZE: Final = 1 << 16

_libc = ctypes.CDLL(None, use_errno=True)

Callback = Callable[[], object]


class Watch:
    """One path that is watched; ``close`` ends it."""

    __slots__ = ("_watcher", "callback", "file", "number")

    def __init__(self, watcher: FileWatcher, number: int, file: str, callback: Callback) -> None:
        self._watcher = watcher
        self.number = number
        self.file = file
        """Name in the directory; empty for any."""
        self.callback = callback

    def close(self) -> None:
        """Hear of nothing more."""
        self._watcher.remove(self)


class FileWatcher:
    """Runs callbacks in ``loop`` when something was moved to a watched path.

    ``written``: also when it was made there, or was closed after it had been written to.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, written: bool = False) -> None:
        self._loop = loop
        self._mask = _IN_MOVED_TO | _IN_CLOSE_WRITE | _IN_CREATE if written else _IN_MOVED_TO
        self._fd = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise _os_error()
        self._watches: dict[int, dict[str, list[Watch]]] = {}
        """By directory and file: any number of files may be watched."""
        self._directories: dict[int, str] = {}
        loop.add_reader(self._fd, self._on_readable)

    def add(self, path: str, callback: Callback) -> Watch:
        """Watch a file, or every file of a directory when ``path`` ends with a slash; OSError."""
        directory, file = os.path.split(path)
        directory = directory or "."
        number = _libc.inotify_add_watch(self._fd, os.fsencode(directory), self._mask)
        if number < 0:
            raise _os_error()
        watch = Watch(self, number, file, callback)
        self._watches.setdefault(number, {}).setdefault(file, []).append(watch)
        self._directories[number] = directory
        return watch

    def remove(self, watch: Watch) -> None:
        """End a watch; a directory in which nothing is watched any more is left alone."""
        files = self._watches.get(watch.number, {})
        watches = files.get(watch.file, [])
        if watch not in watches:
            return
        watches.remove(watch)
        if not watches:
            del files[watch.file]
        if not files:
            del self._watches[watch.number]
            _libc.inotify_rm_watch(self._fd, watch.number)

    def _on_readable(self) -> None:
        try:
            data = os.read(self._fd, _READ_SIZE)
        except BlockingIOError:
            return
        at = 0
        while at < len(data):
            number, mask, _, length = _EVENT.unpack_from(data, at)
            at += _EVENT.size
            name = os.fsdecode(data[at : at + length].rstrip(b"\0"))
            at += length
            self._on_event(number, mask, name)

    def _on_event(self, number: int, mask: int, name: str) -> None:
        if mask & _IN_Q_OVERFLOW:
            # Whatever was lost may have been any of them.
            for files in list(self._watches.values()):
                for watch in [watch for watches in files.values() for watch in watches]:
                    watch.callback()
        elif mask & _IN_IGNORED:
            if number in self._watches:
                # Who watches files through links goes elsewhere by itself.
                level = logging.DEBUG if self._mask & _IN_CREATE else logging.WARNING
                directory = self._directories.get(number)
                log.log(level, "the directory '%s' is gone: nothing in it is watched any more", directory)
        elif mask & self._mask:
            files = self._watches.get(number, {})
            for watch in [*files.get("", ()), *files.get(name, ())]:
                watch.callback()

    def close(self) -> None:
        """End all watches."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
            self._watches.clear()


def _os_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
