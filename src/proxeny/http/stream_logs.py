"""Access log records of requests: at their end, when they begin, and while they last (``access_log_options``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.access_log.config import compile_access_logs
from proxeny.config.errors import ConfigError
from proxeny.http.connection_manager_config import milliseconds

if TYPE_CHECKING:
    from proxeny.http.connection_manager_config import ConnectionManagerConfig
    from proxeny.http.downstream_filter_manager import DownstreamFilterManager
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.factory_context import FactoryContext
    from proxeny.network.stream_info import StreamInfo

ROUTE_TIME = "ROUTE_RESOLUTION_TIME_US"


def log_stream(stream: DownstreamFilterManager, log_type: bytes) -> None:
    """Write a record of a request to each of its connection manager's logs."""
    info = stream.stream_info
    info.downstream_stream = stream.encoder
    request, response, trailers = stream.request_headers, stream.response_headers, stream.response_trailers
    for log in stream.config.access_logs:
        log.log(request, response, trailers, info, log_type)


def timed_route(table: Any, headers: HeaderMap, info: StreamInfo, stream_id: int, clock: Any) -> Any:
    """The matched route; the time it took is added up, for those who log it."""
    start_ns = clock.monotonic_ns()
    route = table.route(headers, info, stream_id)
    info.route_resolution_ns += clock.monotonic_ns() - start_ns
    return route


def compile_stream_logs(compiled: ConnectionManagerConfig, config: Any, context: FactoryContext) -> None:
    """The logs of an HttpConnectionManager and when they are written; ConfigError in Envoy's words."""
    options = config
    if config.HasField("access_log_options"):
        for field in ("flush_access_log_on_new_request", "access_log_flush_interval"):
            if config.HasField(field) if field.endswith("interval") else getattr(config, field):
                raise ConfigError(f"Only one of {field} or access_log_options can be specified.")
        options = config.access_log_options
        compiled.logs_tunnels = options.flush_log_on_tunnel_successfully_established
    compiled.access_logs = compile_access_logs(config.access_log, context)
    if not compiled.access_logs:
        compiled.logs_tunnels = False
        return
    compiled.logs_new_requests = options.flush_access_log_on_new_request
    compiled.log_flush_interval_ms = milliseconds(options, "access_log_flush_interval", 0)
    compiled.times_routes = any(ROUTE_TIME in log.commands for log in compiled.access_logs)
