"""The way in: a configuration file and/or text to a validated Bootstrap message."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from envoy.config.bootstrap.v3 import bootstrap_pb2
from google.protobuf import json_format, symbol_database
from google.protobuf.message import Message

from proxeny.config.errors import ConfigError


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


def load_bootstrap(path: str | None, yaml_text: str = "", *, options: LoadOptions | None = None) -> LoadedBootstrap:
    """The bootstrap of file `path` with `yaml_text` (--config-yaml) merged over it; raises ConfigError."""
    bootstrap = bootstrap_pb2.Bootstrap()
    for text in ([Path(path).read_text()] if path else []) + ([yaml_text] if yaml_text else []):
        part = bootstrap_pb2.Bootstrap()
        try:
            json_format.ParseDict(yaml.safe_load(text), part)
        except (json_format.ParseError, yaml.YAMLError) as error:
            raise ConfigError(str(error)) from error
        bootstrap.MergeFrom(part)
    return LoadedBootstrap(bootstrap)


def unpack_any(any_message: Any) -> Message:
    """The message inside an Any, of its own type; raises ConfigError for an unknown type."""
    name = any_message.type_url.rpartition("/")[2]
    try:
        message: Message = symbol_database.Default().GetSymbol(name)()
    except KeyError as error:
        raise ConfigError(f"could not find @type '{any_message.type_url}'") from error
    message.ParseFromString(any_message.value)
    return message


def duration_seconds(message: Any) -> float:
    """A google.protobuf.Duration in seconds."""
    return float(message.seconds + message.nanos * 1e-9)
