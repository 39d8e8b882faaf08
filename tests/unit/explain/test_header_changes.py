"""Differences of headers, and the reasons that are given for them."""

from envoy.config.route.v3 import route_components_pb2
from google.protobuf.json_format import ParseDict

from proxeny.explain.header_changes import (
    HeaderChange,
    explain_mutations,
    explain_sanitising,
    header_changes,
    response_mutations,
)


def test_differences() -> None:
    before = [("a", "1"), ("B", "2"), ("c", "3"), ("c", "4")]
    after = [("a", "1"), ("b", "3"), ("d", "5")]
    assert header_changes(before, after) == [
        HeaderChange("b", "changed", "2", "3"),
        HeaderChange("c", "removed", "3 | 4", ""),
        HeaderChange("d", "added", "", "5"),
    ]


def test_reasons_before_the_route() -> None:
    names = ("connection", "x-own", "x-envoy-retry-on", "x-envoy-original-path", "x-odd")
    changes = [HeaderChange(name, "removed", "v", "") for name in names]
    reasons = [change.why for change in explain_sanitising(changes, [b"x-own"])]
    assert [reason.split(":")[0] for reason in reasons[:2]] == ["hop-by-hop", "internal_only_headers"]
    assert "not internal" in reasons[2]
    assert "edge request" in reasons[3]
    assert "early_header_mutation" in reasons[4]
    added = explain_sanitising([HeaderChange("x-request-id", "added", "", "id")], [])
    assert added[0].why == "made here (generate_request_id)"


def test_reasons_behind_the_route() -> None:
    route = ParseDict(
        {
            "request_headers_to_add": [{"header": {"key": "X-A", "value": "1"}}],
            "response_headers_to_add": [{"header": {"key": "x-r", "value": "%PROTOCOL%"}}],
            "response_headers_to_remove": ["server"],
            "route": {"cluster": "c", "prefix_rewrite": "/x", "host_rewrite_literal": "h"},
        },
        route_components_pb2.Route(),
    )
    host = ParseDict({"name": "v", "request_headers_to_remove": ["x-b"]}, route_components_pb2.VirtualHost())
    levels = [("route 'r'", route), ("virtual host 'v'", host)]
    changes = [
        HeaderChange(":path", "changed", "/a", "/x"),
        HeaderChange(":authority", "changed", "a", "h"),
        HeaderChange("x-a", "added", "", "1"),
        HeaderChange("x-b", "removed", "1", ""),
        HeaderChange("x-envoy-expected-rq-timeout-ms", "added", "", "15000"),
        HeaderChange("x-envoy-upstream-rq-timeout-ms", "removed", "1", ""),
    ]
    assert [change.why for change in explain_mutations(changes, levels, route.route)] == [
        "prefix_rewrite",
        "host_rewrite_literal",
        "request_headers_to_add of route 'r'",
        "request_headers_to_remove of virtual host 'v'",
        "the timeout in force, for the upstream",
        "consumed by the router",
    ]
    assert response_mutations(levels) == ["x-r: '%PROTOCOL%' (route 'r')", "server is removed (route 'r')"]
