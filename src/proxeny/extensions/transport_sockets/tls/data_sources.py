"""What a ``core.v3.DataSource`` of TLS holds, and how errors call it (``<inline>`` or its path).

Files are read through whoever watches them: ``read_file`` gives the bytes of a path, or an OSError.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias

from proxeny.config.errors import ConfigError

ReadFile: TypeAlias = Callable[[str], bytes]

INLINE: Final = "<inline>"


class Source(NamedTuple):
    """Bytes and where they are from; both empty where nothing is given."""

    data: bytes
    path: str


NOTHING: Final = Source(b"", "")


def read(config: Any, read_file: ReadFile) -> Source:
    """What may be missing: a file that cannot be read counts as empty; ConfigError in Envoy's words."""
    kind = config.WhichOneof("specifier")
    if kind is None:
        return NOTHING
    if kind == "filename":
        try:
            return Source(read_file(config.filename), config.filename)
        except OSError:
            return Source(b"", config.filename)
    data = _inline(config, kind)
    return Source(data, INLINE if data else "")


def read_present(config: Any, read_file: ReadFile) -> Source:
    """What may be empty but has to be there; ConfigError in Envoy's words."""
    if config.WhichOneof("specifier") != "filename":
        return read(config, read_file)
    path = config.filename
    try:
        return Source(read_file(path), path)
    except FileNotFoundError:
        raise ConfigError(f"Invalid path: {path}") from None
    except OSError as error:
        raise ConfigError(f"unable to read file: {path}") from error


def read_filled(config: Any, read_file: ReadFile) -> Source:
    """What may not be empty; ConfigError in Envoy's words."""
    found = read_present(config, read_file)
    if not found.data:
        raise ConfigError(f"file {found.path} is empty" if found.path else "DataSource cannot be empty")
    return found


def _inline(config: Any, kind: str) -> bytes:
    if kind == "inline_string":
        text: str = config.inline_string
        return text.encode("utf-8", "surrogateescape")
    if kind == "inline_bytes":
        return bytes(config.inline_bytes)
    value = os.environb.get(config.environment_variable.encode())
    if value is None:
        raise ConfigError(f"Environment variable doesn't exist: {config.environment_variable}")
    return value
