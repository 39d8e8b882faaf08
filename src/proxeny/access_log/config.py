"""Compiles ``config.accesslog.v3.AccessLog`` messages (Envoy: AccessLogFactory::fromProto)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from proxeny.access_log.access_log import AccessLog, FileAccessLog, NullAccessLog
from proxeny.access_log.filters import Filter, compile_filter
from proxeny.access_log.manager import open_log
from proxeny.access_log.stats import FILESYSTEM, PREFIX
from proxeny.config.loader import unpack_any
from proxeny.config.message_types import type_name_of
from proxeny.formatter import Formatter
from proxeny.registry import REGISTRY

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext


def compile_access_logs(configs: Iterable[Any], context: FactoryContext) -> tuple[AccessLog, ...]:
    """The logs of one filter or listener, in order; ConfigError in Envoy's words."""
    return tuple([compile_access_log(config, context) for config in configs])


def compile_access_log(config: Any, context: FactoryContext) -> AccessLog:
    """One log; its registered factory has ``create(config, filter, context)``."""
    log_filter = compile_filter(config.filter, context) if config.HasField("filter") else None
    type_name = type_name_of(config.typed_config.type_url)
    factory = REGISTRY.factory("access_logger", config.name, type_name)
    made: AccessLog = factory.create(unpack_any(config.typed_config), log_filter, context)
    return made


def create_file_access_log(
    path: str, formatter: Formatter, log_filter: Filter | None, context: FactoryContext
) -> AccessLog:
    """A log to a path; in main it only checks that the file can be opened (it is created, as Envoy does)."""
    context.stats.block(FILESYSTEM, PREFIX)
    manager = context.access_log_manager
    if manager is None or not context.is_worker:
        os.close(open_log(path))
        return NullAccessLog()
    return FileAccessLog(manager.create_access_log(path), formatter, log_filter)
