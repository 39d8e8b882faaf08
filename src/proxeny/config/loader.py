"""The way in: a configuration file and/or text to a checked Bootstrap message, and Any contents to checked messages."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from envoy.config.bootstrap.v3 import bootstrap_pb2
from google.protobuf.message import Message

from proxeny.config.anys import open_any
from proxeny.config.deprecation import DeprecatedUse
from proxeny.config.errors import ConfigError
from proxeny.config.inspector import Findings, Inspector
from proxeny.config.sources import Source, read_file, read_yaml
from proxeny.config.validate import inspect

if TYPE_CHECKING:
    from proxeny.config.patch.applied import AppliedPatches

# Contents of Anys that passed, by hash: several parts unpack the same one, and big route tables take long to check.
_CHECKED: Final[set[int]] = set()
_MAX_CHECKED: Final = 4096


@dataclass(slots=True)
class LoadOptions:
    """What the command line says about loading (each field names its flag)."""

    allow_unknown_static_fields: bool = False
    reject_unknown_dynamic_fields: bool = False
    ignore_unknown_dynamic_fields: bool = False
    skip_deprecated_logs: bool = False
    accept_unsupported_fields: bool = False
    patch: tuple[str, ...] = ()
    service_node: str = ""


@dataclass(slots=True)
class LoadedBootstrap:
    """A bootstrap that passed every check of form, with what is worth telling about it."""

    bootstrap: Any
    warnings: list[str] = field(default_factory=list)
    patches: AppliedPatches | None = None
    deprecated: list[DeprecatedUse] = field(default_factory=list)
    """To be judged by the runtime."""
    unknown_fields: int = 0
    wip_uses: int = 0
    accepted_fields: list[str] = field(default_factory=list)
    unsupported_fields: list[str] = field(default_factory=list)


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
    patches = None
    if options.patch:
        # Imported late: only who patches needs the messages of everything that can be patched.
        from proxeny.config.patch.applied import AppliedPatches

        patches = AppliedPatches(options.patch, options.allow_unknown_static_fields, options.service_node)
        patches.apply(bootstrap)
    findings = Findings(options.accept_unsupported_fields)
    try:
        inspect(bootstrap, Inspector(findings))
    except ConfigError as error:
        if patches is None:
            raise _placed(error, sources) from error.__cause__
        accept = options.accept_unsupported_fields
        raise patches.guilty(error, accept, lambda found: _placed(found, sources)) from error.__cause__
    if patches is not None:
        patches.settle()
    return _loaded(bootstrap, findings, sources, options, patches)


def _placed(error: ConfigError, sources: list[Source]) -> ConfigError:
    """`error` with the place it was written at; what was merged from two texts has no single place."""
    return sources[0].place(error) if len(sources) == 1 else error


def _loaded(
    bootstrap: Any, findings: Findings, sources: list[Source], options: LoadOptions, patches: AppliedPatches | None
) -> LoadedBootstrap:
    unknown = [text for source in sources for text in source.unknown]
    unknown += [] if patches is None else patches.unknown
    warnings = [f"Unknown field: {text}" for text in unknown]
    warnings += findings.wip
    warnings += [f"the field {path} is accepted, but has no effect in this build" for path in findings.accepted]
    warnings += [f"the field {path} is not supported by this build and ignored" for path in findings.unsupported]
    warnings += [] if patches is None else patches.warnings
    return LoadedBootstrap(
        bootstrap,
        warnings,
        patches,
        deprecated=findings.deprecated,
        unknown_fields=sum(bool(source.unknown) for source in sources) + bool(patches is not None and patches.unknown),
        wip_uses=len(findings.wip),
        accepted_fields=findings.accepted,
        unsupported_fields=findings.unsupported,
    )


def unpack_any(any_message: Any) -> Message:
    """The message inside an Any, of its own type (a TypedStruct becomes the message it describes). Do not change it.

    Raises ConfigError for an unknown type, for bytes that are not of that type and for broken constraints.
    """
    message = open_any(any_message)
    content = hash((any_message.type_url, any_message.value))
    if content not in _CHECKED:
        inspect(message)
        if len(_CHECKED) >= _MAX_CHECKED:
            _CHECKED.clear()
        _CHECKED.add(content)
    return message


def duration_seconds(message: Any) -> float:
    """A google.protobuf.Duration in seconds."""
    return float(message.seconds + message.nanos * 1e-9)


def duration_ms(message: Any) -> int:
    """A google.protobuf.Duration in whole milliseconds, rounded down (Envoy: DurationUtil::durationToMilliseconds)."""
    return int(message.seconds) * 1000 + int(message.nanos) // 1_000_000
