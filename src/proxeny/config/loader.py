"""The way in: a configuration file and/or text to a checked Bootstrap message, and Any contents to checked messages."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from envoy.config.bootstrap.v3 import bootstrap_pb2
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message

from proxeny.config.builder import Builder
from proxeny.config.errors import ConfigError
from proxeny.config.message_types import message_class, type_name_of
from proxeny.config.sources import Source, read_file, read_yaml

_TYPED_STRUCTS: Final = frozenset(("xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct"))


@dataclass(slots=True)
class LoadOptions:
    """What the command line says about loading (each field names its flag)."""

    allow_unknown_static_fields: bool = False
    reject_unknown_dynamic_fields: bool = False
    ignore_unknown_dynamic_fields: bool = False
    skip_deprecated_logs: bool = False
    accept_unsupported_fields: bool = False


@dataclass(slots=True)
class LoadedBootstrap:
    """A bootstrap that passed every check of form, with what is worth telling about it."""

    bootstrap: Any
    warnings: list[str] = field(default_factory=list)
    deprecated_uses: int = 0
    unknown_fields: int = 0
    accepted_fields: list[str] = field(default_factory=list)


@contextmanager
def gc_paused() -> Iterator[None]:
    """No cycle collection while many objects that all stay are made."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def load_bootstrap(path: str | None, yaml: str = "", *, options: LoadOptions | None = None) -> LoadedBootstrap:
    """The bootstrap of file `path` with `yaml` (--config-yaml) merged over it; raises ConfigError."""
    if not path and not yaml:
        raise ConfigError(
            "At least one of --config-path or --config-yaml or Options::configProto() should be non-empty"
        )
    with gc_paused():
        return _load(path, yaml, options or LoadOptions())


def _load(path: str | None, yaml: str, options: LoadOptions) -> LoadedBootstrap:
    bootstrap = bootstrap_pb2.Bootstrap()
    sources: list[Source] = []
    if path:
        sources.append(read_file(path, bootstrap, options.allow_unknown_static_fields))
    if yaml:
        override = bootstrap_pb2.Bootstrap()
        sources.append(read_yaml(yaml, override, options.allow_unknown_static_fields))
        bootstrap.MergeFrom(override)
    loaded = LoadedBootstrap(bootstrap)
    for source in sources:
        loaded.unknown_fields += bool(source.unknown)
        loaded.warnings.extend(f"Unknown field: {text}" for text in source.unknown)
    return loaded


def unpack_any(any_message: Any) -> Message:
    """The message inside an Any, of its own type (a TypedStruct becomes the message it describes).

    Raises ConfigError for an unknown type, for bytes that are not of that type and for broken constraints.
    """
    type_name = type_name_of(any_message.type_url)
    message = _new_message(type_name, any_message.type_url)
    try:
        message.ParseFromString(any_message.value)
    except DecodeError as error:
        raise ConfigError(f"Unable to unpack as {type_name}: the content is malformed") from error
    if type_name in _TYPED_STRUCTS:
        message = _resolve_typed_struct(message)
    return message


def _new_message(type_name: str, type_url: str) -> Message:
    try:
        return message_class(type_name)()
    except KeyError:
        raise ConfigError(f"could not find @type '{type_url}'") from None


def _resolve_typed_struct(typed_struct: Any) -> Message:
    message = _new_message(type_name_of(typed_struct.type_url), typed_struct.type_url)
    Builder().build(message, json_format.MessageToDict(typed_struct.value))
    return message


def duration_seconds(message: Any) -> float:
    """A google.protobuf.Duration in seconds."""
    return float(message.seconds + message.nanos * 1e-9)


def duration_ms(message: Any) -> int:
    """A google.protobuf.Duration in whole milliseconds, rounded down (Envoy: DurationUtil::durationToMilliseconds)."""
    return int(message.seconds) * 1000 + int(message.nanos) // 1_000_000
