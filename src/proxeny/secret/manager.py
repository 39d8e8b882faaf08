"""Main's secrets (Envoy: ``SecretManagerImpl``): those of the bootstrap, discovered ones, and files.

Whatever workers need of them is told through ``on_change`` before the listener or cluster that uses it: a key and
bytes, None for what nobody uses any more. A new worker gets ``snapshot()``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError
from proxeny.event.file_watcher import FileWatcher
from proxeny.secret import kinds
from proxeny.secret.certificates import ContextCertificates, LiveCertificates
from proxeny.secret.file_set import SECRET_FILES, FileSet
from proxeny.secret.sds_api import SdsApi
from proxeny.secret.sources import SecretSources, SharedSecret, ignore, secret_key, static_key
from proxeny.xds.config_source import is_passed_over
from proxeny.xds.init_manager import InitManager

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher
    from proxeny.stats.store import MainStore
    from proxeny.xds.manager import XdsManager
    from proxeny.xds.validation import DynamicValidation

log = logging.getLogger("proxeny.secret")


SECRET_TYPE: Final = "envoy.extensions.transport_sockets.tls.v3.Secret"


class SecretManager:
    """All secrets of the server; without a ``dispatcher`` (validation) nothing is subscribed to or watched."""

    def __init__(
        self,
        store: MainStore,
        node: Any,
        dispatcher: Dispatcher | None,
        validation: Callable[[], DynamicValidation],
        xds: XdsManager,
        options: Any = None,
    ) -> None:
        """``node``: ``config.core.v3.Node``."""
        self._store = store
        self._node = node
        self._dispatcher = dispatcher
        self._validation = validation
        self._xds = xds
        self._options = options
        self.static: dict[str, Any] = {}
        """``Secret`` messages of the bootstrap, by ``static_key``."""
        self._in_use: dict[str, SharedSecret] = {}
        """Those that have users, and their contents."""
        self._dynamic: dict[str, SdsApi] = {}
        self._files: dict[str, FileSet] = {}
        self._awaited: dict[SdsApi, None] = {}
        """Those that the first build of a user asked for: they may come once it is over, and are waited for."""
        self.init_manager: Callable[[], InitManager | None] = lambda: None
        """Whose targets they are: of what is being compiled; None: nobody waits."""
        self.certificates = LiveCertificates(store)
        """Those that are in use."""
        self._closed = False
        self._moved: FileWatcher | None = None
        self._written: FileWatcher | None = None
        self._is_blind = False
        self.on_change: Callable[[str, bytes | None], object] = lambda key, data: None
        """Told what workers must know."""

    # -- configuration -----------------------------------------------------------------------------------------

    def add_static(self, secrets: Iterable[Any]) -> None:
        """Take the bootstrap's secrets; ConfigError."""
        for secret in secrets:
            kind = secret.WhichOneof("type")
            if kind is None:
                raise ConfigError("Secret type not implemented")
            key = static_key(kind, secret.name)
            if key in self.static:
                raise ConfigError(f"Duplicate static {kinds.LABELS[kind]} secret name {secret.name}")
            self.static[key] = secret

    def put_static(self, secret: Any) -> None:
        """Add a secret of the bootstrap, or replace it while it is in use; ConfigError, OSError: nothing changed."""
        kind = secret.WhichOneof("type")
        key = static_key(kind, secret.name)
        content = getattr(secret, kind)
        shared = self._in_use.get(key)
        if shared is not None:
            shared.offer(content)
            for user in shared.users():
                self._tell_files(user)
        self.static[key] = secret
        self.on_change(key, content.SerializeToString())

    def remove_static(self, kind: str, name: str) -> None:
        """Nobody is given it any more; who has it keeps it."""
        key = static_key(kind, name)
        del self.static[key]
        if key not in self._in_use:
            self.on_change(key, None)

    def _use_static(self, user: SecretSources, key: str, content: Any) -> Any:
        shared = self._in_use.get(key)
        if shared is None:
            shared = self._in_use[key] = SharedSecret(key, self._on_static_unused)
            shared.value = content
        shared.add_user(user)
        return shared.value

    def _on_static_unused(self, shared: SharedSecret) -> None:
        if self._in_use.get(shared.key) is shared:
            del self._in_use[shared.key]
            if shared.key not in self.static and not self._closed:
                self.on_change(shared.key, None)

    def reread_files(self) -> None:
        """Look at all files of configuration anew, also where nobody watches them."""
        for files in list(self._files.values()):
            files.check()

    def sources(
        self, message: Any, build: Callable[[], object], count: Callable[[int], object] = ignore
    ) -> SecretSources:
        """What the user that is configured by ``message`` is built from."""
        return SecretSources(self, message, build, count)

    # -- SecretStore -------------------------------------------------------------------------------------------

    def read_for(self, user: SecretSources, path: str) -> bytes:
        """The content of a file; OSError."""
        files = self._files.get(user.key)
        if files is None:
            files = self._files[user.key] = self._new_files(user.key)
        files.add_user(user)
        return files.read(path)

    def _new_files(self, key: str) -> FileSet:
        with self._store.recording():
            stats = self._store.block(SECRET_FILES, "secret_files.")
        return FileSet(key, self._on_unused, self._dispatcher, self._file_watcher(), stats, self._tell)

    def _file_watcher(self) -> FileWatcher | None:
        """For files of configuration: they serve unwatched where the system has no more watchers."""
        if self._written is None and self._dispatcher is not None and not self._is_blind:
            try:
                self._written = FileWatcher(self._dispatcher, written=True)
            except OSError as error:
                self._is_blind = True
                log.error("changes of certificate files are not noticed: %s", error.strerror)
        return self._written

    def find_for(self, user: SecretSources, kind: str, config: Any) -> Any | None:
        """The secret that a ``SdsSecretConfig`` names; ConfigError where there is none, or it cannot be had."""
        if not config.HasField("sds_config"):
            key = static_key(kind, config.name)
            static = self.static.get(key)
            if static is None:
                shared = self._in_use.get(key)
                if shared is None or user not in shared.users():
                    raise ConfigError(f"{kinds.UNKNOWN[kind]}: {config.name}")
                return shared.value
            return self._use_static(user, key, getattr(static, kind))
        key = secret_key(kind, config)
        secret = self._dynamic.get(key)
        if secret is None:
            self._check(kind, config)
            if self._dispatcher is None or is_passed_over(config.sds_config, self._options):
                return None
            secret = SdsApi(key, kind, config.name, self._on_unused, self._tell)
            watcher = self._watcher(self._dispatcher)
            secret.connect(config.sds_config, self._xds, self._store, self._validation(), watcher)
            self._dynamic[key] = secret
        secret.add_user(user)
        if not user.has_begun:
            self._awaited[secret] = None
        return secret.value

    def _check(self, kind: str, config: Any) -> None:
        if not (self._node.id and self._node.cluster):
            raise ConfigError(
                f"{kinds.LABELS[kind]}SdsApi: node 'id' and 'cluster' are required. Set it either in 'node' config or "
                "via --service-node and --service-cluster options."
            )
        if not is_passed_over(config.sds_config, self._options):
            self._xds.check_source(config.sds_config, SECRET_TYPE)

    def _watcher(self, dispatcher: Dispatcher) -> FileWatcher:
        if self._moved is None:
            try:
                self._moved = FileWatcher(dispatcher)
            except OSError as error:
                raise ConfigError(f"unable to watch files of secrets: {error.strerror}") from None
        return self._moved

    def show(self, certificates: ContextCertificates) -> None:
        """A context is in use that is made of these."""
        self.certificates.add(certificates)

    def begun(self, user: SecretSources) -> None:
        """The first build is over: what it subscribed to may come; workers must know the files before they build."""
        awaited, self._awaited = self._awaited, {}
        for secret in awaited:
            if self._dynamic.get(secret.key) is secret and secret.users():
                self._await(secret)
        self._tell_files(user)

    def _await(self, secret: SdsApi) -> None:
        manager = self.init_manager()
        if manager is not None:
            manager.add(secret.target)
            return
        alone = InitManager(secret.target.name)
        alone.add(secret.target)
        alone.initialize(lambda: None)

    # -- what workers are told ---------------------------------------------------------------------------------

    def _tell(self, secret: SharedSecret) -> None:
        """A secret or files changed, and their users took it."""
        for user in secret.users():
            self._tell_files(user)  # it may have read others
        if isinstance(secret, SdsApi):
            self.on_change(secret.key, secret.serialized())

    def _tell_files(self, user: SecretSources) -> None:
        files = self._files.get(user.key)
        if files is not None and not files.is_sent:
            files.is_sent = True
            self.on_change(files.key, files.serialized())

    def _on_unused(self, secret: SharedSecret) -> None:
        if self._dispatcher is None or self._closed:
            return
        # A listener or cluster that is leaving has the workers told so in this turn: they hear of that first.
        self._dispatcher.call_soon(self._drop, secret)

    def _drop(self, secret: SharedSecret) -> None:
        if secret.users():
            return
        known: dict[str, Any] = self._files if isinstance(secret, FileSet) else self._dynamic
        if known.get(secret.key) is secret:
            del known[secret.key]
            secret.close()
            self.on_change(secret.key, None)

    def snapshot(self) -> list[tuple[str, bytes]]:
        """What a new worker must know before its clusters and listeners."""
        found = [(key, getattr(secret, secret.WhichOneof("type"))) for key, secret in self.static.items()]
        found += [(key, shared.value) for key, shared in self._in_use.items() if key not in self.static]
        told = [(key, message.SerializeToString()) for key, message in found]
        for key, secret in self._dynamic.items():
            data = secret.serialized()
            if data is not None:
                told.append((key, data))
        return told + [(key, files.serialized()) for key, files in self._files.items()]

    # -- for admin ---------------------------------------------------------------------------------------------

    def static_by_kind(self) -> list[Any]:
        """Those of the bootstrap, kind by kind."""
        return sorted(self.static.values(), key=lambda secret: kinds.KINDS.index(secret.WhichOneof("type")))

    def dynamic(self) -> list[SdsApi]:
        """Those that are subscribed to, kind by kind."""
        found = list(self._dynamic.values())
        return sorted(found, key=lambda secret: kinds.KINDS.index(secret.kind))

    def close(self) -> None:
        """The server ends."""
        self._closed = True
        for secret in (*self._dynamic.values(), *self._files.values()):
            secret.close()
        self._dynamic.clear()
        self._files.clear()
        for watcher in (self._moved, self._written):
            if watcher is not None:
                watcher.close()
