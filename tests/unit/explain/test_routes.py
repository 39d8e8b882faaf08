"""Why a virtual host and a route, and not others; held against what the table itself chooses."""

import random
from typing import Any

import pytest
from envoy.config.route.v3 import route_pb2
from google.protobuf.json_format import ParseDict

from proxeny.explain.routes import RouteQuestions, RouteTrace, position_of
from proxeny.kernel.headers import HeaderMap
from proxeny.network.factory_context import FactoryContext
from proxeny.router.route_table import RouteTable
from proxeny.stats.store import MainStore


@pytest.fixture(scope="module")
def context() -> FactoryContext:
    return FactoryContext("main", MainStore())


def configuration(hosts: list[dict[str, Any]], **fields: Any) -> Any:
    return ParseDict({"name": "routes", "virtual_hosts": hosts, **fields}, route_pb2.RouteConfiguration())


def route(match: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"match": match, "direct_response": {"status": 200}, **fields}


def trace(
    config: Any, context: FactoryContext, path: str, host: str = "a.test", most: int = 0, **more: str
) -> RouteTrace:
    pairs = [(b":method", b"GET"), (b":authority", host.encode()), (b":path", path.encode())]
    headers = HeaderMap([*pairs, *[(name.encode(), value.encode()) for name, value in more.items()]])
    table = RouteTable.compile(config, context, False)
    return RouteQuestions(config, table, context, headers).trace(table.route(headers, None, 0), None, 0, most)


def test_virtual_hosts_that_came_close(context: FactoryContext) -> None:
    every = [route({"prefix": "/"})]
    hosts = [
        {"name": "one", "domains": ["api.a.test"], "routes": every},
        {"name": "wild", "domains": ["*.a.test", "*.other"], "routes": every},
        {"name": "any", "domains": ["*"], "routes": every},
        {"name": "far", "domains": ["nothing.example"], "routes": every},
    ]
    found = trace(configuration(hosts), context, "/", "api.a.test")
    assert (found.host, found.domain, found.position, found.chosen) == ("one", "api.a.test", 0, 0)
    assert [(one.name, one.why) for one in found.others] == [
        ("wild", "it matches too, but api.a.test is more specific"),
        ("any", "it matches too, but api.a.test is more specific"),
    ]
    found = trace(configuration(hosts), context, "/", "apj.a.test")
    assert (found.host, found.domain) == ("wild", "*.a.test")
    assert found.others[0].why == "host apj.a.test is not api.a.test"
    found = trace(configuration(hosts[:1]), context, "/", "api.a.test:80")
    assert found.host is None
    assert found.others[0].why == "host api.a.test:80 is not api.a.test"
    assert (
        trace(configuration(hosts[:1], ignore_port_in_host_matching=True), context, "/", "api.a.test:80").host == "one"
    )


def test_routes_up_to_the_chosen_one(context: FactoryContext) -> None:
    routes = [
        route({"path": "/a"}),
        route({"prefix": "/a/", "headers": [{"name": "x", "string_match": {"exact": "1"}}]}, name="v"),
        route({"safe_regex": {"regex": "/b.*"}}),
        route({"path_separated_prefix": "/a"}),
        route({"prefix": "/"}),
    ]
    found = trace(configuration([{"name": "h", "domains": ["*"], "routes": routes}]), context, "/a/b")
    assert [one.why for one in found.routes] == [
        "path is '/a/b', not '/a'",
        "header x is absent, not '1'",
        "path is '/a/b', not regex '/b.*'",
        "",
    ]
    assert (found.chosen, found.unasked, found.passed_over) == (3, 1, 0)
    assert [one.match for one in found.routes][1] == "prefix '/a/', header x"
    assert found.routes[1].nearness > found.routes[0].nearness


def test_weighted_clusters_and_tls(context: FactoryContext) -> None:
    weighted = {"weighted_clusters": {"clusters": [{"name": "a", "weight": 1}, {"name": "b", "weight": 3}]}}
    config = configuration([{"name": "h", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": weighted}]}])
    found = trace(config, context, "/")
    assert (found.chosen, found.shares) == (0, [("a", 1), ("b", 3)])
    config.virtual_hosts[0].require_tls = 2
    found = trace(config, context, "/")
    assert (found.chosen, found.routes, found.unasked) == (None, [], 1)
    assert found.notes[0].startswith("require_tls")


def test_of_many_routes_the_nearest_are_asked(context: FactoryContext) -> None:
    routes = [route({"prefix": f"/r{number:03}/"}) for number in range(300)]
    routes.insert(100, route({"prefix": "/r299", "headers": [{"name": "x", "present_match": True}]}))
    config = configuration([{"name": "h", "domains": ["*"], "routes": routes}])
    found = trace(config, context, "/r299/x", most=10)
    assert len(found.routes) == 10
    assert (found.chosen, found.passed_over) == (300, 291)
    assert found.routes[0].position == 100
    assert found.routes[0].why == "header x is absent, not present"


def _random_match(draw: random.Random) -> dict[str, Any]:
    text = "/" + "".join(draw.choice("ab/") for _ in range(draw.randrange(4)))
    match: dict[str, Any] = draw.choice(
        (
            {"prefix": text},
            {"path": text},
            {"prefix": text.upper(), "case_sensitive": False},
            {"safe_regex": {"regex": draw.choice(("/a.*", "/[ab]+", ".*b"))}},
            {"path_separated_prefix": "/a"},
        )
    )
    if draw.random() < 0.4:
        match["headers"] = [{"name": "x", "string_match": {"exact": draw.choice("12")}}]
    return match


def test_every_route_before_the_chosen_one_has_a_reason(context: FactoryContext) -> None:
    draw = random.Random(7)
    chosen = 0
    for _ in range(150):
        routes = [route(_random_match(draw)) for _ in range(draw.randrange(1, 12))]
        config = configuration([{"name": "h", "domains": ["*"], "routes": routes}])
        path = "/" + "".join(draw.choice("ab/?") for _ in range(draw.randrange(5)))
        more = {"x": draw.choice("123")} if draw.random() < 0.5 else {}
        found = trace(config, context, path, **more)
        whys = [one.why for one in found.routes]
        assert "its path does not match" not in whys
        if found.chosen is None:
            assert all(whys) and len(whys) == len(routes)
        else:
            chosen += 1
            assert all(whys[:-1]) and whys[-1] == "" and len(whys) == found.chosen + 1
    assert 30 < chosen < 150


def test_position_of_nothing() -> None:
    assert position_of(None, []) is None
    assert position_of(object(), []) is None
