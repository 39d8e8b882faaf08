"""The conditions of a route say which of them refuses, and say so exactly when the route does not match."""

import random
from typing import Any

import pytest
from envoy.config.route.v3 import route_components_pb2
from google.protobuf.json_format import ParseDict

from proxeny.kernel.headers import HeaderMap
from proxeny.router.request_facts import RequestFacts
from proxeny.router.route_condition import RouteCondition

VALUES = ("", "a", "ab", "b", "5", "12")


def condition(**match: Any) -> RouteCondition:
    message = ParseDict(match, route_components_pb2.RouteMatch())
    compiled = RouteCondition.compile(message, message.WhichOneof("path_specifier"), None)
    assert compiled is not None
    return compiled


def headers(path: str = "/", **values: str) -> HeaderMap:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in values.items()]
    return HeaderMap([(b":method", b"GET"), (b":path", path.encode()), *pairs])


@pytest.mark.parametrize(
    ("match", "asked", "words"),
    [
        ({"headers": [{"name": "x", "string_match": {"exact": "a"}}]}, headers(), "header x is absent, not 'a'"),
        ({"headers": [{"name": "x", "string_match": {"exact": "a"}}]}, headers(x="b"), "header x is 'b', not 'a'"),
        (
            {"headers": [{"name": "x", "string_match": {"prefix": "A", "ignore_case": True}}]},
            headers(x="b"),
            "header x is 'b', not prefix 'a' (case ignored)",
        ),
        (
            {"headers": [{"name": "x", "string_match": {"suffix": "a"}, "invert_match": True}]},
            headers(x="ba"),
            "header x is 'ba', not other than suffix 'a'",
        ),
        (
            {"headers": [{"name": "x", "range_match": {"start": 1, "end": 9}}]},
            headers(x="9"),
            "header x is '9', not a number from 1 to below 9",
        ),
        ({"headers": [{"name": "x", "present_match": False}]}, headers(x=""), "header x is '', not absent"),
        (
            {"headers": [{"name": "x", "safe_regex_match": {"regex": "a+"}}]},
            headers(x="b"),
            "header x is 'b', not regex 'a+'",
        ),
        (
            {"query_parameters": [{"name": "q", "string_match": {"contains": "a"}}]},
            headers("/?q=b"),
            "query parameter q is 'b', not containing 'a'",
        ),
        (
            {"query_parameters": [{"name": "q", "present_match": True}]},
            headers("/?p"),
            "query parameter q is absent, not present",
        ),
        ({"grpc": {}}, headers(), "content-type is not that of gRPC"),
        (
            {"runtime_fraction": {"default_value": {"numerator": 3}, "runtime_key": "k"}},
            headers(),
            "runtime fraction: 3 of 100 requests (runtime key 'k'), and this one is not of them",
        ),
    ],
)
def test_the_first_failure_in_words(match: dict[str, Any], asked: HeaderMap, words: str) -> None:
    compiled = condition(prefix="/", **match)
    facts = RequestFacts(asked, b"/", None, 50)
    assert compiled.first_failure(facts) == words
    assert not compiled.matches(facts)


def test_the_method() -> None:
    connect = condition(connect_matcher={})
    assert connect.first_failure(RequestFacts(headers(), b"", None, 0)) == "method is 'GET', not 'CONNECT'"


def _random_match(draw: random.Random) -> dict[str, Any]:
    string = {draw.choice(("exact", "prefix", "suffix", "contains")): draw.choice(VALUES[1:])}
    header: dict[str, Any] = {"name": draw.choice("xy"), "invert_match": draw.random() < 0.3}
    header |= draw.choice(
        ({"string_match": string}, {"present_match": draw.random() < 0.5}, {"range_match": {"start": 3, "end": 9}})
    )
    query = {"name": draw.choice("pq"), **draw.choice(({"string_match": string}, {"present_match": True}))}
    return {
        "prefix": "/",
        "headers": [header] * draw.randint(0, 1) + [{"name": "z", "present_match": True}] * draw.randint(0, 1),
        "query_parameters": [query] * draw.randint(0, 1),
        "runtime_fraction": {"default_value": {"numerator": draw.choice((50, 100))}},
    }


def test_a_reason_is_given_exactly_when_it_does_not_match() -> None:
    draw = random.Random(4)
    seen = set()
    for _ in range(3000):
        compiled = condition(**_random_match(draw))
        names = [name for name in "xyz" if draw.random() < 0.6]
        asked = headers(f"/?{draw.choice('pq')}={draw.choice(VALUES)}", **{name: draw.choice(VALUES) for name in names})
        number = draw.randrange(100)
        facts = RequestFacts(asked, b"/", None, number)
        reason = compiled.first_failure(facts)
        assert compiled.matches(facts) == (not reason)
        seen.add(bool(reason))
    assert seen == {True, False}
