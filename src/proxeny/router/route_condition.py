"""What a route asks of a request beyond its path (the rest of ``RouteMatch``)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from proxeny.matcher.cookie import CookieMatcher, compile_cookie_matcher
from proxeny.matcher.header import HeaderMatcher, compile_header_matchers, failure, match_all
from proxeny.matcher.query import QueryParameterMatcher, compile_query_parameter_matcher
from proxeny.matcher.string import quoted
from proxeny.router.condition_keys import key_of_cookie, key_of_header, key_of_query
from proxeny.router.state_conditions import StateCondition, compile_state_conditions

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.factory_context import Runtime
    from proxeny.router.condition_keys import Key
    from proxeny.router.request_facts import RequestFacts

_DENOMINATORS = (100, 10_000, 1_000_000)
"""By ``envoy.type.v3.FractionalPercent.DenominatorType``."""

_CONDITIONS = frozenset(
    (
        "cookies",
        "dynamic_metadata",
        "filter_state",
        "grpc",
        "headers",
        "query_parameters",
        "runtime_fraction",
        "tls_context",
    )
)
"""Fields of ``RouteMatch``."""


def is_grpc_request(headers: HeaderMap) -> bool:
    """Whether the content type is gRPC's (Envoy: ``Grpc::Common::isGrpcRequestHeaders``)."""
    content_type = headers.get(b"content-type")
    if content_type is None or not content_type.startswith(b"application/grpc"):
        return False
    return len(content_type) == 16 or content_type[16:17] == b"+"


def is_connect(headers: HeaderMap) -> bool:
    """Whether a ``connect_matcher`` matches: CONNECT, or an upgrade to CONNECT-UDP."""
    if headers.get(b":method") == b"CONNECT":
        return True
    upgrade = headers.get(b"upgrade")
    return upgrade is not None and upgrade.lower() == b"connect-udp"


class RuntimeFraction:
    """``RuntimeFractionalPercent``: a share of the requests, by a stable random number."""

    __slots__ = ("denominator", "key", "numerator", "runtime")

    def __init__(self, config: Any, runtime: Runtime | None) -> None:
        self.key: str = config.runtime_key
        self.numerator: int = config.default_value.numerator
        self.denominator = _DENOMINATORS[config.default_value.denominator]
        self.runtime = runtime

    def enabled(self, random_value: int) -> bool:
        """Whether ``random_value`` falls into the share."""
        if self.key and self.runtime is not None:
            return self.runtime.feature_enabled(self.key, self.numerator, self.denominator, random_value)
        return random_value % self.denominator < self.numerator

    def describe(self) -> str:
        """For people."""
        key = f" (runtime key {self.key!r})" if self.key else ""
        return f"{self.numerator} of {self.denominator} requests{key}"


class RouteCondition:
    """All further conditions of one route; absent altogether (None) for most routes."""

    __slots__ = ("connect", "cookies", "fraction", "grpc", "headers", "query", "state")

    def __init__(self) -> None:
        self.headers: tuple[HeaderMatcher, ...] = ()
        self.query: tuple[QueryParameterMatcher, ...] = ()
        self.cookies: tuple[CookieMatcher, ...] = ()
        self.state: tuple[StateCondition, ...] = ()
        """On the connection, metadata and filter state."""
        self.fraction: RuntimeFraction | None = None
        self.grpc = False
        self.connect = False

    @classmethod
    def compile(cls, match: Any, kind: str, runtime: Runtime | None) -> RouteCondition | None:
        """From a ``RouteMatch`` message and its path specifier's name; None when there is nothing to ask."""
        if kind != "connect_matcher" and not any([field.name in _CONDITIONS for field, _ in match.ListFields()]):
            return None
        condition = cls()
        condition.headers = compile_header_matchers(match.headers)
        condition.query = tuple([compile_query_parameter_matcher(q) for q in match.query_parameters])
        condition.cookies = tuple([compile_cookie_matcher(c) for c in getattr(match, "cookies", ())])
        condition.state = compile_state_conditions(match)
        if match.HasField("runtime_fraction"):
            condition.fraction = RuntimeFraction(match.runtime_fraction, runtime)
        condition.grpc = match.HasField("grpc")
        condition.connect = kind == "connect_matcher"
        return condition

    def matches(self, facts: RequestFacts) -> bool:
        """The path specifier itself has matched."""
        if self.connect and not is_connect(facts.headers):
            return False
        if self.fraction is not None and not self.fraction.enabled(facts.random_value):
            return False
        if self.grpc and not is_grpc_request(facts.headers):
            return False
        if self.headers and not match_all(facts.headers, self.headers):
            return False
        for query in self.query:
            if not query.matches(facts.query()):
                return False
        for cookie in self.cookies:
            if not cookie.matches(facts.cookies()):
                return False
        for state in self.state:  # noqa: SIM110 - a generator per call costs more than the loop
            if not state.matches(facts.info):
                return False
        return True

    def first_failure(self, facts: RequestFacts) -> str:
        """The first predicate that refuses, in words; "" when ``matches`` is true. For explanations only."""
        headers = facts.headers
        if self.connect and not is_connect(headers):
            return f"method is {quoted(headers.get(b':method') or b'')}, not 'CONNECT'"
        if self.fraction is not None and not self.fraction.enabled(facts.random_value):
            return f"runtime fraction: {self.fraction.describe()}, and this one is not of them"
        if self.grpc and not is_grpc_request(headers):
            return "content-type is not that of gRPC"
        for matcher in self.headers:
            if not matcher.matches(headers):
                return failure(matcher, headers)
        for query in self.query:
            if not query.matches(facts.query()):
                return query.failure(facts.query())
        for cookie in self.cookies:
            if not cookie.matches(facts.cookies()):
                return cookie.failure(facts.cookies())
        for state in self.state:
            if not state.matches(facts.info):
                return state.failure(facts.info)
        return ""

    def keys(self) -> Iterator[Key]:
        """What a request must have for this condition to hold: each is necessary, together they need not suffice."""
        for header in self.headers:
            yield from key_of_header(header)
        for query in self.query:
            yield from key_of_query(query)
        for cookie in self.cookies:
            yield from key_of_cookie(cookie)
