"""A worker's copies of what main knows of secrets: key -> bytes, as ``SecretManager`` tells them.

Thousands of users of one secret are built anew in slices, while requests are served.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from proxeny.config.errors import ConfigError
from proxeny.secret import kinds
from proxeny.secret.file_set import decode
from proxeny.secret.sources import SecretSources, SharedSecret, ignore, secret_key

if TYPE_CHECKING:
    from proxeny.event.slices import Steps
    from proxeny.secret.certificates import ContextCertificates

log = logging.getLogger("proxeny.secret")


class WorkerSecrets:
    """Has users built anew when main tells of other content; who began with the old one keeps it."""

    def __init__(self) -> None:
        self._data: dict[str, bytes] = {}
        self._shared: dict[str, SharedSecret] = {}
        """What users are built from now, by key; its value is what the bytes stand for."""

    def sources(
        self, message: Any, build: Callable[[], object], count: Callable[[int], object] = ignore
    ) -> SecretSources:
        """What the user that is configured by ``message`` is built from. Main counts."""
        return SecretSources(self, message, build)

    # -- SecretStore -------------------------------------------------------------------------------------------

    def read_for(self, user: SecretSources, path: str) -> bytes:
        """The content of a file, as main read it; OSError."""
        files: dict[str, bytes] = self._find(user, user.key, decode) or {}
        if path not in files:
            raise FileNotFoundError(2, "main did not read it", path)
        return files[path]

    def find_for(self, user: SecretSources, kind: str, config: Any) -> Any | None:
        """The secret that a ``SdsSecretConfig`` names; None: it has not come yet."""
        return self._find(user, secret_key(kind, config), lambda data: kinds.message_of(kind, data))

    def _find(self, user: SecretSources, key: str, decode_value: Callable[[bytes], Any]) -> Any | None:
        shared = self._shared.get(key)
        if shared is None:
            shared = self._shared[key] = SharedSecret(key, self._on_unused)
        shared.add_user(user)
        if shared.value is None and key in self._data:
            shared.value = decode_value(self._data[key])
        return shared.value

    def show(self, certificates: ContextCertificates) -> None:
        """Main shows them."""

    def begun(self, user: SecretSources) -> None:
        """Nothing to be told to anybody."""

    def _on_unused(self, shared: SharedSecret) -> None:
        if self._shared.get(shared.key) is shared:
            del self._shared[shared.key]

    # -- messages ----------------------------------------------------------------------------------------------

    def update(self, secrets: Iterable[tuple[str, bytes | None]]) -> Steps[None]:
        """Main tells of other content; None: nobody uses it any more. One step per user."""
        for key, data in secrets:
            if data is None:
                self._data.pop(key, None)
                continue
            self._data[key] = data
            shared = self._shared.get(key)
            if shared is None:
                continue
            shared.value = None  # decoded by who asks first
            for user in shared.users():
                try:
                    user.rebuild()
                except (ConfigError, OSError, ValueError) as error:
                    log.error("a secret that main accepted cannot be used, what was there before stays: %s", error)
                yield
