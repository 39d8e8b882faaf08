"""``envoy.access_loggers.stdout`` and ``envoy.access_loggers.stderr``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.access_log.access_log import AccessLog
from proxeny.access_log.config import create_file_access_log
from proxeny.access_log.filters import Filter
from proxeny.access_log.manager import STDERR, STDOUT
from proxeny.formatter import DEFAULT_FORMAT, compile, compile_format_string

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext


class StreamAccessLogFactory:
    """Compiles ``extensions.access_loggers.stream.v3.StdoutAccessLog`` and ``StderrAccessLog``."""

    __slots__ = ("_stream",)

    def __init__(self, stream: str) -> None:
        self._stream = stream

    def create(self, config: Any, log_filter: Filter | None, context: FactoryContext) -> AccessLog:
        """A log; ConfigError when the format is bad."""
        if config.WhichOneof("access_log_format") == "log_format":
            formatter = compile_format_string(config.log_format, context.log_commands).formatter
        else:
            formatter = compile(DEFAULT_FORMAT)
        return create_file_access_log(self._stream, formatter, log_filter, context)


STDOUT_FACTORY = StreamAccessLogFactory(STDOUT)
STDERR_FACTORY = StreamAccessLogFactory(STDERR)
