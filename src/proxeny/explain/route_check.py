"""Runs route tests: the route table that serves traffic is asked, and what it says is compared with what is expected.

Words and rules are those of Envoy's ``router_check_tool`` (``test/tools/router_check/router.cc``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from proxeny.explain.route_coverage import Coverage
from proxeny.http.local_reply import prepare
from proxeny.kernel.headers import HeaderMap
from proxeny.matcher.header import compile_header_matcher
from proxeny.network.address import ip_address
from proxeny.network.factory_context import FactoryContext
from proxeny.network.stream_info import ConnectionInfo, StreamInfo
from proxeny.router.route_table import RouteTable
from proxeny.router.virtual_cluster import find_virtual_cluster
from proxeny.stats.store import MainStore

if TYPE_CHECKING:
    from proxeny.explain.route_tests import RouteTest, RouteTestAssert, RouteTests

LOOPBACK: Final = ip_address("127.0.0.1")


class TestedRuntime:
    """Runtime as a test sees it: only the key that it names enables anything (the tool's ``runtimeMock``)."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values
        self.active = ""

    def feature_enabled(self, key: str, numerator: int, denominator: int, random_value: int) -> bool:
        """Whether the test names the key and its random value falls into the default fraction."""
        return bool(self.active) and key == self.active and random_value % denominator < numerator

    def get_integer(self, key: str, default: int) -> int:
        """A value of the file's ``runtime``."""
        value = self._values.get(key, default)
        return value if isinstance(value, int) and not isinstance(value, bool) else default

    def get_boolean(self, key: str, default: bool) -> bool:
        """Likewise."""
        value = self._values.get(key, default)
        return value if isinstance(value, bool) else default

    def get_float(self, key: str, default: float) -> float:
        """Likewise."""
        value = self._values.get(key, default)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else default


@dataclass(slots=True)
class TestResult:
    """One test: what failed, in the tool's words; and the route that it came to, for reports."""

    name: str
    failures: list[str] = field(default_factory=list)
    virtual_host: str = ""
    route: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not self.failures


class RouteChecker:
    """A route configuration under test."""

    def __init__(self, config: Any, tests: RouteTests) -> None:
        """ConfigError for a configuration that would not be served; clusters need not exist."""
        self.config = _testable(config)
        self._runtime = TestedRuntime(tests.runtime)
        context = FactoryContext("main", MainStore(), runtime=self._runtime)
        self._table = RouteTable.compile(self.config, context, False)
        self.coverage = Coverage(self.config, self._table)
        self._tests = tests.tests

    def run(self) -> list[TestResult]:
        """All tests, in their order."""
        return [self._run(test) for test in self._tests]

    def _run(self, test: RouteTest) -> TestResult:
        given = test.input
        self._runtime.active = given.runtime
        scheme = b"https" if given.ssl else b"http"
        request = HeaderMap(
            [
                (b":authority", given.authority.encode()),
                (b":path", given.path.encode()),
                (b":method", given.method.encode()),
                (b"x-forwarded-proto", scheme),
                (b":scheme", scheme),
                *([(b"x-envoy-internal", b"true")] if given.internal else []),
                *given.request_headers,
            ]
        )
        info = StreamInfo(ConnectionInfo(LOOPBACK, LOOPBACK, 0), 0.0, 0)
        info.protocol = "HTTP/1.1"
        info.dynamic_metadata_map = dict(given.dynamic_metadata) or None
        route = self._table.route(request, info, given.random_value)
        found = _Found(route, request, HeaderMap(given.response_headers), info)
        result = TestResult(test.name)
        if route is not None:
            result.virtual_host, result.route = route.virtual_host.name, route.name
        _Comparison(found, result, self.coverage).compare(test.validate)
        return result


def _testable(config: Any) -> Any:
    """A copy in which fractions of nothing are one of a hundred, so that such routes can be tested at all."""
    copied = type(config)()
    copied.CopyFrom(config)
    for host in copied.virtual_hosts:
        for route in host.routes:
            if route.match.HasField("runtime_fraction") and not route.match.runtime_fraction.default_value.numerator:
                route.match.runtime_fraction.default_value.numerator = 1
    return copied


class _Found:
    """What a request came to, with its headers as the route leaves them."""

    def __init__(self, route: Any, request: HeaderMap, response: HeaderMap, info: StreamInfo) -> None:
        self.route = route
        self.request = request
        self.response = response
        entry = None if route is None else route.entry
        self.direct = entry if entry is not None and entry.is_direct else None
        self.forward = entry if entry is not None and not entry.is_direct else None
        self.cluster = ""
        if route is not None:
            info.route, info.route_name = route, route.name
        if self.forward is not None:
            self.cluster = self.forward.cluster or self.forward.cluster_name(request)
            self.forward.finalize_request_headers(request, info, True)
            self.forward.finalize_response_headers(response, info, request)
        elif self.direct is not None:
            self.direct.rewrite_path_header(request, True)
            reply = prepare(self.direct.response_code, self.direct.body, is_grpc=False, is_head=False)
            for name, value in reply.headers.items():
                response.add(name, value)
            self.direct.finalize_response_headers(response, info, request)

    def virtual_cluster(self) -> str:
        """The virtual cluster that the request would be counted for."""
        clusters = self.forward.virtual_host.virtual_clusters if self.forward is not None else ()
        found = find_virtual_cluster(clusters, self.request) if clusters else None
        return "" if found is None else str(found.name)


class _Comparison:
    """Compares one request's route with what is expected, and marks what is covered by that."""

    def __init__(self, found: _Found, result: TestResult, coverage: Coverage) -> None:
        self._found = found
        self._result = result
        self._coverage = coverage

    def compare(self, expected: RouteTestAssert) -> None:
        """In the tool's order."""
        found = self._found
        forward, direct = found.forward, found.direct
        self._text("cluster_name", found.cluster, expected.cluster_name, forward)
        self._text("virtual_cluster_name", found.virtual_cluster(), expected.virtual_cluster_name, forward)
        self._virtual_host(expected.virtual_host_name)
        path = _header(found.request, b":path") if forward is not None else ""
        self._text("path_rewrite", path, expected.path_rewrite, forward)
        host = _header(found.request, b":authority") if forward is not None else ""
        self._text("host_rewrite", host, expected.host_rewrite, forward)
        uri = direct.new_uri(found.request).decode("latin-1") if direct is not None else ""
        self._text("path_redirect", uri, expected.path_redirect, direct)
        code = direct.response_code if direct is not None else 0
        self._text("code_redirect", code, expected.code_redirect, direct)
        for kind, headers, matches, fields in (
            ("request_header", found.request, expected.request_header_matches, expected.request_header_fields),
            ("response_header", found.response, expected.response_header_matches, expected.response_header_fields),
        ):
            for matcher in matches:
                self._match(f"{kind}_matches", headers, matcher)
            for name, value in fields:
                self._text(f"{kind}_fields", _header(headers, name), value.decode("latin-1"), found.route)

    def _text(self, kind: str, actual: Any, expected: Any, entry: Any) -> None:
        """``entry`` None: there is nothing that could be covered."""
        if expected is None:
            return
        if actual != expected:
            self._result.failures.append(f"expected: [{expected}], actual: [{actual}], test type: {kind}")
        elif entry is not None:
            self._coverage.mark(self._found.route, kind)

    def _virtual_host(self, expected: str | None) -> None:
        """The tool knows no virtual host of a direct response ("" it says): here its name is right as well."""
        name = "" if self._found.route is None else self._found.route.virtual_host.name
        if self._found.direct is not None and expected == "":
            name = ""
        self._text("virtual_host_name", name, expected, self._found.route)

    def _match(self, kind: str, headers: HeaderMap, matcher: Any) -> None:
        if compile_header_matcher(matcher).matches(headers):
            if self._found.route is not None:
                self._coverage.mark(self._found.route, kind)
            return
        specifier = matcher.WhichOneof("header_match_specifier") or "present_match"
        name = matcher.name
        value = headers.get(name.lower().encode())
        actual = f"{name}: {'NULL' if value is None else value.decode('latin-1')}"
        if specifier == "present_match":
            wanted = "false" if matcher.invert_match else "true"
            shown = "true" if matcher.invert_match else "false"
            self._failed(f"expected: [has({name}):{wanted}], actual: [has({name}):{shown}]", f"{kind}.{specifier}")
            return
        if specifier == "string_match":
            specifier = f"string_match.{matcher.string_match.WhichOneof('match_pattern')}"
        if specifier == "string_match.exact":
            negated = "NOT " if matcher.invert_match else ""
            expected = f"{name}: {matcher.string_match.exact}"
            self._failed(f"expected: [{expected}], actual: {negated}[{actual}]", f"{kind}.{specifier}")
            return
        self._failed(f"actual: [{actual}]", f"{kind}.{specifier}")

    def _failed(self, text: str, kind: str) -> None:
        self._result.failures.append(f"{text}, test type: {kind}")


def _header(headers: HeaderMap, name: bytes) -> str:
    value = headers.get(name)
    return "" if value is None else value.decode("latin-1")
