"""``envoy.access_loggers.file``: lines to a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import MessageToDict

from proxeny.access_log.access_log import AccessLog
from proxeny.access_log.config import create_file_access_log
from proxeny.access_log.filters import Filter
from proxeny.formatter import DEFAULT_FORMAT, Formatter, compile, compile_format_string, compile_json
from proxeny.formatter.http_commands import Table

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext


class FileAccessLogFactory:
    """Compiles ``extensions.access_loggers.file.v3.FileAccessLog``."""

    def create(self, config: Any, log_filter: Filter | None, context: FactoryContext) -> AccessLog:
        """A log; ConfigError when the format is bad or the file cannot be opened."""
        return create_file_access_log(config.path, _formatter(config, context.log_commands), log_filter, context)


def _formatter(config: Any, commands: Table | None) -> Formatter:
    chosen = config.WhichOneof("access_log_format")
    if chosen == "format":
        return compile(config.format, extra=commands) if config.format else compile(DEFAULT_FORMAT)
    if chosen in ("json_format", "typed_json_format"):
        return compile_json(MessageToDict(getattr(config, chosen)), extra=commands)
    if chosen == "log_format":
        return compile_format_string(config.log_format, commands).formatter
    return compile(DEFAULT_FORMAT)


FACTORY = FileAccessLogFactory()
