"""Secrets where nobody manages any: files are read when somebody asks, and never again (tools, tests)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from proxeny.config.errors import ConfigError
from proxeny.secret.file_set import read_file
from proxeny.secret.kinds import UNKNOWN
from proxeny.secret.sources import SecretSources, ignore

if TYPE_CHECKING:
    from proxeny.secret.certificates import ContextCertificates


class DirectSecrets:
    """No static secrets, no subscriptions, no watching."""

    def sources(
        self, message: Any, build: Callable[[], object], count: Callable[[int], object] = ignore
    ) -> SecretSources:
        """What the user that is configured by ``message`` is built from."""
        return SecretSources(self, message, build, count)

    def read_for(self, user: SecretSources, path: str) -> bytes:
        """The content of a file; OSError."""
        return read_file(path)

    def find_for(self, user: SecretSources, kind: str, config: Any) -> Any | None:
        """There are none: ConfigError, or None for what would have to be fetched."""
        if config.HasField("sds_config"):
            return None
        raise ConfigError(f"{UNKNOWN[kind]}: {config.name}")

    def begun(self, user: SecretSources) -> None:
        """Nobody to be told."""

    def show(self, certificates: ContextCertificates) -> None:
        """Nobody looks."""
