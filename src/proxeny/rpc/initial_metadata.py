"""``GrpcService.initial_metadata``: what is sent with every stream and call."""

from __future__ import annotations

import string
from typing import Any, Final

from proxeny.config.errors import ConfigError

_KEY: Final = frozenset(string.ascii_letters + string.digits + "_.-")
_VALUE: Final = frozenset(map(chr, range(0x20, 0x7F)))


def check_initial_metadata(service: Any) -> None:
    """ConfigError in Envoy's words for what gRPC does not allow; only clients over grpcio ask."""
    for header in service.initial_metadata:
        if not _KEY.issuperset(header.key):
            raise ConfigError(f"Illegal characters in gRPC initial metadata header key: {header.key}.")
        if not header.key.endswith("-bin") and not _VALUE.issuperset(header.value):
            raise ConfigError(f"Illegal ASCII value for gRPC initial metadata header key: {header.key}.")


def literal_metadata(service: Any) -> tuple[tuple[str, str | bytes], ...]:
    """As grpcio wants it."""
    found: list[tuple[str, str | bytes]] = []
    for header in service.initial_metadata:
        key = header.key.lower()
        value = header.value.replace("%%", "%")
        found.append((key, value.encode() if key.endswith("-bin") else value))
    return tuple(found)
