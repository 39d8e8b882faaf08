"""What a route asks of a request beyond its path (the rest of ``RouteMatch``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.matcher.header import HeaderMatcher, compile_header_matchers, failure, match_all
from proxeny.matcher.query import QueryParameterMatcher, compile_query_parameter_matcher, parse_query
from proxeny.matcher.string import quoted

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.factory_context import Runtime

_DENOMINATORS = (100, 10_000, 1_000_000)
"""By ``envoy.type.v3.FractionalPercent.DenominatorType``."""


def is_grpc_request(headers: HeaderMap) -> bool:
    """Whether the content type is gRPC's (Envoy: ``Grpc::Common::isGrpcRequestHeaders``)."""
    content_type = headers.get(b"content-type")
    if content_type is None or not content_type.startswith(b"application/grpc"):
        return False
    return len(content_type) == 16 or content_type[16:17] == b"+"


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

    __slots__ = ("connect", "fraction", "grpc", "headers", "query", "separated")

    def __init__(self) -> None:
        self.headers: tuple[HeaderMatcher, ...] = ()
        self.query: tuple[QueryParameterMatcher, ...] = ()
        self.fraction: RuntimeFraction | None = None
        self.grpc = False
        self.separated = -1
        """Length of a ``path_separated_prefix``: the path ends there or goes on with a slash."""
        self.connect = False

    @classmethod
    def compile(cls, match: Any, kind: str, runtime: Runtime | None) -> RouteCondition | None:
        """From a ``RouteMatch`` message and its path specifier's name; None when there is nothing to ask."""
        if not (
            match.headers
            or match.query_parameters
            or kind in ("path_separated_prefix", "connect_matcher")
            or match.HasField("runtime_fraction")
            or match.HasField("grpc")
        ):
            return None
        condition = cls()
        condition.headers = compile_header_matchers(match.headers)
        condition.query = tuple([compile_query_parameter_matcher(q) for q in match.query_parameters])
        if match.HasField("runtime_fraction"):
            condition.fraction = RuntimeFraction(match.runtime_fraction, runtime)
        condition.grpc = match.HasField("grpc")
        if kind == "path_separated_prefix":
            condition.separated = len(match.path_separated_prefix.encode("utf-8"))
        condition.connect = kind == "connect_matcher"
        return condition

    def matches(self, headers: HeaderMap, path: bytes, random_value: int) -> bool:
        """``path`` is without query; the path specifier itself has matched (but for the separator)."""
        if self.separated >= 0 and path[self.separated : self.separated + 1] not in (b"", b"/"):
            return False
        if self.connect and headers.get(b":method") != b"CONNECT":
            return False
        if self.fraction is not None and not self.fraction.enabled(random_value):
            return False
        if self.grpc and not is_grpc_request(headers):
            return False
        if self.headers and not match_all(headers, self.headers):
            return False
        if self.query:
            parameters = parse_query(headers.get(b":path") or b"")
            for matcher in self.query:
                if not matcher.matches(parameters):
                    return False
        return True

    def first_failure(self, headers: HeaderMap, path: bytes, random_value: int) -> str:
        """The first predicate that refuses, in words; "" when ``matches`` is true. For explanations only."""
        if self.separated >= 0 and path[self.separated : self.separated + 1] not in (b"", b"/"):
            return f"path goes on after the prefix with {quoted(path[self.separated : self.separated + 1])}, not '/'"
        if self.connect and headers.get(b":method") != b"CONNECT":
            return f"method is {quoted(headers.get(b':method') or b'')}, not 'CONNECT'"
        if self.fraction is not None and not self.fraction.enabled(random_value):
            return f"runtime fraction: {self.fraction.describe()}, and this one is not of them"
        if self.grpc and not is_grpc_request(headers):
            return "content-type is not that of gRPC"
        for matcher in self.headers:
            if not matcher.matches(headers):
                return failure(matcher, headers)
        parameters = parse_query(headers.get(b":path") or b"") if self.query else {}
        for query in self.query:
            if not query.matches(parameters):
                return query.failure(parameters)
        return ""
