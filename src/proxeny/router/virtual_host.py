"""A virtual host's routes and how a request finds one (Envoy: ``VirtualHostImpl``)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError
from proxeny.http.matching import HttpMatchingData
from proxeny.router.cors_policy import CorsPolicy
from proxeny.router.direct_response import SslRedirectEntry
from proxeny.router.header_mutation import compile_mutation
from proxeny.router.per_filter_config import PerFilterConfigs
from proxeny.router.rate_limit import compile_rate_limits
from proxeny.router.retry_policy import RetryPolicy
from proxeny.router.reuse import MANY_ROUTES, Claims, Origin, RouteKeys, RouteReuse, digest, digest_of, digest_without
from proxeny.router.route import Route, RouteConfigInfo, VirtualHost
from proxeny.router.route_compiler import RouteCompiler, filter_metadata
from proxeny.router.route_list import RouteList
from proxeny.router.route_tree import RouteTreeCompiler
from proxeny.router.shadow import compile_mirrors
from proxeny.router.virtual_cluster import compile_virtual_clusters

if TYPE_CHECKING:
    from proxeny.event.slices import Steps
    from proxeny.kernel.headers import HeaderMap
    from proxeny.matcher.tree import MatchTree
    from proxeny.network.factory_context import FactoryContext
    from proxeny.network.stream_info import StreamInfo

TLS_NONE: Final = 0
TLS_EXTERNAL_ONLY: Final = 1
TLS_ALL: Final = 2


class VirtualHostRoutes:
    """The routes of one virtual host: a list, or a tree that leads to lists (``VirtualHost.matcher``)."""

    __slots__ = ("_list", "_require_tls", "_ssl_redirect", "_tree", "name", "origin", "virtual_host")

    def __init__(
        self, virtual_host: VirtualHost, routes: RouteList, tls: int, origin: Origin, tree: MatchTree | None = None
    ) -> None:
        """``tls``: one of TLS_*; ``tree`` is asked instead of ``routes`` where there is one."""
        self.name = virtual_host.name
        self.virtual_host = virtual_host
        self.origin = origin
        self._list = routes
        self._tree = tree
        self._require_tls = tls
        self._ssl_redirect: Route | None = None
        if tls != TLS_NONE:
            self._ssl_redirect = Route("", virtual_host, SslRedirectEntry(virtual_host, 301))

    def route(self, headers: HeaderMap, stream_info: StreamInfo | None, random_value: int) -> Route | None:
        """The first route that matches, as Envoy's scan would find it."""
        if self._require_tls != TLS_NONE and self._must_redirect(headers):
            return self._ssl_redirect
        if self._tree is None:
            return self._list.route(headers, stream_info, random_value)
        return self._route_by_tree(headers, stream_info, random_value)

    def _route_by_tree(self, headers: HeaderMap, stream_info: StreamInfo | None, random_value: int) -> Route | None:
        assert self._tree is not None
        routes = self._tree.match(HttpMatchingData(headers, stream_info))
        # A list that leads to no route is the end: the tree is not asked again, as in Envoy.
        return routes.route(headers, stream_info, random_value) if isinstance(routes, RouteList) else None

    def _must_redirect(self, headers: HeaderMap) -> bool:
        if headers.get(b"x-forwarded-proto") == b"https":
            return False
        return self._require_tls == TLS_ALL or headers.get(b"x-envoy-internal") != b"true"

    @property
    def routes(self) -> tuple[Route, ...]:
        """All routes in their order; those of a tree are in the tree."""
        return self._list.routes

    @property
    def route_list(self) -> RouteList:
        """Them, with their index."""
        return self._list

    @property
    def tree(self) -> MatchTree | None:
        """What leads to the routes, where it is no list."""
        return self._tree


def compile_virtual_host_steps(
    config: Any,
    info: RouteConfigInfo,
    context: FactoryContext,
    validate_clusters: bool,
    before: VirtualHostRoutes | None = None,
    known: tuple[bytes, RouteKeys | None] | None = None,
) -> Steps[VirtualHostRoutes]:
    """From a ``VirtualHost`` message, in slices; ConfigError in Envoy's words.

    ``before``: the one of its name that an update replaces (below the same ``info``); of it is taken over what is the
    same, all of it where nothing changed. ``known``: its digests, where they need not be made.
    """
    keys: RouteKeys | None = None
    if known is not None:
        own_digest, keys = known
    elif len(config.routes) < MANY_ROUTES:
        own_digest = digest_of(config)
    else:
        keys = yield from RouteKeys.of_steps(config.routes)
        own_digest = digest(digest_without(config, "routes") + keys.whole)
    if before is not None and before.origin.digest == own_digest:
        before.origin.renew()
        return before
    if (
        before is not None
        and keys is not None
        and before.origin.keys is not None
        and before.origin.common == digest_without(config, "routes")
    ):
        return (yield from _changed_routes(config, before, own_digest, keys))
    claims = Claims(context.stats)
    context = replace(context, stats=claims)
    origin = Origin(own_digest, claims)
    made = yield from _compile(config, _compile_common(config, info, context), context, validate_clusters, origin, keys)
    return made


def _compile(
    config: Any,
    host: VirtualHost,
    context: FactoryContext,
    validate_clusters: bool,
    origin: Origin,
    keys: RouteKeys | None,
) -> Steps[VirtualHostRoutes]:
    if config.HasField("matcher"):
        if config.routes:
            raise ConfigError("cannot set both matcher and routes on virtual host")
        # Envoy does not look for the clusters of routes in a tree.
        trees = RouteTreeCompiler(context, host)
        tree = trees.tree(config.matcher)
        if trees.rereads:
            origin.digest = b""
        return VirtualHostRoutes(host, RouteList.build((), (), {}), config.require_tls, origin, tree)
    compiler = RouteCompiler(host, context, validate_clusters)
    reuse = RouteReuse(keys) if keys is not None else None
    claimed = origin.claimed
    routes = yield from compiler.compile_list_steps(config.routes, reuse)
    if compiler.rereads:
        origin.digest = b""
    elif keys is not None and origin.claimed == claimed:
        origin.common, origin.keys, origin.compiler = digest_without(config, "routes"), keys, compiler
    return VirtualHostRoutes(host, routes, config.require_tls, origin)


def _changed_routes(
    config: Any, before: VirtualHostRoutes, own_digest: bytes, keys: RouteKeys
) -> Steps[VirtualHostRoutes]:
    """A virtual host of which only routes differ."""
    old = before.origin
    compiler = old.compiler
    assert compiler is not None
    origin = Origin(own_digest, old.claims)
    origin.renew()
    claimed = origin.claimed
    reuse = RouteReuse(keys, before.route_list, old.keys)
    yield from reuse.prepare_steps()
    routes = yield from compiler.compile_list_steps(config.routes, reuse)
    if compiler.rereads:
        origin.digest = b""
    elif origin.claimed == claimed:
        compiler.forget_unused(routes.routes)
        origin.common, origin.keys, origin.compiler = old.common, keys, compiler
    return VirtualHostRoutes(compiler.virtual_host, routes, config.require_tls, origin)


def _compile_common(config: Any, info: RouteConfigInfo, context: FactoryContext) -> VirtualHost:
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
    host.mirrors = compile_mirrors(config.request_mirror_policies, context) or info.mirrors
    host.rate_limits = compile_rate_limits(config.rate_limits)
    if config.HasField("cors"):
        host.cors = CorsPolicy(config.cors, context)
    host.virtual_clusters = compile_virtual_clusters(config.name, config.virtual_clusters, context)
    if config.HasField("metadata"):
        host.metadata = filter_metadata(config.metadata)
    return host
