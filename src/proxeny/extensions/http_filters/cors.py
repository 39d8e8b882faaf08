"""``envoy.filters.http.cors``: answers preflight requests, and marks responses for browsers
(Envoy: ``source/extensions/filters/http/cors``)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from proxeny.http.filter import FilterHeadersStatus, StreamFilter
from proxeny.kernel.headers import HeaderMap
from proxeny.router.cors_policy import CorsPolicy
from proxeny.stats.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.kernel.stats import Block
    from proxeny.network.factory_context import FactoryContext

NAME: Final = "envoy.filters.http.cors"
CONTINUE: Final = FilterHeadersStatus.CONTINUE
STOP: Final = FilterHeadersStatus.STOP_ITERATION

CORS: Final = Schema("cors", counters=("origin_invalid", "origin_valid"))
ORIGIN_INVALID: Final = CORS.slot("origin_invalid")
ORIGIN_VALID: Final = CORS.slot("origin_valid")

ALLOW_ORIGIN: Final = b"access-control-allow-origin"
ALLOW_CREDENTIALS: Final = b"access-control-allow-credentials"
ALLOW_METHODS: Final = b"access-control-allow-methods"
ALLOW_HEADERS: Final = b"access-control-allow-headers"
ALLOW_PRIVATE_NETWORK: Final = b"access-control-allow-private-network"
EXPOSE_HEADERS: Final = b"access-control-expose-headers"
MAX_AGE: Final = b"access-control-max-age"
REQUEST_METHOD: Final = b"access-control-request-method"
REQUEST_HEADERS: Final = b"access-control-request-headers"
REQUEST_PRIVATE_NETWORK: Final = b"access-control-request-private-network"
TRUE: Final = b"true"


class CorsConfig:
    """What all requests share."""

    __slots__ = ("random_value", "stats")

    def __init__(self, stats_prefix: str, context: FactoryContext) -> None:
        self.stats: Block = context.stats.block(CORS, f"{stats_prefix}cors.")
        self.random_value: Callable[[], int] = getattr(context.random, "random", None) or (lambda: 0)


class Cors(StreamFilter):
    """The filter of one request."""

    __slots__ = ("_config", "_origin", "_policies")

    def __init__(self, config: CorsConfig) -> None:
        self._config = config
        self._origin = b""
        self._policies: list[CorsPolicy] = []

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        """Find the policy, judge the origin, answer a preflight request."""
        route = self.decoder_callbacks.route
        if route is None or route.entry.is_direct:
            return CONTINUE
        self._policies = policies = _policies_of(route)
        if not policies:
            return CONTINUE
        random_value = self._config.random_value()
        enabled = policies[0].enabled(random_value)
        if not enabled and not policies[0].shadow_enabled(random_value):
            return CONTINUE
        origin = headers.get(b"origin")
        if not origin:
            return CONTINUE
        allowed = self._is_allowed(origin)
        self._config.stats.inc(ORIGIN_VALID if allowed else ORIGIN_INVALID)
        if not enabled:
            return CONTINUE
        if allowed:
            self._origin = origin
        if headers.get(b":method") != b"OPTIONS" or not headers.get(REQUEST_METHOD):
            return CONTINUE
        if not allowed and self._first("forward_not_matching", True):
            return CONTINUE
        self.decoder_callbacks.encode_headers(
            self._preflight(headers, origin if allowed else b""), True, "cors_response"
        )
        return STOP

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        """A response to an allowed origin says so."""
        if self._origin:
            headers.set(ALLOW_ORIGIN, self._origin)
            if self._first("allow_credentials", False):
                headers.set(ALLOW_CREDENTIALS, TRUE)
            exposed = self._text("expose_headers")
            if exposed:
                headers.set(EXPOSE_HEADERS, exposed)
        return CONTINUE

    def _preflight(self, request: HeaderMap, origin: bytes) -> HeaderMap:
        response = HeaderMap(((b":status", b"200"),))
        if origin:
            response.set(ALLOW_ORIGIN, origin)
        if self._first("allow_credentials", False):
            response.set(ALLOW_CREDENTIALS, TRUE)
        for name, field, asked in (
            (ALLOW_METHODS, "allow_methods", REQUEST_METHOD),
            (ALLOW_HEADERS, "allow_headers", REQUEST_HEADERS),
        ):
            value = self._text(field)
            if value:
                response.set(name, (request.get(asked) or b"") if value == b"*" else value)
        max_age = self._text("max_age")
        if max_age:
            response.set(MAX_AGE, max_age)
        if self._first("allow_private_network", False) and request.get(REQUEST_PRIVATE_NETWORK) == TRUE:
            response.set(ALLOW_PRIVATE_NETWORK, TRUE)
        return response

    def _is_allowed(self, origin: bytes) -> bool:
        for policy in self._policies:
            if policy.origins:
                return any(matcher.match(b"*") or matcher.match(origin) for matcher in policy.origins)
        return False

    def _text(self, field: str) -> bytes:
        return next((value for policy in self._policies if (value := getattr(policy, field))), b"")

    def _first(self, field: str, default: bool) -> bool:
        for policy in self._policies:
            value: bool | None = getattr(policy, field)
            if value is not None:
                return value
        return default


def _policies_of(route: Any) -> list[CorsPolicy]:
    """From the most to the least specific: the filter's own configs, or else the older fields of routes."""
    typed: list[CorsPolicy] = route.per_filter_configs(NAME)[::-1]
    if typed:
        return typed
    return [policy for policy in (route.entry.policy.cors, route.virtual_host.cors) if policy is not None]


class CorsFactory:
    """The compiled filter."""

    __slots__ = ("create", "name")

    filter_class = Cors
    is_terminal = False
    rehearses = True

    def __init__(self, config: CorsConfig) -> None:
        self.name = NAME
        self.create: Callable[[], Cors] = partial(Cors, config)
        """The filter of one request."""


class CorsExtension:
    """The registered factory."""

    is_terminal = False

    def create_filter_factory(self, config: Any, stats_prefix: str, context: FactoryContext) -> CorsFactory:
        """From the (empty) message."""
        return CorsFactory(CorsConfig(stats_prefix, context))

    def create_route_config(self, config: Any, context: FactoryContext) -> CorsPolicy:
        """From an ``envoy.extensions.filters.http.cors.v3.CorsPolicy``."""
        return CorsPolicy(config, context)


FACTORY: Final = CorsExtension()
