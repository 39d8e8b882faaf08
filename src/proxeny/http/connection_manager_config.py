"""``HttpConnectionManager``, compiled: everything about it that a request must not compute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.event.time_source import RealTimeSource
from proxeny.http.early_header_mutation import compile_early_mutations
from proxeny.http.filter_chain import FilterChain
from proxeny.http.forward_client_cert import compile_forward_client_cert
from proxeny.http.header_sanitizing import HeaderSanitizer
from proxeny.http.original_ip import compile_detections
from proxeny.http.path_normalization import compile_path_normalizer
from proxeny.http.proxy_status import ProxyStatus
from proxeny.http.request_id import compile_request_id
from proxeny.http.stats import HTTP, LISTENER_HTTP
from proxeny.http.tracing import compile_tracing

if TYPE_CHECKING:
    from proxeny.http.local_reply import LocalReplyRewriter
    from proxeny.network.factory_context import FactoryContext

STREAM_IDLE_TIMEOUT_MS = 300_000
CONNECTION_IDLE_TIMEOUT_MS = 3_600_000
DELAYED_CLOSE_TIMEOUT_MS = 1_000
DRAIN_TIMEOUT_MS = 5_000
MAX_REQUEST_HEADERS_KB = 60
MAX_HEADERS_COUNT = 100
AUTO, HTTP1, HTTP2 = 0, 1, 2
"""``codec_type``."""


def milliseconds(message: Any, field: str, default: int) -> int:
    """A Duration field in ms, or ``default`` where it is not set; a positive one is never rounded down to 0."""
    if not message.HasField(field):
        return default
    duration = getattr(message, field)
    total: int = duration.seconds * 1000 + duration.nanos // 1_000_000
    return total or (1 if duration.nanos else 0)


class UpgradeConfig:
    """One accepted upgrade type and the filters of its streams (None: the usual ones)."""

    __slots__ = ("chain", "enabled")

    def __init__(self, enabled: bool, chain: FilterChain | None) -> None:
        self.enabled = enabled
        self.chain = chain


class ConnectionManagerConfig:
    """The runtime form of one HttpConnectionManager; shared by all its connections."""

    __slots__ = (
        "__weakref__",
        "accept_http_10",
        "access_logs",
        "append_local_overload",
        "chain",
        "clock",
        "codec_settings",
        "codec_stats",
        "codec_type",
        "connection_idle_timeout_ms",
        "context",
        "default_host_for_http_10",
        "delayed_close_timeout_ms",
        "dispatcher",
        "drain_timeout_ms",
        "http2_settings",
        "http2_stats",
        "listener_stats",
        "local_info",
        "local_reply",
        "log_flush_interval_ms",
        "logs_new_requests",
        "logs_tunnels",
        "match_upstream_scheme",
        "max_connection_duration_ms",
        "max_requests_per_connection",
        "max_stream_duration_ms",
        "normalizes_path",
        "overload",
        "path_normalizer",
        "proxy_100_continue",
        "proxy_status",
        "random",
        "recent_failures",
        "request_headers_timeout_ms",
        "request_timeout_ms",
        "route_provider",
        "route_table",
        "sanitizer",
        "server_name",
        "server_overwrite",
        "server_pass_through",
        "soft_drain",
        "stat_prefix",
        "stats",
        "stream_error_on_invalid",
        "stream_flush_timeout_ms",
        "stream_idle_timeout_ms",
        "strip_any_port",
        "strip_matching_port",
        "strip_trailing_dot",
        "times_routes",
        "tracing",
        "upgrades",
    )

    def __init__(self, config: Any, context: FactoryContext, route_table: Any, chain: FilterChain) -> None:
        """``route_table``: None where there is none, or it is discovered (``use_routes``)."""
        self.context = context
        self.dispatcher = context.dispatcher
        self.clock = RealTimeSource() if context.dispatcher is None else context.dispatcher.time_source
        self.local_info = context.local_info
        self.random = context.random
        self.recent_failures = context.recent_failures
        self.overload = context.overload
        self.route_provider: Any = None
        """Where ``route_table`` comes from, if it is discovered."""
        self.chain = chain
        self.access_logs: tuple[Any, ...] = ()
        self.local_reply: LocalReplyRewriter | None = None
        """``local_reply_config``; set by whoever compiles this, as are the filters and logs."""
        self.log_flush_interval_ms = 0
        self.logs_new_requests = False
        self.logs_tunnels = False
        self.times_routes = False
        """Whether a log wants to know how long finding the route took."""
        self.codec_settings: Any = None
        self.codec_stats: Any = None
        self.codec_type = config.codec_type
        self.http2_settings: Any = None
        self.http2_stats: Any = None
        self.stat_prefix = f"http.{config.stat_prefix}."
        self.stats = context.stats.block(HTTP, self.stat_prefix)
        self.listener_stats = context.stats.block(LISTENER_HTTP, f"{context.listener_scope}http.{config.stat_prefix}.")
        self.sanitizer = HeaderSanitizer(config, context.local_info, context.random)
        self.use_routes(route_table)
        self.sanitizer.early_mutations = compile_early_mutations(config, context)
        self.sanitizer.detect_by(compile_detections(config, context))
        rules = compile_forward_client_cert(config, context)
        if rules is not None:
            self.sanitizer.forward_client_cert(rules)
        self.tracing = compile_tracing(config, compile_request_id(config, context), self.stats, context)
        scheme = config.scheme_header_transformation
        self.match_upstream_scheme = scheme.match_upstream and not scheme.scheme_to_overwrite
        self.upgrades: dict[bytes, UpgradeConfig] = {}
        self._set_timeouts(config)
        self._set_identity(config)
        self._set_http1(config)

    def use_routes(self, table: Any) -> None:
        """Route by this table from now on; None: no request has a route."""
        self.route_table = table
        self.sanitizer.internal_only = () if table is None else table.internal_only_headers

    def _set_timeouts(self, config: Any) -> None:
        common = config.common_http_protocol_options
        self.stream_idle_timeout_ms = milliseconds(config, "stream_idle_timeout", STREAM_IDLE_TIMEOUT_MS)
        self.stream_flush_timeout_ms = milliseconds(config, "stream_flush_timeout", -1)
        self.request_timeout_ms = milliseconds(config, "request_timeout", 0)
        self.request_headers_timeout_ms = milliseconds(config, "request_headers_timeout", 0)
        self.drain_timeout_ms = milliseconds(config, "drain_timeout", DRAIN_TIMEOUT_MS)
        self.delayed_close_timeout_ms = milliseconds(config, "delayed_close_timeout", DELAYED_CLOSE_TIMEOUT_MS)
        self.connection_idle_timeout_ms = milliseconds(common, "idle_timeout", CONNECTION_IDLE_TIMEOUT_MS)
        self.max_connection_duration_ms = milliseconds(common, "max_connection_duration", 0)
        self.max_stream_duration_ms = milliseconds(common, "max_stream_duration", 0)
        self.soft_drain = config.http1_safe_max_connection_duration
        self.max_requests_per_connection = common.max_requests_per_connection.value

    def _set_identity(self, config: Any) -> None:
        self.server_name = config.server_name.encode() or b"envoy"
        self.server_overwrite = config.server_header_transformation == config.OVERWRITE
        self.server_pass_through = config.server_header_transformation == config.PASS_THROUGH
        self.append_local_overload = config.append_local_overload
        self.proxy_100_continue = config.proxy_100_continue
        self.proxy_status: ProxyStatus | None = None
        if config.HasField("proxy_status_config"):
            self.proxy_status = ProxyStatus(config.proxy_status_config, self.server_name, self.local_info.node_id)
        http1 = config.http_protocol_options
        self.stream_error_on_invalid = (
            http1.override_stream_error_on_invalid_http_message
            if http1.HasField("override_stream_error_on_invalid_http_message")
            else config.stream_error_on_invalid_http_message
        ).value
        self.strip_matching_port = config.strip_matching_host_port
        self.strip_any_port = config.strip_any_host_port
        self.strip_trailing_dot = config.strip_trailing_host_dot
        self.path_normalizer = compile_path_normalizer(config, self.context)
        self.normalizes_path = bool(self.path_normalizer)

    def _set_http1(self, config: Any) -> None:
        http1 = config.http_protocol_options
        self.accept_http_10 = http1.accept_http_10
        self.default_host_for_http_10 = http1.default_host_for_http_10.encode()


def max_headers_count(config: Any, runtime: Any) -> int:
    """``common_http_protocol_options.max_headers_count``, default 100, which runtime may change."""
    common = config.common_http_protocol_options
    if common.HasField("max_headers_count"):
        return int(common.max_headers_count.value)
    key = "envoy.reloadable_features.max_request_headers_count"
    return MAX_HEADERS_COUNT if runtime is None else int(runtime.get_integer(key, MAX_HEADERS_COUNT))


def max_request_headers_kb(config: Any, runtime: Any) -> int:
    """``max_request_headers_kb``, default 60, which runtime may change."""
    if config.HasField("max_request_headers_kb"):
        return int(config.max_request_headers_kb.value)
    key = "envoy.reloadable_features.max_request_headers_size_kb"
    return MAX_REQUEST_HEADERS_KB if runtime is None else int(runtime.get_integer(key, MAX_REQUEST_HEADERS_KB))
