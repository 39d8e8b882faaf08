"""``InternalRedirectPolicy``: a redirect of the upstream's that the proxy follows itself
(Envoy: ``Router::Filter::setupRedirect``, ``InternalRedirectPolicyImpl``).

The request begins anew (``http.recreated_stream``) with the host and the path of ``location``; what cannot be followed
is passed on to the client as it came.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Protocol

from proxeny.config.errors import ConfigError
from proxeny.config.message_types import type_name_of
from proxeny.http.recreated_stream import recreate_stream
from proxeny.registry import REGISTRY
from proxeny.router import stats
from proxeny.router.per_filter_config import unpack
from proxeny.upstream.stats import (
    UPSTREAM_INTERNAL_REDIRECT_FAILED_TOTAL,
    UPSTREAM_INTERNAL_REDIRECT_SUCCEEDED_TOTAL,
)

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.filter_state import FilterState
    from proxeny.router.filter import RouterFilter
    from proxeny.router.upstream_request import UpstreamRequest

DEFAULT_MAX_REDIRECTS: Final = 1
DEFAULT_CODES: Final = frozenset((302,))
_CODES: Final = frozenset((301, 302, 303, 307, 308))

COUNT: Final = "num_internal_redirects"
"""The filter state object that counts the redirects of a request."""
ORIGINAL_URL: Final = b"x-envoy-original-url"

_URL: Final = re.compile(
    rb"([A-Za-z]+)://(?:[A-Za-z0-9\-_.!~*'()%;:&=+$,]*@)?"
    rb"((?:[A-Za-z0-9.\-_]+|\[[0-9A-Fa-f:.%A-Za-z]+\])(?::([0-9]{1,5}))?)"
    rb"((?:[/?#][\x21-\x7e\x80-\xff]*)?)"
)


class Predicate(Protocol):
    """Whether a redirect may lead to a route."""

    def accepts(self, state: FilterState, here: str, there: str, from_https: bool, to_https: bool) -> bool:
        """``here`` and ``there``: the names of the routes."""


class InternalRedirectPolicy:
    """Which redirects are followed."""

    __slots__ = ("allows_cross_scheme", "codes", "max_redirects", "predicates", "response_headers_to_copy")

    def __init__(self, config: Any) -> None:
        """From an ``InternalRedirectPolicy`` message; ConfigError in Envoy's words."""
        has_max = config.HasField("max_internal_redirects")
        self.max_redirects: int = config.max_internal_redirects.value if has_max else DEFAULT_MAX_REDIRECTS
        codes = config.redirect_response_codes
        self.codes = frozenset(code for code in codes if code in _CODES) if codes else DEFAULT_CODES
        self.allows_cross_scheme: bool = config.allow_cross_scheme_redirect
        self.predicates: tuple[Predicate, ...] = tuple([_predicate(one) for one in config.predicates])
        names = list(config.response_headers_to_copy)
        if any(name.startswith(":") or name.lower() == "host" for name in names):
            raise ConfigError(":-prefixed headers or Hosts may not be specified here.")
        self.response_headers_to_copy = tuple([name.lower().encode("utf-8") for name in names])


def _predicate(config: Any) -> Predicate:
    typed = config.typed_config
    factory = REGISTRY.factory("internal_redirect_predicate", config.name, type_name_of(typed.type_url))
    made: Predicate = factory.create(unpack(typed))
    return made


def compile_internal_redirect(action: Any) -> InternalRedirectPolicy | None:
    """From a ``RouteAction``, also its deprecated spelling; None = redirects are passed on."""
    if action.HasField("internal_redirect_policy"):
        return InternalRedirectPolicy(action.internal_redirect_policy)
    if action.internal_redirect_action != 1:
        return None
    bare = type(action.internal_redirect_policy)()
    if action.HasField("max_internal_redirects"):
        bare.max_internal_redirects.value = action.max_internal_redirects.value
    return InternalRedirectPolicy(bare)


def redirect_internally(
    router: RouterFilter, upstream: UpstreamRequest, code: int, response: HeaderMap, end_stream: bool
) -> bool:
    """Follow the redirect; False when the response goes to the client."""
    policy = router.entry.policy.internal_redirect
    if policy is None or code not in policy.codes:
        return False
    cluster_stats = router.cluster.stats
    location = response.get(b"location")
    whole = router.request_complete and (router.request_body is not None or not router.stream_info.bytes_received)
    if location is None or not whole or not _convert(router, policy, code, response, location):
        cluster_stats.inc(UPSTREAM_INTERNAL_REDIRECT_FAILED_TOTAL)
        return False
    cluster_stats.inc(UPSTREAM_INTERNAL_REDIRECT_SUCCEEDED_TOTAL)
    if end_stream and upstream.encode_complete:
        router.upstream = None
        upstream.encoder = None
        upstream.close()
    body = router.request_body
    router.request_body = None
    stream: Any = router.decoder_callbacks
    recreate_stream(stream.manager, response, code, body if body is not None and body.length else None)
    return True


def _convert(
    router: RouterFilter, policy: InternalRedirectPolicy, code: int, response: HeaderMap, location: bytes
) -> bool:
    """Change the request's headers to those of the next round; False (and they are as before) when it may not be."""
    headers = router.request_headers
    counters = router.config.stats
    path = headers.get(b":path")
    if path is None:
        return False
    url = _URL.fullmatch(location)
    if url is None or int(url[3] or b"0") > 65535:
        counters.inc(stats.REDIRECT_BAD_LOCATION)
        return False
    scheme = url[1].lower()
    from_http = (headers.get(b":scheme") or b"http").lower() == b"http" or not _is_secure(router)
    to_http = scheme == b"http"
    if not policy.allows_cross_scheme and from_http != to_http:
        counters.inc(stats.REDIRECT_UNSAFE_SCHEME)
        return False
    state = router.stream_info.filter_state
    count = state.get(COUNT, 0)
    if count >= policy.max_redirects:
        counters.inc(stats.REDIRECT_TOO_MANY)
        return False
    saved = headers.copy()
    _copy_from_response(headers, response, policy.response_headers_to_copy)
    headers.set(b":scheme", scheme)
    headers.set(b":authority", url[2])
    target = url[4].partition(b"#")[0]
    headers.set(b":path", target if target.startswith((b"/", b"?")) else b"/" + target)
    if not _may_go_there(router, policy, state, from_http, to_http):
        headers.clear()
        for name, value in saved.items():
            headers.add(name, value)
        return False
    if code == 303 and headers.get(b":method") not in (b"GET", b"HEAD"):
        headers.set(b":method", b"GET")
        headers.remove(b"content-length")
        router.request_body = None
    state.keep(COUNT, count + 1)
    origin = b"http" if from_http else b"https"
    headers.set(ORIGINAL_URL, origin + b"://" + (saved.get(b":authority") or b"") + path)
    return True


def _is_secure(router: RouterFilter) -> bool:
    return router.stream_info.connection.ssl is not None


def _copy_from_response(headers: HeaderMap, response: HeaderMap, names: tuple[bytes, ...]) -> None:
    for name in names:
        headers.remove(name)
        for value in response.get_all(name):
            headers.add(name, value)


def _cluster_of(router: RouterFilter, route: Any) -> Any:
    """What the log of this round says (Envoy: ``refreshCachedRoute`` sets it with the route)."""
    if route is None or route.entry.is_direct:
        return None
    cluster = router.config.get_cluster(route.entry.cluster or route.entry.cluster_name(router.request_headers))
    return None if cluster is None else cluster.info


def _may_go_there(
    router: RouterFilter, policy: InternalRedirectPolicy, state: FilterState, from_http: bool, to_http: bool
) -> bool:
    """Whether there is a route, and the predicates accept it."""
    callbacks = router.decoder_callbacks
    here = callbacks.route.name
    callbacks.clear_route_cache()
    there = callbacks.route
    info = router.stream_info
    info.upstream_cluster = _cluster_of(router, there)
    if there is None:
        info.route_name = ""
        router.config.stats.inc(stats.REDIRECT_NO_ROUTE)
        return False
    for predicate in policy.predicates:
        if not predicate.accepts(state, here, there.name, not from_http, not to_http):
            router.config.stats.inc(stats.REDIRECT_PREDICATE)
            return False
    return True
