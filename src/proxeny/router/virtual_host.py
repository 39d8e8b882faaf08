"""A virtual host's routes and how a request finds one (Envoy: ``VirtualHostImpl``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from proxeny.matcher.regex import CompiledRegex
from proxeny.router.direct_response import SslRedirectEntry
from proxeny.router.header_mutation import compile_mutation
from proxeny.router.path_index import PathIndex
from proxeny.router.per_filter_config import PerFilterConfigs
from proxeny.router.retry_policy import RetryPolicy
from proxeny.router.route import Route, RouteConfigInfo, VirtualHost
from proxeny.router.route_compiler import RouteCompiler, filter_metadata
from proxeny.router.shadow import compile_mirrors
from proxeny.router.virtual_cluster import compile_virtual_clusters

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.factory_context import FactoryContext

TLS_NONE: Final = 0
TLS_EXTERNAL_ONLY: Final = 1
TLS_ALL: Final = 2


class VirtualHostRoutes:
    """The routes of one virtual host, indexed by path."""

    __slots__ = ("_candidates", "_connect", "_ignore_parameters", "_require_tls", "_routes", "_ssl_redirect", "name")

    def __init__(self, virtual_host: VirtualHost, routes: Sequence[Route], specs: Sequence[Any], tls: int) -> None:
        """``specs``: the ``RouteMatch`` messages of ``routes``."""
        self.name = virtual_host.name
        self._routes = tuple(routes)
        self._ignore_parameters = virtual_host.config.ignore_path_parameters
        self._require_tls = tls
        self._ssl_redirect: Route | None = None
        if tls != TLS_NONE:
            self._ssl_redirect = Route("", virtual_host, SslRedirectEntry(virtual_host, 301))
        index = PathIndex([route.condition is None for route in routes])
        connect: list[int] = []
        for number, spec in enumerate(specs):
            _add(index, spec, number, connect)
        self._connect = tuple(connect)
        index.freeze()
        self._candidates = index.candidates

    def route(self, headers: HeaderMap, random_value: int) -> Route | None:
        """The first route that matches, as Envoy's scan would find it."""
        if self._require_tls != TLS_NONE and self._must_redirect(headers):
            return self._ssl_redirect
        path = headers.get(b":path")
        if path is None:
            candidates: Sequence[int] = self._connect
            path = b""
        else:
            end = path.find(b"?")
            if end >= 0:
                path = path[:end]
            end = path.find(b"#")
            if end >= 0:
                path = path[:end]
            if self._ignore_parameters:
                path = path.partition(b";")[0]
            candidates = self._candidates(path)
            if self._connect:
                candidates = sorted((*candidates, *self._connect))
        for number in candidates:
            route = self._routes[number]
            condition = route.condition
            if condition is None or condition.matches(headers, path, random_value):
                if route.weighted is not None:
                    return route.weighted.pick(headers, random_value)
                return route
        return None

    def _must_redirect(self, headers: HeaderMap) -> bool:
        if headers.get(b"x-forwarded-proto") == b"https":
            return False
        return self._require_tls == TLS_ALL or headers.get(b"x-envoy-internal") != b"true"

    @property
    def routes(self) -> tuple[Route, ...]:
        """All routes in their order."""
        return self._routes


def _add(index: PathIndex, match: Any, number: int, connect: list[int]) -> None:
    """Enter one route's path specifier into the index, or into the CONNECT routes."""
    kind = match.WhichOneof("path_specifier")
    case_sensitive = match.case_sensitive.value if match.HasField("case_sensitive") else True
    if kind == "prefix":
        index.add_prefix(match.prefix.encode("utf-8"), number, case_sensitive)
    elif kind == "path":
        index.add_exact(match.path.encode("utf-8"), number, case_sensitive)
    elif kind == "path_separated_prefix":
        index.add_prefix(match.path_separated_prefix.encode("utf-8"), number, case_sensitive)
    elif kind == "safe_regex":
        index.add_regex(CompiledRegex(match.safe_regex.regex), number)
    else:
        connect.append(number)


def compile_virtual_host(
    config: Any, info: RouteConfigInfo, context: FactoryContext, validate_clusters: bool
) -> VirtualHostRoutes:
    """From a ``VirtualHost`` message; ConfigError in Envoy's words."""
    host = VirtualHost(config.name, info)
    host.request_mutation = compile_mutation(config.request_headers_to_add, config.request_headers_to_remove)
    host.response_mutation = compile_mutation(config.response_headers_to_add, config.response_headers_to_remove)
    host.per_filter = PerFilterConfigs.compile(config.typed_per_filter_config, context)
    host.include_request_attempt_count = config.include_request_attempt_count
    host.include_attempt_count_in_response = config.include_attempt_count_in_response
    host.include_is_timeout_retry_header = config.include_is_timeout_retry_header
    if config.HasField("request_body_buffer_limit"):
        host.request_buffer_limit = config.request_body_buffer_limit.value
    elif config.HasField("per_request_buffer_limit_bytes"):
        host.request_buffer_limit = config.per_request_buffer_limit_bytes.value
    if config.HasField("retry_policy"):
        host.retry_policy = RetryPolicy.compile(config.retry_policy)
    host.hedge_on_per_try_timeout = config.hedge_policy.hedge_on_per_try_timeout
    clusters = context.cluster_names if validate_clusters else None
    host.mirrors = compile_mirrors(config.request_mirror_policies, context, clusters) or info.mirrors
    host.virtual_clusters = compile_virtual_clusters(config.name, config.virtual_clusters, context)
    if config.HasField("metadata"):
        host.metadata = filter_metadata(config.metadata)
    compiler = RouteCompiler(host, context, validate_clusters)
    routes = [compiler.compile(route) for route in config.routes]
    return VirtualHostRoutes(host, routes, [route.match for route in config.routes], config.require_tls)
