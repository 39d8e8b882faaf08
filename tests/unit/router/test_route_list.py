"""The index over routes of all kinds finds what Envoy's scan would find: the first that matches."""

import re
import time
from typing import Any

import pytest
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.path.match.uri_template.v3 import uri_template_match_pb2
from google.protobuf.json_format import ParseDict
from hypothesis import given, settings
from hypothesis import strategies as st

from proxeny import extensions
from proxeny.kernel.headers import HeaderMap
from proxeny.network.address import ip_address
from proxeny.network.factory_context import FactoryContext
from proxeny.network.stream_info import ConnectionInfo, StreamInfo
from proxeny.router.direct_response import DirectResponseEntry
from proxeny.router.path_policy import compile_pattern
from proxeny.router.request_facts import RequestFacts
from proxeny.router.route import Route, RouteConfigInfo, VirtualHost
from proxeny.router.route_condition import RouteCondition
from proxeny.router.route_list import RouteList, without_parameters

extensions.install()
CONTEXT = FactoryContext(role="worker", stats=None)  # type: ignore[arg-type]
HOST = VirtualHost("v", RouteConfigInfo("r"))
TEMPLATE = "type.googleapis.com/" + uri_template_match_pb2.UriTemplateMatchConfig.DESCRIPTOR.full_name
TEMPLATES = {"/a/{x}": "/a/[^/]+", "/**": "/.*", "/a/*/b": "/a/[^/]+/b", "/{x}b": "/[^/]+b"}


def match_of(spec: dict[str, Any]) -> Any:
    return ParseDict(spec, route_components_pb2.RouteMatch())


def routes_of(specs: list[dict[str, Any]], ignores_parameters: bool = False) -> RouteList:
    matches = [match_of(spec) for spec in specs]
    routes = [
        Route(
            str(number),
            HOST,
            DirectResponseEntry(HOST, 200),
            condition=RouteCondition.compile(match, match.WhichOneof("path_specifier"), None),
        )
        for number, match in enumerate(matches)
    ]
    found = [(number, compile_pattern(match, CONTEXT)) for number, match in enumerate(matches)]
    patterns = {number: pattern for number, pattern in found if pattern is not None}
    return RouteList.build(routes, matches, patterns, ignores_parameters)


def template(text: str) -> dict[str, Any]:
    return {"path_match_policy": {"name": "t", "typed_config": {"@type": TEMPLATE, "path_template": text}}}


def path_matches(spec: dict[str, Any], path: str | None, method: str, parameters_ignored: bool) -> bool:
    """The path condition, in the plainest way."""
    if "connect_matcher" in spec:
        return method == "CONNECT"
    if path is None:
        return False
    whole = path.partition("?")[0]
    here = without_parameters(whole.encode()).decode() if parameters_ignored else whole
    if "path_match_policy" in spec:
        return re.fullmatch(TEMPLATES[spec["path_match_policy"]["typed_config"]["path_template"]], whole) is not None
    if "safe_regex" in spec:
        return re.fullmatch(spec["safe_regex"]["regex"], here) is not None
    kind = next(name for name in ("prefix", "path", "path_separated_prefix") if name in spec)
    there = spec[kind]
    if not spec.get("case_sensitive", True):
        here, there = here.lower(), there.lower()
    if kind == "path":
        return here == there
    if kind == "prefix":
        return here.startswith(there)
    return here == there or here.startswith(there + "/")


def scan(specs: list[dict[str, Any]], headers: HeaderMap, random_value: int, parameters_ignored: bool) -> str | None:
    """The name of the first route that matches, by asking one after the other."""
    raw = headers.get(b":path")
    path = None if raw is None else raw.decode()
    method = (headers.get(b":method") or b"").decode()
    for number, spec in enumerate(specs):
        match = match_of(spec)
        condition = RouteCondition.compile(match, match.WhichOneof("path_specifier"), None)
        facts = RequestFacts(headers, b"", None, random_value)
        if path_matches(spec, path, method, parameters_ignored) and (condition is None or condition.matches(facts)):
            return str(number)
    return None


TEXTS = st.sampled_from(["", "a", "b", "A", "ab", "aB", "abc"])
SOME = st.sampled_from(["a", "b", "A", "ab", "abc"])
PATHS = st.lists(st.sampled_from(["a", "b", "A", "ab", "a;x"]), max_size=4).map(lambda parts: "/" + "/".join(parts))
STRINGS = st.one_of(
    TEXTS.map(lambda text: {"exact": text}),
    st.tuples(st.sampled_from(["prefix", "suffix", "contains"]), SOME, st.booleans()).map(
        lambda item: {item[0]: item[1], "ignore_case": item[2]}
    ),
    SOME.map(lambda text: {"exact": text, "ignore_case": True}),
    st.sampled_from(["a.*", "[ab]+", "(?i)ab?", ".*b", "a|b"]).map(lambda text: {"safe_regex": {"regex": text}}),
)
HEADERS = st.one_of(
    st.tuples(st.sampled_from("xyz"), STRINGS, st.booleans(), st.booleans()).map(
        lambda item: {
            "name": item[0],
            "string_match": item[1],
            "invert_match": item[2] and item[3],
            "treat_missing_header_as_empty": item[3],
        }
    ),
    st.tuples(st.sampled_from("xyz"), STRINGS).map(lambda item: {"name": item[0], "string_match": item[1]}),
    st.tuples(st.sampled_from("xyz"), st.booleans()).map(lambda item: {"name": item[0], "present_match": item[1]}),
    st.just({"name": "x", "range_match": {"start": 1, "end": 5}}),
    st.sampled_from(["GET", "POST"]).map(lambda method: {"name": ":method", "string_match": {"exact": method}}),
)
QUERIES = st.one_of(
    st.tuples(st.sampled_from("pq"), STRINGS).map(lambda item: {"name": item[0], "string_match": item[1]}),
    st.tuples(st.sampled_from("pq"), st.booleans()).map(lambda item: {"name": item[0], "present_match": item[1]}),
)
COOKIES = st.tuples(st.sampled_from("kl"), STRINGS, st.booleans()).map(
    lambda item: {"name": item[0], "string_match": item[1], "invert_match": item[2]}
)
PATH_SPECS = st.one_of(
    st.just({"prefix": "/"}),
    st.tuples(st.sampled_from(["prefix", "path"]), PATHS, st.booleans()).map(
        lambda item: {item[0]: item[1], "case_sensitive": item[2]}
    ),
    st.tuples(PATHS.filter(lambda path: not path.endswith("/")), st.booleans()).map(
        lambda item: {"path_separated_prefix": item[0], "case_sensitive": item[1]}
    ),
    st.sampled_from(["/a.*", "/.*b", "/(a|b)/.*", "(?s).*", "/ab?"]).map(lambda text: {"safe_regex": {"regex": text}}),
    st.sampled_from(sorted(TEMPLATES)).map(template),
    st.just({"connect_matcher": {}}),
)
CONDITIONS = st.one_of(
    st.just({}),
    st.fixed_dictionaries(
        {},
        optional={
            "headers": st.lists(HEADERS, min_size=1, max_size=2),
            "query_parameters": st.lists(QUERIES, min_size=1, max_size=2),
            "cookies": st.lists(COOKIES, min_size=1, max_size=2),
            "runtime_fraction": st.sampled_from([0, 50]).map(lambda share: {"default_value": {"numerator": share}}),
            "grpc": st.just({}),
        },
    ),
    st.lists(HEADERS, min_size=1, max_size=3).map(lambda headers: {"headers": headers}),
)
ROUTES = st.tuples(PATH_SPECS, CONDITIONS).map(lambda item: {**item[0], **item[1]})
REQUESTS = st.tuples(
    st.one_of(PATHS, st.none()),
    st.sampled_from(["GET", "POST", "CONNECT"]),
    st.lists(st.tuples(st.sampled_from("xyz"), st.one_of(TEXTS, st.just("3"))), max_size=4),
    st.lists(st.tuples(st.sampled_from("pq"), TEXTS), max_size=3),
    st.lists(st.tuples(st.sampled_from("kl"), TEXTS), max_size=3),
    st.sampled_from(["", "application/grpc"]),
    st.integers(0, 99),
)


def headers_of(request: Any) -> HeaderMap:
    path, method, fields, query, cookies, content_type, _ = request
    headers = HeaderMap([(b":method", method.encode())])
    if path is not None:
        text = "&".join([f"{name}={value}" for name, value in query])
        headers.add(b":path", (path + ("?" + text if text else "")).encode())
    for name, value in fields:
        headers.add(name.encode(), value.encode())
    for name, value in cookies:
        headers.add(b"cookie", f"{name}={value}".encode())
    if content_type:
        headers.add(b"content-type", content_type.encode())
    return headers


@settings(max_examples=250, deadline=None)
@given(st.lists(ROUTES, max_size=60), st.lists(REQUESTS, min_size=4, max_size=12), st.booleans())
def test_the_first_match_is_the_scans(specs: list[dict[str, Any]], requests: list[Any], ignores: bool) -> None:
    routes = routes_of(specs, ignores)
    for request in requests:
        headers = headers_of(request)
        found = routes.route(headers, None, request[-1])
        assert (None if found is None else found.name) == scan(specs, headers, request[-1], ignores)


@settings(max_examples=120, deadline=None)
@given(
    st.lists(st.lists(HEADERS, min_size=1, max_size=3), min_size=20, max_size=80),
    st.lists(REQUESTS, min_size=10, max_size=20),
)
def test_routes_of_one_path_that_differ_in_headers(conditions: list[Any], requests: list[Any]) -> None:
    specs: list[dict[str, Any]] = [{"prefix": "/", "headers": headers} for headers in conditions]
    routes = routes_of(specs)
    for request in requests:
        headers = headers_of(request)
        found = routes.route(headers, None, 0)
        assert (None if found is None else found.name) == scan(specs, headers, 0, False)


def test_many_routes_of_one_path_that_differ_in_two_headers() -> None:
    specs: list[dict[str, Any]] = [
        {
            "prefix": "/",
            "headers": [
                {"name": ":method", "string_match": {"exact": "GET"}},
                {"name": "x-tenant", "string_match": {"exact": f"t{number % 100}"}},
                {"name": "x-version", "string_match": {"exact": f"v{number // 100}"}},
            ],
        }
        for number in range(10_000)
    ]
    routes = routes_of(specs)
    headers = HeaderMap([(b":method", b"GET"), (b":path", b"/"), (b"x-tenant", b"t42"), (b"x-version", b"v77")])
    found = routes.route(headers, None, 0)
    assert found is not None and found.name == "7742"
    headers.set(b"x-version", b"v100")
    assert routes.route(headers, None, 0) is None


def test_many_names_of_headers() -> None:
    specs: list[dict[str, Any]] = [
        {"prefix": "/", "headers": [{"name": f"x-{number}", "present_match": True}]} for number in range(1000)
    ]
    routes = routes_of(specs)
    headers = HeaderMap([(b":path", b"/"), (b"x-900", b""), (b"x-30", b"1"), (b"other", b"2")])
    found = routes.route(headers, None, 0)
    assert found is not None and found.name == "30"


def seconds(routes: RouteList, headers: HeaderMap) -> float:
    """The least CPU time of some look-ups."""
    times = []
    for _ in range(7):
        started = time.thread_time()
        routes.route(headers, None, 0)
        times.append(time.thread_time() - started)
    return min(times)


def sized(size: int, kind: str) -> HeaderMap:
    """A request of about ``size`` bytes that is as bad as its kind can be."""
    path, headers = "/", []
    if kind == "slashes":
        path = "/" * size
    elif kind == "segments":
        path = "/a;b" * (size // 4)
    elif kind == "query":
        path = "/?" + "&".join(f"p{number}=x" for number in range(size // 8))
    elif kind == "cookies":
        headers = [(b"cookie", b"; ".join(b"k%d=x" % number for number in range(size // 9)))]
    else:
        headers = [(b"x-%d" % number, b"v") for number in range(size // 8)]
    return HeaderMap([(b":method", b"GET"), (b":path", path.encode()), *headers])


@pytest.mark.parametrize("kind", ["slashes", "segments", "query", "cookies", "headers"])
def test_cost_grows_no_faster_than_the_request(kind: str) -> None:
    specs: list[dict[str, Any]] = [
        *({"prefix": "/" * number + "x"} for number in range(1, 400)),
        *({"path_separated_prefix": "/a" * number + "/x"} for number in range(1, 400)),
        *({"safe_regex": {"regex": f"(/[a-z;]*)*/end{number}"}} for number in range(40)),
        *(template(f"/**/end{number}") for number in range(40)),
        *(
            {"prefix": "/", "headers": [{"name": f"y-{number}", "string_match": {"contains": "b"}}]}
            for number in range(200)
        ),
        *(
            {"prefix": "/", "query_parameters": [{"name": f"q{number}", "string_match": {"prefix": "x"}}]}
            for number in range(200)
        ),
        *(
            {"prefix": "/", "cookies": [{"name": f"c{number}", "string_match": {"suffix": "x"}}]}
            for number in range(200)
        ),
    ]
    routes = routes_of(specs, ignores_parameters=True)
    small, large = sized(6_000, kind), sized(60_000, kind)
    assert routes.route(large, None, 0) is None
    # Ten times the bytes: quadratic cost would be a hundred times the time.
    assert seconds(routes, large) < 60 * max(seconds(routes, small), 20e-6)


def test_state_of_the_stream_is_asked() -> None:
    specs: list[dict[str, Any]] = [
        {
            "prefix": "/",
            "dynamic_metadata": [{"filter": "f", "path": [{"key": "a"}], "value": {"string_match": {"exact": "x"}}}],
        },
        {"prefix": "/", "filter_state": [{"key": "k", "string_match": {"prefix": "g"}}]},
        {"prefix": "/"},
    ]
    routes = routes_of(specs)
    info = StreamInfo(ConnectionInfo(ip_address("127.0.0.1", 1), ip_address("127.0.0.1", 2), 1), 0.0, 0)
    headers = HeaderMap([(b":path", b"/")])

    def name() -> str:
        found = routes.route(headers, info, 0)
        assert found is not None
        return found.name

    assert name() == "2"
    info.filter_state["k"] = "gold"
    assert name() == "1"
    info.dynamic_metadata["f"] = {"a": "x"}
    assert name() == "0"
    info.dynamic_metadata["f"] = {"a": 1}
    assert name() == "1"
