"""Route tests are judged by the route table, in the words of Envoy's tool; coverage counts what the tool leaves out."""

from typing import Any

import pytest
from envoy.config.route.v3 import route_components_pb2, route_pb2
from google.protobuf.json_format import ParseDict

from proxeny.explain.route_check import RouteChecker
from proxeny.explain.route_tests import RouteTest, RouteTestAssert, RouteTestInput, RouteTests


def header(name: str, value: str) -> dict[str, Any]:
    return {"header": {"key": name, "value": value}}


CONFIG = ParseDict(
    {
        "name": "routes",
        "virtual_hosts": [
            {
                "name": "www",
                "domains": ["www.test"],
                "virtual_clusters": [
                    {"name": "gets", "headers": [{"name": ":method", "string_match": {"exact": "GET"}}]}
                ],
                "routes": [
                    {"match": {"prefix": "/new"}, "route": {"cluster": "new", "prefix_rewrite": "/api/new"}},
                    {
                        "match": {"prefix": "/w"},
                        "route": {
                            "weighted_clusters": {
                                "clusters": [{"name": "a", "weight": 30}, {"name": "b", "weight": 70}],
                            }
                        },
                    },
                    {"match": {"path": "/moved"}, "redirect": {"host_redirect": "new.test", "response_code": "FOUND"}},
                    {
                        "match": {"path": "/tea"},
                        "direct_response": {"status": 418},
                        "response_headers_to_add": [header("x-a", "b")],
                    },
                    {
                        "match": {
                            "prefix": "/rt",
                            "runtime_fraction": {"runtime_key": "k", "default_value": {"numerator": 0}},
                        },
                        "route": {"cluster": "rt"},
                    },
                    {"match": {"prefix": "/by"}, "route": {"cluster_header": "x-cluster"}},
                    {
                        "match": {"prefix": "/"},
                        "route": {"cluster": "root", "host_rewrite_literal": "inner"},
                        "request_headers_to_add": [header("x-r", "%PROTOCOL%")],
                        "response_headers_to_add": [header("x-s", "s")],
                    },
                ],
            },
            {
                "name": "bare",
                "domains": ["*"],
                "require_tls": "ALL",
                "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "c"}}],
            },
        ],
    },
    route_pb2.RouteConfiguration(),
)


def check(path: str, validate: RouteTestAssert, **given: Any) -> tuple[list[str], RouteChecker]:
    asked = RouteTestInput(given.pop("authority", "www.test"), path, given.pop("method", "GET"), **given)
    checker = RouteChecker(CONFIG, RouteTests([RouteTest("t", asked, validate)]))
    return checker.run()[0].failures, checker


def failures(path: str, given: dict[str, Any] | None = None, **validate: Any) -> list[str]:
    return check(path, RouteTestAssert(**validate), **(given or {}))[0]


def matcher(**fields: Any) -> Any:
    return ParseDict(fields, route_components_pb2.HeaderMatcher())


@pytest.mark.parametrize(
    ("path", "given", "validate"),
    [
        ("/new/x?y", {}, {"cluster_name": "new", "path_rewrite": "/api/new/x?y", "host_rewrite": "www.test"}),
        ("/new", {}, {"virtual_host_name": "www", "virtual_cluster_name": "gets"}),
        ("/new", {"method": "POST"}, {"virtual_cluster_name": "other"}),
        ("/w", {"random_value": 29}, {"cluster_name": "a"}),
        ("/w", {"random_value": 130}, {"cluster_name": "b"}),
        ("/moved?x", {"ssl": True}, {"path_redirect": "https://new.test/moved?x", "code_redirect": 302}),
        ("/moved", {}, {"cluster_name": "", "path_rewrite": "", "virtual_cluster_name": "", "virtual_host_name": ""}),
        ("/moved", {}, {"virtual_host_name": "www"}),
        ("/tea", {}, {"code_redirect": 418, "path_redirect": "http://www.test/tea"}),
        ("/rt", {"runtime": "k"}, {"cluster_name": "rt"}),
        ("/rt", {"runtime": "k", "random_value": 1}, {"cluster_name": "root"}),
        ("/rt", {"runtime": "other"}, {"cluster_name": "root"}),
        ("/rt", {}, {"cluster_name": "root"}),
        ("/by", {"request_headers": ((b"x-cluster", b"named"),)}, {"cluster_name": "named"}),
        ("/x", {}, {"host_rewrite": "inner", "path_redirect": "", "code_redirect": 0}),
        ("/x", {}, {"request_header_fields": ((b"x-r", b"HTTP/1.1"), (b"x-none", b""))}),
        ("/x", {"response_headers": ((b"x-t", b"t"),)}, {"response_header_fields": ((b"x-s", b"s"), (b"x-t", b"t"))}),
        ("/x", {}, {"request_header_matches": (matcher(name="x-none", present_match=False),)}),
        ("/tea", {}, {"response_header_matches": (matcher(name="x-a", string_match={"prefix": "b"}),)}),
        ("/", {"authority": "other"}, {"path_redirect": "https://other/", "code_redirect": 301}),
        ("/", {"authority": "other", "ssl": True}, {"cluster_name": "c", "virtual_host_name": "bare"}),
        (
            "/",
            {"authority": "other", "internal": True, "ssl": True},
            {"request_header_fields": ((b"x-envoy-internal", b"true"),)},
        ),
    ],
)
def test_what_holds(path: str, given: dict[str, Any], validate: dict[str, Any]) -> None:
    assert failures(path, given, **validate) == []


@pytest.mark.parametrize(
    ("path", "validate", "words"),
    [
        ("/new", {"cluster_name": "old"}, "expected: [old], actual: [new], test type: cluster_name"),
        ("/tea", {"cluster_name": "tea"}, "expected: [tea], actual: [], test type: cluster_name"),
        ("/moved", {"code_redirect": 301}, "expected: [301], actual: [302], test type: code_redirect"),
        ("/moved", {"virtual_host_name": "x"}, "expected: [x], actual: [www], test type: virtual_host_name"),
        (
            "/x",
            {"request_header_fields": ((b"x-r", b"1"),)},
            "expected: [1], actual: [HTTP/1.1], test type: request_header_fields",
        ),
        (
            "/x",
            {"request_header_matches": (matcher(name="x-r", string_match={"exact": "1"}),)},
            "expected: [x-r: 1], actual: [x-r: HTTP/1.1], test type: request_header_matches.string_match.exact",
        ),
        (
            "/x",
            {"request_header_matches": (matcher(name="x-r", string_match={"exact": "HTTP/1.1"}, invert_match=True),)},
            "expected: [x-r: HTTP/1.1], actual: NOT [x-r: HTTP/1.1], "
            "test type: request_header_matches.string_match.exact",
        ),
        (
            "/x",
            {"response_header_matches": (matcher(name="x-none", present_match=True),)},
            "expected: [has(x-none):true], actual: [has(x-none):false], "
            "test type: response_header_matches.present_match",
        ),
        (
            "/x",
            {"response_header_matches": (matcher(name="x-none", string_match={"prefix": "a"}),)},
            "actual: [x-none: NULL], test type: response_header_matches.string_match.prefix",
        ),
        (
            "/x",
            {"response_header_matches": (matcher(name="x-s", range_match={"start": 1, "end": 2}),)},
            "actual: [x-s: s], test type: response_header_matches.range_match",
        ),
    ],
)
def test_failures_in_the_words_of_the_tool(path: str, validate: dict[str, Any], words: str) -> None:
    assert failures(path, **validate) == [words]


def covered(path: str, validate: RouteTestAssert, **given: Any) -> list[str]:
    checker = check(path, validate, **given)[1]
    return [f"{unit.position}{unit.cluster}" for unit in checker.coverage.units if unit.covered]


def test_coverage_is_by_route_and_by_weighted_cluster() -> None:
    assert covered("/new", RouteTestAssert(cluster_name="new")) == ["0"]
    assert covered("/w", RouteTestAssert(cluster_name="b"), random_value=99) == ["1b"]
    assert covered("/w", RouteTestAssert(virtual_host_name="www")) == ["1a"]
    assert covered("/tea", RouteTestAssert(virtual_host_name="www")) == ["3"]
    checker = check("/tea", RouteTestAssert(response_header_matches=(matcher(name="x-a", present_match=True),)))[1]
    assert [unit.position for unit in checker.coverage.units if unit.covered] == [3]
    assert len(checker.coverage.units) == 9
    assert checker.coverage.percent() == pytest.approx(100 / 9)
    assert len(checker.coverage.missing()) == 8


def test_what_fails_or_is_not_asked_covers_nothing() -> None:
    assert covered("/new", RouteTestAssert(cluster_name="old")) == []
    assert covered("/new", RouteTestAssert()) == []
    assert covered("/new", RouteTestAssert(path_redirect="")) == []


def test_comprehensive_coverage() -> None:
    checker = check("/moved", RouteTestAssert(code_redirect=302))[1]
    assert checker.coverage.percent(True) == pytest.approx(50 / 9)
    everything = RouteTestAssert("new", "gets", "www", "www.test", "/api/new")
    assert check("/new", everything)[1].coverage.percent(True) == pytest.approx(100 / 9)


def test_the_configuration_itself_stays_as_it_is() -> None:
    before = CONFIG.SerializeToString(deterministic=True)
    failures("/rt", {"runtime": "k"}, cluster_name="rt")
    assert CONFIG.SerializeToString(deterministic=True) == before
