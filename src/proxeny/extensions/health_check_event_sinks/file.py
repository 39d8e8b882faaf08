"""envoy.health_check.event_sink.file: events as lines of JSON in a file."""

from __future__ import annotations

from typing import Any


class FileSinkFactory:
    """The file of a ``HealthCheckEventFileSink``."""

    def path(self, config: Any) -> str:
        """Where the lines go."""
        return str(config.event_log_path)


FACTORY = FileSinkFactory()
