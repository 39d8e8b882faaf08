"""One secret that is discovered (Envoy: ``SdsApi``): its subscription, and the files that it names."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from envoy.extensions.transport_sockets.tls.v3 import secret_pb2

from proxeny.config.errors import ConfigError
from proxeny.event.slices import finish
from proxeny.secret import kinds
from proxeny.secret.file_set import read_file, read_stable
from proxeny.secret.sources import SharedSecret
from proxeny.stats.schema import Schema
from proxeny.xds.init_manager import InitTarget
from proxeny.xds.resource import DecodedResource, ResourceDecoder
from proxeny.xds.stats import SubscriptionStats, release_stats
from proxeny.xds.subscription import FailureReason

if TYPE_CHECKING:
    from proxeny.event.file_watcher import FileWatcher, Watch
    from proxeny.event.slices import Steps
    from proxeny.stats.store import MainStore
    from proxeny.xds.manager import XdsManager
    from proxeny.xds.validation import DynamicValidation

log = logging.getLogger("proxeny.secret")

SDS: Final = Schema("sds", counters=("key_rotation_failed",))
"""``sds.<name>.*``, beside those of every subscription."""
MOST_AT_ONCE: Final = 20
"""Users that take a secret in one turn of main's loop; more are built in slices."""
KEY_ROTATION_FAILED: Final = SDS.slot("key_rotation_failed")


class SdsApi(SharedSecret):
    """``value`` is the secret's own message, for example a ``TlsCertificate``, with the contents of its files."""

    def __init__(
        self,
        key: str,
        kind: str,
        name: str,
        on_unused: Callable[[SharedSecret], object],
        on_change: Callable[[SharedSecret], object],
    ) -> None:
        super().__init__(key, on_unused)
        self.kind = kind
        self.name = name
        self.version = "uninitialized"
        self.updated_at = time.time()
        self.shown: Any = None
        """What was delivered last, good or not, which /config_dump shows; None: nothing, or its files are missing."""
        self.target = InitTarget(f"SdsApi {name}", self._start, shared=True)
        """Starts it; ready once something came, or will not come."""
        self._on_change = on_change
        self._delivered: Any = None
        """That, with the names of its files instead of their contents."""
        self._taken: Any = None
        """The last delivered one that users took."""
        self._held: Any = None
        """The last value that all users took; ``value`` may be one that is still being offered."""
        self._files: dict[str, bytes] = {}
        self._watches: list[Watch] = []

    def connect(
        self,
        source: Any,
        xds: XdsManager,
        store: MainStore,
        validation: DynamicValidation,
        watcher: FileWatcher,
    ) -> None:
        """Make the subscription; ConfigError when ``source`` cannot be subscribed to."""
        self._store = store
        self._watcher = watcher
        prefix = f"sds.{self.name}."
        decoder = ResourceDecoder(secret_pb2.Secret, "name", validation)
        with store.recording() as self._table:
            self._stats = store.block(SDS, prefix)
            stats = SubscriptionStats(store, prefix)
        try:
            self._subscription = xds.subscribe(source, self, decoder, stats, watcher)
        except ConfigError:
            self._release()
            raise

    def _start(self) -> None:
        self._subscription.start([self.name])

    def close(self) -> None:
        """Nobody uses it any more."""
        self._unwatch()
        self._subscription.close()
        self.target.ready()
        self._release()

    def _release(self) -> None:
        release_stats(self._store, self._table, f"sds.{self.name}.")

    def serialized(self) -> bytes | None:
        """As it goes to the workers; None: it has not come yet."""
        data: bytes | None = None if self._held is None else self._held.SerializeToString()
        return data

    # -- the subscription --------------------------------------------------------------------------------------

    def on_config_update(self, resources: Sequence[DecodedResource], version: str) -> Steps[None] | None:
        """The secret, alone; ConfigError when it is another one, or somebody cannot use it."""
        return self._update(resources, version, 0)

    def _update(self, resources: Sequence[DecodedResource], version: str, removed: int) -> Steps[None] | None:
        try:
            secret = self._checked(resources, removed)
        except ConfigError as error:
            log.warning("sds: secret '%s' config rejected: %s", self.name, error)
            raise
        message = getattr(secret, self.kind)
        if message != self._delivered:
            self.version = version
        steps = self._take(message, is_known=message == self._taken and message == self._delivered)
        if len(self.users()) > MOST_AT_ONCE:
            return steps
        finish(steps)
        return None

    def _checked(self, resources: Sequence[DecodedResource], removed: int) -> Any:
        name = self.name
        if not resources and not removed:
            raise ConfigError(f"Missing SDS resources for {name} in onConfigUpdate()")
        if len(resources) + removed != 1:
            raise ConfigError(
                f"Unexpected SDS secrets length for {name}, number of added resources {len(resources)}, number of "
                f"removed resources {removed}. Expected sum is 1"
            )
        resource = resources[0]
        if resource.message.name != name:
            raise ConfigError(f"Unexpected SDS secret (expecting {name}): {resource.message.name}")
        if resource.error is not None:
            raise resource.error
        return resource.message

    def _take(self, message: Any, is_known: bool) -> Steps[None]:
        if not is_known:
            self._delivered, self.shown = message, None
            self._watch(message)
            try:
                files = read_stable(kinds.files_of(self.kind, message))
            except OSError as error:
                raise ConfigError(f"Invalid path: {error.filename}") from None
            yield from self._apply(message, files)
        self.updated_at = time.time()
        self.target.ready()

    def _apply(self, message: Any, files: dict[str, bytes]) -> Steps[None]:
        resolved = kinds.resolve(self.kind, message, files.__getitem__)
        self.shown = kinds.as_shown(self.kind, resolved)
        try:
            users = yield from self.offer_steps(resolved)
        except OSError as error:
            raise ConfigError(f"Invalid path: {error.filename}") from None
        self._taken, self._held, self._files = message, self.value, files
        for user in users:
            user.updated()
        self._on_change(self)

    def on_config_delta(
        self, added: Sequence[DecodedResource], removed: Sequence[str], version: str
    ) -> Steps[None] | None:
        """Likewise; that it was removed is no reason to use it no more."""
        if len(removed) == 1 and not added:
            self.target.ready()
            return None
        return self._update(added, added[0].version if added else version, len(removed))

    def on_config_update_failed(self, reason: FailureReason, error: ConfigError | None) -> None:
        """What there was holds; the subscription counted it."""
        if reason is not FailureReason.CONNECTION_FAILURE:
            self.target.ready()

    # -- files -------------------------------------------------------------------------------------------------

    def _watch(self, message: Any) -> None:
        """Hear of new files: in the directory that says so, else in those of the files."""
        if message.DESCRIPTOR.fields_by_name.get("watched_directory") and message.HasField("watched_directory"):
            directories = [message.watched_directory.path]
        else:
            # One for each file, as Envoy: a move beside two files that cannot be used counts twice.
            directories = [name.rpartition("/")[0] or "." for name in kinds.files_of(self.kind, message)]
        watches = []
        try:
            for directory in directories:
                watches.append(self._watcher.add(f"{directory}/", self._on_moved))
        except OSError as error:
            for watch in watches:
                watch.close()
            raise ConfigError(f"unable to add filesystem watch for file {directory}/: {error.strerror}") from None
        self._unwatch()
        self._watches = watches

    def _unwatch(self) -> None:
        for watch in self._watches:
            watch.close()
        self._watches = []

    def _on_moved(self) -> None:
        """Something was moved beside the files: take them if they differ."""
        try:
            files = read_stable(kinds.files_of(self.kind, self._delivered), read_file)
            if files != self._files:
                finish(self._apply(self._delivered, files))
        except (ConfigError, OSError) as error:
            words = f"Invalid path: {error.filename}" if isinstance(error, OSError) else str(error)
            log.error("Failed to reload certificates: %s; '%s' stays as it was", words, self.name)
            self._stats.inc(KEY_ROTATION_FAILED)
