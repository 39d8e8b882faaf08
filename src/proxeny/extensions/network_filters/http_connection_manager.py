"""``envoy.filters.network.http_connection_manager``: compiles its configuration, makes one manager per connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.config.errors import ConfigError
from proxeny.event.slices import finish
from proxeny.http.connection_manager import ConnectionManager
from proxeny.http.connection_manager_config import (
    HTTP2,
    ConnectionManagerConfig,
    max_headers_count,
    max_request_headers_kb,
)
from proxeny.http.filter_compiler import compile_filters
from proxeny.http.http1.settings import Http1Settings
from proxeny.http.http1.stats import codec_stats
from proxeny.http.http2.settings import Http2Settings, compile_http2
from proxeny.http.http2.stats import HTTP2 as HTTP2_STATS
from proxeny.http.stream_logs import compile_stream_logs
from proxeny.http.upgrades import compile_upgrades
from proxeny.router.local_reply_config import LocalReplyMappers
from proxeny.router.route_table import RouteTable
from proxeny.router.scoped_routes import ScopedRouteTable, compile_fragments

if TYPE_CHECKING:
    from proxeny.event.slices import Steps
    from proxeny.network.factory_context import FactoryContext
    from proxeny.router.rds.provider import RouteConfigProvider, ScopedRoutesProvider

NAME = "envoy.filters.network.http_connection_manager"


class HttpConnectionManagerFilter:
    """One configured connection manager: the network filter factory."""

    __slots__ = ("config",)

    name = NAME
    is_terminal = True

    def __init__(self, config: ConnectionManagerConfig) -> None:
        self.config = config

    def create(self) -> ConnectionManager:
        """The manager of one connection."""
        return ConnectionManager(self.config)

    def describe(self) -> str:
        """Where requests go, for people."""
        routes = self.config.route_table or self.config.route_provider
        return "HTTP, without routes" if routes is None else f"HTTP by the route configuration '{routes.name}'"


def compile_server(config: Any, runtime: Any) -> Http2Settings:
    """``http2_protocol_options`` and the manager's limits."""
    invalid = config.stream_error_on_invalid_http_message
    key = "envoy.reloadable_features.http2_discard_host_header"
    return compile_http2(
        config.http2_protocol_options,
        max_headers_kb=max_request_headers_kb(config, runtime),
        max_headers_count=max_headers_count(config, runtime),
        headers_with_underscores_action=config.common_http_protocol_options.headers_with_underscores_action,
        stream_error_on_invalid=invalid.value if config.HasField("stream_error_on_invalid_http_message") else None,
        discard_host=True if runtime is None else runtime.get_boolean(key, True),
    )


class HttpConnectionManagerExtension:
    """The registered factory."""

    is_terminal = True

    def create_filter_factory(self, config: Any, context: FactoryContext) -> HttpConnectionManagerFilter:
        """Compile ``config``; ConfigError in Envoy's words."""
        return finish(self.create_filter_factory_steps(config, context))

    def create_filter_factory_steps(self, config: Any, context: FactoryContext) -> Steps[HttpConnectionManagerFilter]:
        """The same in slices: of routes there may be very many."""
        if config.codec_type > HTTP2:
            raise ConfigError("HTTP/3 codec configured on non-QUIC listener.")
        if config.HasField("typed_header_validation_config"):
            raise ConfigError(
                "This Envoy binary does not support header validator extensions.: "
                f"'{config.typed_header_validation_config.name}'"
            )
        if config.common_http_protocol_options.HasField("max_response_headers_kb"):
            raise ConfigError("Error: max_response_headers_kb cannot be set on http_connection_manager.")
        stat_prefix = f"http.{config.stat_prefix}."
        table, provider = yield from _routes_of(config, stat_prefix, context)
        chain = compile_filters(config.http_filters, stat_prefix, context)
        compiled = ConnectionManagerConfig(config, context, table, chain)
        if isinstance(table, ScopedRouteTable) and (provider is not None or table.has_internal_only_headers):
            compiled.sanitizer.scopes = table
        if provider is not None:
            compiled.route_provider = provider
            provider.attach(compiled)
        compiled.upgrades = compile_upgrades(config, stat_prefix, context)
        compile_stream_logs(compiled, config, context)
        if config.HasField("local_reply_config"):
            compiled.local_reply = LocalReplyMappers.compile(config.local_reply_config, context)
        compiled.codec_settings = Http1Settings.from_proto(
            config.http_protocol_options,
            max_headers_kb=max_request_headers_kb(config, context.runtime),
            max_headers_count=max_headers_count(config, context.runtime),
            headers_with_underscores_action=config.common_http_protocol_options.headers_with_underscores_action,
        )
        compiled.codec_stats = codec_stats(context.stats, "http1.")
        compiled.http2_settings = compile_server(config, context.runtime)
        compiled.http2_stats = context.stats.block(HTTP2_STATS, "http2.")
        return HttpConnectionManagerFilter(compiled)


def _routes_of(
    config: Any, stat_prefix: str, context: FactoryContext
) -> Steps[tuple[RouteTable | ScopedRouteTable | None, RouteConfigProvider | ScopedRoutesProvider | None]]:
    """The route table as far as it is known now, and where others come from; ConfigError."""
    which = config.WhichOneof("route_specifier")
    if which == "route_config" and not config.route_config.HasField("vhds"):
        return (yield from RouteTable.compile_steps(config.route_config, context)), None
    if which == "scoped_routes" and not config.scoped_routes.HasField("scoped_rds"):
        return ScopedRouteTable.compile(config.scoped_routes, context), None
    if which is None:
        return None, None
    assert context.routes is not None
    if which == "route_config":
        return None, context.routes.static_provider(config.route_config, context.init_manager)
    if which == "rds":
        return None, context.routes.provider(config.rds, stat_prefix, context.init_manager)
    scoped = config.scoped_routes
    fragments = compile_fragments(scoped)
    scopes = context.routes.scoped_provider(scoped, stat_prefix, context.init_manager)
    return ScopedRouteTable(scoped.name, fragments, scopes.scopes), scopes


FACTORY = HttpConnectionManagerExtension()
