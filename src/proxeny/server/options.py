"""What the command line asks for (Envoy: ``Server::Options``), checked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from proxeny.config.errors import ConfigError
from proxeny.server import flags
from proxeny.server.components import COMPONENTS, LEVELS


class Mode(Enum):
    """What to do with the configuration."""

    SERVE = "serve"
    VALIDATE = "validate"
    INIT_ONLY = "init_only"


class OptionsError(ConfigError):
    """A command line that parses but asks for something impossible; the text begins with ``error:``."""


@dataclass(slots=True)
class Options:
    """The flags' values; times in the unit that their flag names."""

    config_path: str = ""
    config_yaml: str = ""
    mode: Mode = Mode.SERVE
    concurrency: int = 1
    base_id: int = 0
    use_dynamic_base_id: bool = False
    base_id_path: str = ""
    restart_epoch: int = 0
    disable_hot_restart: bool = False
    parent_shutdown_time_s: int = 900
    drain_time_s: int = 600
    drain_strategy: str = "gradual"
    log_level: str = "info"
    component_log_level: str = ""
    component_log_levels: dict[str, str] = field(default_factory=dict)
    log_format: str = flags.DEFAULT_LOG_FORMAT
    log_format_escaped: bool = False
    log_stacktrace_single_entry: bool = False
    log_path: str = ""
    admin_address_path: str = ""
    local_address_ip_version: str = "v4"
    service_cluster: str = ""
    service_node: str = ""
    service_zone: str = ""
    allow_unknown_static_fields: bool = False
    reject_unknown_dynamic_fields: bool = False
    ignore_unknown_dynamic_fields: bool = False
    accept_unsupported_fields: bool = False
    accept_partial_updates: bool = False
    skip_deprecated_logs: bool = False
    file_flush_interval_msec: int = 10000
    file_flush_min_size_kb: int = 64
    cpuset_threads: bool = False
    enable_core_dump: bool = False
    patch: list[str] = field(default_factory=list)
    stats_tags: dict[str, str] = field(default_factory=dict)
    watch: bool = False
    information: str = ""
    """``help``, ``version`` or ``hot-restart-version`` when only that is to be printed."""
    notices: list[str] = field(default_factory=list)
    """Warnings to log once logging is set up."""

    @property
    def is_validate(self) -> bool:
        """Whether only the configuration is checked."""
        return self.mode is Mode.VALIDATE


_DIRECT = (
    "config_path", "config_yaml", "base_id", "use_dynamic_base_id", "base_id_path", "restart_epoch",
    "disable_hot_restart", "parent_shutdown_time_s", "drain_time_s", "log_level", "component_log_level",
    "log_format", "log_format_escaped", "log_stacktrace_single_entry", "log_path", "admin_address_path",
    "service_cluster", "service_node", "service_zone", "allow_unknown_static_fields",
    "reject_unknown_dynamic_fields", "ignore_unknown_dynamic_fields", "accept_unsupported_fields",
    "accept_partial_updates", "skip_deprecated_logs", "file_flush_interval_msec", "file_flush_min_size_kb",
    "cpuset_threads", "enable_core_dump", "patch", "watch",
)  # fmt: skip


def options_from(argv: Sequence[str]) -> Options:
    """Options of a command line without the program's name.

    Raises flags.ArgumentError when it does not parse, OptionsError when a value or a combination is refused.
    """
    values = flags.parse(argv)
    if "help" in values or "version" in values:
        return Options(information=next(iter(values)))
    for flag in flags.FLAGS:
        if not flag.supported and flag.name in values:
            raise OptionsError(f"error: --{flag.name} is not supported yet")
    options = Options()
    for name in _DIRECT:
        value = values.get(name.replace("_", "-"))
        if value is not None:
            setattr(options, name, value)
    _check_logging(options)
    _check_modes(options, values)
    _check_hot_restart(options)
    options.stats_tags = _stats_tags(values.get("stats-tag", []))
    options.concurrency = _concurrency(values.get("concurrency"), options.cpuset_threads)
    if values.get("hot-restart-version"):
        options.information = "hot-restart-version"
    if values.get("allow-unknown-fields"):
        options.allow_unknown_static_fields = True
        options.notices.append("--allow-unknown-fields is deprecated, use --allow-unknown-static-fields instead.")
    return options


def _check_logging(options: Options) -> None:
    if options.log_level not in LEVELS:
        raise OptionsError(f"error: invalid log level specified '{options.log_level}'")
    if not options.component_log_level:
        return
    for item in options.component_log_level.split(","):
        component, colon, level = item.partition(":")
        if not colon or ":" in level:
            raise OptionsError(f"error: component log level not correctly specified '{item}'")
        if level not in LEVELS:
            raise OptionsError(f"error: invalid log level specified '{level}'")
        if component not in COMPONENTS:
            raise OptionsError(f"error: invalid component specified '{component}'")
        options.component_log_levels[component] = level


def _check_modes(options: Options, values: dict[str, flags.Value]) -> None:
    mode = values.get("mode", "serve")
    if mode not in {known.value for known in Mode}:
        raise OptionsError(f"error: unknown mode '{mode}'")
    options.mode = Mode(mode)
    version = str(values.get("local-address-ip-version", "v4"))
    if version not in ("v4", "v6"):
        raise OptionsError(f"error: unknown IP address version '{version}'")
    options.local_address_ip_version = version
    strategy = str(values.get("drain-strategy", "gradual"))
    if strategy not in ("gradual", "immediate"):
        raise OptionsError(f"error: unknown drain-strategy '{strategy}'")
    options.drain_strategy = strategy


def _check_hot_restart(options: Options) -> None:
    if options.restart_epoch and options.use_dynamic_base_id:
        raise OptionsError(f"error: cannot use --restart-epoch={options.restart_epoch} with --use-dynamic-base-id")
    if options.restart_epoch:
        raise OptionsError("error: --restart-epoch above 0: hot restart is not supported yet")


def _stats_tags(listed: flags.Value) -> dict[str, str]:
    tags: dict[str, str] = {}
    assert isinstance(listed, list)
    for item in listed:
        name, colon, value = item.partition(":")
        if not colon or not name or not value:
            raise OptionsError(f"error: misformatted stats-tag '{item}'")
        if not (name.isascii() and name.isalnum()):
            raise OptionsError(f"error: misformatted stats-tag '{item}' contains invalid char in '{name}'")
        if "." in value:
            raise OptionsError(f"error: misformatted stats-tag '{item}' contains invalid char in '{value}'")
        if tags.setdefault(name, value) != value:
            raise OptionsError(f"error: stats-tag '{name}' has more than one value")
    return tags


def _concurrency(asked: flags.Value | None, cpuset: bool) -> int:
    if asked is not None:
        return max(1, int(str(asked)))
    return len(os.sched_getaffinity(0)) if cpuset else os.cpu_count() or 1
