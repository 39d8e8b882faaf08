"""The files of configuration that is not discovered: certificates, keys, trusted certificates, revocation lists.

Beyond Envoy, which reads them once: they are watched, through every symbolic link on the way to them, and read again.
Files are taken over together, once all of them fit; until then what was read before holds.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from proxeny.config.errors import ConfigError
from proxeny.secret.sources import SharedSecret
from proxeny.stats.schema import Schema

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher
    from proxeny.event.file_watcher import FileWatcher, Watch
    from proxeny.kernel.stats import Block

log = logging.getLogger("proxeny.secret")

SECRET_FILES: Final = Schema("secret_files", counters=("update_rejected", "update_success"))
"""``secret_files.*``: what became of changed files of configuration that is not discovered."""
UPDATE_REJECTED: Final = SECRET_FILES.slot("update_rejected")
UPDATE_SUCCESS: Final = SECRET_FILES.slot("update_success")

SETTLE_MS: Final = 20
"""A certificate and its key are often written one after the other: so long after a change they are read."""
MOST_READS: Final = 5
"""As Envoy for files of discovered secrets: so often files are read again until they stay the same."""
_MOST_LINKS: Final = 40
"""As the kernel for the symbolic links of one path."""

encode: Final = msgspec.msgpack.Encoder().encode
decode: Final = msgspec.msgpack.Decoder(dict[str, bytes]).decode


def read_stable(paths: Iterable[str], read: Callable[[str], bytes] | None = None) -> dict[str, bytes]:
    """The contents of files that may be replaced meanwhile: read until two readings are alike; OSError."""
    read = read or read_file
    names = list(paths)
    contents = {path: read(path) for path in names}
    for _ in range(MOST_READS):
        again = {path: read(path) for path in names}
        if again == contents:
            return contents
        contents = again
    log.warning("Unable to atomically refresh secrets due to > %d non-atomic rotations observed", MOST_READS)
    return contents


def read_file(path: str) -> bytes:
    """OSError."""
    with open(path, "rb") as file:
        return file.read()


def places_of(path: str) -> list[str]:
    """The file, and every symbolic link on the way to it, where they may be replaced."""
    found: dict[str, None] = {}
    todo = os.path.abspath(path).split("/")[1:]
    at, links = "/", 0
    while todo:
        part = todo.pop(0)
        if part in ("", "."):
            continue
        if part == "..":
            at = os.path.dirname(at)
            continue
        here = os.path.join(at, part)
        if not todo:
            found[here] = None
        if links < _MOST_LINKS and os.path.islink(here):
            links += 1
            found[here] = None
            target = os.readlink(here)
            todo = target.split("/") + todo
            at = "/" if target.startswith("/") else at
        else:
            at = here
    return list(found)


class FileSet(SharedSecret):
    """The files that equal configurations read: path -> content is its value."""

    def __init__(
        self,
        key: str,
        on_unused: Callable[[SharedSecret], object],
        dispatcher: Dispatcher | None,
        watcher: FileWatcher | None,
        stats: Block,
        on_change: Callable[[SharedSecret], object],
    ) -> None:
        """Without a ``dispatcher`` nothing is watched."""
        super().__init__(key, on_unused)
        self.value: dict[str, bytes] = {}
        self._watcher = watcher
        self._watches: dict[str, Watch] = {}
        self._timer = dispatcher.create_timer(self.check) if dispatcher is not None else None
        self._stats = stats
        self._on_change = on_change
        self.is_sent = False
        """Whether the workers have all of it."""

    def read(self, path: str) -> bytes:
        """The content that holds; read and watched from the first time on. OSError."""
        content = self.value.get(path)
        if content is None:
            content = self.value[path] = read_file(path)
            self.is_sent = False
            self._watch(places_of(path))
        return content

    def serialized(self) -> bytes:
        """As it goes to the workers."""
        return encode(self.value)

    def _watch(self, places: Iterable[str]) -> None:
        if self._watcher is None:
            return
        for place in places:
            if place not in self._watches:
                try:
                    self._watches[place] = self._watcher.add(place, self._on_event)
                except OSError as error:
                    log.warning("changes of '%s' are not noticed: %s", place, error.strerror)

    def _watch_anew(self) -> None:
        """Links may lead elsewhere now."""
        places = {place for path in self.value for place in places_of(path)}
        for place in [place for place in self._watches if place not in places]:
            self._watches.pop(place).close()
        self._watch(places)

    def _on_event(self) -> None:
        if self._timer is not None and not self._timer.enabled:
            self._timer.enable(SETTLE_MS)

    def check(self) -> None:
        """Perhaps a file was replaced, or a link to one: take what is new."""
        self._watch_anew()
        try:
            fresh = read_stable(self.value)
            if fresh == self.value:
                return
            self.offer(fresh)
        except (ConfigError, OSError) as error:
            self._stats.inc(UPDATE_REJECTED)
            names = ", ".join(self.value)
            log.error("new content of %s is refused, what was there before stays in use: %s", names, _words(error))
            return
        self._stats.inc(UPDATE_SUCCESS)
        log.info("new content of %s is in use", ", ".join(fresh))
        self.is_sent = False
        self._on_change(self)

    def close(self) -> None:
        """Watch no more."""
        for watch in self._watches.values():
            watch.close()
        self._watches.clear()
        if self._timer is not None:
            self._timer.close()


def _words(error: Any) -> str:
    return f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
