"""SecretSources: what one TLS context is made from, in main and in a worker alike.

Its owner says how to build (``build``, which replaces what it built before, all or nothing), begins once, and is built
anew whenever something changes that the last build asked for::

    class Factory:                                  # with "__weakref__" among its slots
        def __init__(self, message, context):
            self.sources = context.secrets.sources(message, self._build)
            self.sources.begin()                    # ConfigError, OSError

        def _build(self):
            certificate = self.sources.find(TLS_CERTIFICATE, message.sds_config)   # None: it has not come yet
            chain = self.sources.read(path)
            self.context = ...

In main a build that fails keeps the old content, for all who have it in common, and no worker hears of it.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from proxeny.event.slices import finish

if TYPE_CHECKING:
    from proxeny.event.slices import Steps
    from proxeny.secret.certificates import ContextCertificates


def ignore(count: int) -> None:
    """Nobody counts."""


class SecretStore(Protocol):
    """Where secrets are: main's manager, or a worker's copies."""

    def read_for(self, user: SecretSources, path: str) -> bytes:
        """The content of a file; OSError."""

    def find_for(self, user: SecretSources, kind: str, config: Any) -> Any | None:
        """The secret that a ``SdsSecretConfig`` names."""

    def begun(self, user: SecretSources) -> None:
        """The first build is over."""

    def show(self, certificates: ContextCertificates) -> None:
        """Have /certs and the gauges of expiration show them, as long as somebody holds them."""


class Secrets(Protocol):
    """What a factory context offers."""

    def sources(
        self, message: Any, build: Callable[[], object], count: Callable[[int], object] = ignore
    ) -> SecretSources:
        """What the user that is configured by ``message`` is built from."""


class SecretSources:
    """See the module. ``message`` is the configuration of the user: equal ones share their files.

    ``count``, which must not hold the owner, hears in main how many secrets were taken over from their subscriptions
    (``ssl_context_update_by_sds``).
    """

    __slots__ = ("__weakref__", "_begun", "_build", "_count", "_delivered", "_shown", "_store", "key")

    def __init__(
        self, store: SecretStore, message: Any, build: Callable[[], object], count: Callable[[int], object] = ignore
    ) -> None:
        self._store = store
        self._build = weakref.WeakMethod(build)  # the owner has this object: no cycle
        self._count = count
        self._begun = False
        self._delivered = 0
        self._shown: ContextCertificates | None = None
        self.key = file_key(message)
        """Names the files of the user."""

    @property
    def has_begun(self) -> bool:
        """Whether the first build is over."""
        return self._begun

    def begin(self) -> None:
        """The first build; raises whatever it raises."""
        self.rebuild()
        self._begun = True
        self._store.begun(self)
        if self._delivered:
            self._count(self._delivered)

    def rebuild(self) -> None:
        """Build anew; raises whatever that raises, and then nothing has changed."""
        build = self._build()
        if build is not None:
            build()

    def updated(self) -> None:
        """A secret was taken over from its subscription."""
        self._count(1)

    def read(self, path: str) -> bytes:
        """The content of a file, as main last accepted it; OSError."""
        return self._store.read_for(self, path)

    def find(self, kind: str, config: Any) -> Any | None:
        """The secret that a ``SdsSecretConfig`` names; None: it has not come yet. ConfigError."""
        message = self._store.find_for(self, kind, config)
        if not self._begun and message is not None and config.HasField("sds_config"):
            self._delivered += 1
        return message

    def show(self, certificates: ContextCertificates | None) -> None:
        """What the last build is made of, for /certs and the gauges of expiration; None: it waits for secrets."""
        self._shown = certificates
        if certificates is not None:
            self._store.show(certificates)


def file_key(message: Any) -> str:
    """The key of the files that a configuration message reads."""
    return f"files:{message.DESCRIPTOR.name}:{_digest(message)}"


def secret_key(kind: str, config: Any) -> str:
    """The key of the secret that a ``SdsSecretConfig`` names."""
    source = _digest(config.sds_config) if config.HasField("sds_config") else ""
    return f"{kind}:{source}:{config.name}"


def static_key(kind: str, name: str) -> str:
    """The key of a secret of the bootstrap."""
    return f"{kind}::{name}"


def _digest(message: Any) -> str:
    return hashlib.blake2b(message.SerializeToString(deterministic=True), digest_size=16).hexdigest()


class SharedSecret:
    """Something that users are built from and that may change: a secret, or the files of equal configurations."""

    def __init__(self, key: str, on_unused: Callable[[SharedSecret], object]) -> None:
        self.key = key
        self._on_unused = on_unused
        self._users: set[weakref.ref[SecretSources]] = set()
        self.value: Any = None
        """What holds; None: nothing has come yet."""

    def add_user(self, user: SecretSources) -> None:
        """Who is built anew when it changes; forgotten when it is gone."""
        self._users.add(weakref.ref(user, self._gone))

    def _gone(self, reference: weakref.ref[SecretSources]) -> None:
        self._users.discard(reference)
        if not self._users:
            self._on_unused(self)

    def users(self) -> list[SecretSources]:
        """Those that are left."""
        return [user for user in [reference() for reference in self._users] if user is not None]

    def close(self) -> None:
        """Nobody uses it any more."""

    def offer(self, value: Any) -> list[SecretSources]:
        """Have all users build with another value; who they are. What a build raises: all have what they had."""
        return finish(self.offer_steps(value))

    def offer_steps(self, value: Any) -> Steps[list[SecretSources]]:
        """``offer``, user by user; users that come meanwhile are among them."""
        before, self.value = self.value, value
        built: dict[SecretSources, None] = {}
        try:
            while waiting := [user for user in self.users() if user not in built]:
                for user in waiting:
                    user.rebuild()
                    built[user] = None
                    yield
        except Exception:
            self.value = before
            for other in built:
                other.rebuild()
            raise
        return list(built)
