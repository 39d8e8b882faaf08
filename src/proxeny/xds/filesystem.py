"""Resources in a file that is replaced by renames (Envoy: ``FilesystemSubscriptionImpl``)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from envoy.service.discovery.v3 import discovery_pb2

from proxeny.config.errors import ConfigError, UnknownFieldError
from proxeny.config.loader import gc_paused
from proxeny.config.sources import read_file
from proxeny.event.file_watcher import FileWatcher
from proxeny.event.slices import Steps
from proxeny.xds.inbox import Inbox, unless_small
from proxeny.xds.resource import DecodedResource, ResourceDecoder
from proxeny.xds.stats import UpdateStats
from proxeny.xds.subscription import FailureReason, SubscriptionCallbacks
from proxeny.xds.validation import DynamicValidation

log = logging.getLogger("proxeny.config")


class FilesystemSubscription:
    """Reads the DiscoveryResponse in a file, and again whenever a file is moved there (or into the watched directory).

    Raises ConfigError when it cannot be watched.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        source: Any,
        callbacks: SubscriptionCallbacks,
        decoder: ResourceDecoder,
        stats: UpdateStats,
        validation: DynamicValidation,
        watcher: FileWatcher | None = None,
    ) -> None:
        """``source``: ``config.core.v3.PathConfigSource``; ``watcher``: one that many share, None: its own."""
        self._path: str = source.path
        self._callbacks = callbacks
        self._decoder = decoder
        self._stats = stats
        self._validation = validation
        self._started = False
        self._loop = loop
        self._inbox = Inbox(loop)
        self._own_watcher: FileWatcher | None = None
        if watcher is None:
            watcher = self._own_watcher = FileWatcher(loop)
        watched = f"{source.watched_directory.path}/" if source.HasField("watched_directory") else self._path
        try:
            self._watch = watcher.add(watched, self._on_moved)
        except OSError as error:
            if self._own_watcher is not None:
                self._own_watcher.close()
            raise ConfigError(f"unable to add filesystem watch for file {watched}: {error.strerror}") from None

    def start(self, names: Iterable[str] = ()) -> None:
        """Read what is there already."""
        self._started = True
        self._inbox = Inbox(self._loop)
        self.refresh()

    def update_names(self, names: Iterable[str]) -> None:
        """A file has what it has; counted as with other transports."""
        self._stats.attempt()

    def request_on_demand(self, names: Iterable[str]) -> None:
        """A file has what it has."""

    def close(self) -> None:
        """Watch no more."""
        self._started = False
        self._inbox.close()
        self._watch.close()
        if self._own_watcher is not None:
            self._own_watcher.close()

    def _on_moved(self) -> None:
        if self._started:
            self.refresh()

    def refresh(self) -> None:
        """Read the file and hand on what is in it."""
        self._inbox.put(self._refresh)

    def _refresh(self) -> Steps[None] | None:
        log.debug("Filesystem config refresh for %s", self._path)
        self._stats.attempt()
        try:
            with gc_paused():
                content = self._read()
        except UnknownFieldError as error:
            self._reject(error)
            return None
        except ConfigError as error:
            log.warning("Filesystem config update failure: in %s, %s", self._path, error)
            self._stats.failure()
            self._callbacks.on_config_update_failed(FailureReason.UPDATE_REJECTED, error)
            return None
        return unless_small(self._take(content), self._size(content))

    def _take(self, content: Any) -> Steps[None]:
        try:
            version = yield from self._deliver(content)
        except ConfigError as error:
            self._reject(error)
            return
        if self._started:
            self._stats.success(version)
            log.debug("Filesystem config update accepted for %s", self._path)

    def _read(self) -> Any:
        """What the file holds; ConfigError when it cannot be read."""
        return self._load(discovery_pb2.DiscoveryResponse())

    def _load(self, message: Any) -> Any:
        """``message``, filled from the file; ConfigError."""
        source = read_file(self._path, message, not self._validation.refuses_unknown)
        self._validation.on_unknown(source.unknown)
        return message

    def _size(self, content: Any) -> int:
        """Bytes of what was read."""
        return int(content.ByteSize())

    def _deliver(self, content: Any) -> Steps[str]:
        """Hand on what was read, in slices; its version. ConfigError when it is refused."""
        version: str = content.version_info
        resources = yield from self._decoder.decode_all_steps(content)
        yield from self._hand_on(resources, version)
        return version

    def _hand_on(self, resources: Sequence[DecodedResource], version: str) -> Steps[None]:
        steps = self._callbacks.on_config_update(resources, version)
        if steps is not None:
            yield from steps

    def _reject(self, error: ConfigError) -> None:
        log.warning("Filesystem config update rejected: %s", error)
        self._stats.rejected()
        self._callbacks.on_config_update_failed(FailureReason.UPDATE_REJECTED, error)
