"""The CORS filter: preflight and simple requests against policies of routes and virtual hosts."""

import pytest
from tests.differential.harness import Case, Pairs, case_id, request

GOOD = "Origin: http://good.test"
METHOD = "Access-Control-Request-Method: PUT"
HEADERS = "Access-Control-Request-Headers: x-asked"
PRIVATE = "Access-Control-Request-Private-Network: true"


def to(name: str, path: str, *headers: str, method: str = "GET", host: str = "any.test", **more: object) -> Case:
    lines = "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *headers, "", ""])
    return Case(name, request(lines.encode()), config="cors", **more)  # type: ignore[arg-type]


def preflight(name: str, path: str, *headers: str, host: str = "any.test", **more: object) -> Case:
    return to(name, path, *headers, method="OPTIONS", host=host, **more)


CASES = [
    to("simple", "/full", GOOD, contains=(r"access-control-allow-origin: http://good.test",), forwarded=1),
    to("simple_regex", "/full", "Origin: https://a.nice.test"),
    to("simple_other", "/full", "Origin: http://bad.test", forwarded=1),
    to("without_origin", "/full"),
    to("empty_origin", "/full", "Origin:"),
    preflight("preflight", "/full", GOOD, METHOD, HEADERS, status=200, forwarded=0, log="cors_response"),
    preflight("preflight_other", "/full", "Origin: http://bad.test", METHOD, forwarded=1),
    preflight("options_without_method", "/full", GOOD, forwarded=1),
    preflight("options_with_empty_method", "/full", GOOD, "Access-Control-Request-Method:", forwarded=1),
    preflight("star", "/star", "Origin: http://any.test", METHOD, HEADERS, forwarded=0),
    preflight("star_without_headers", "/star", "Origin: http://any.test", METHOD),
    to("star_simple", "/star", "Origin: null"),
    preflight("not_forwarded", "/strict", "Origin: http://bad.test", METHOD, forwarded=0),
    preflight("private_network", "/private", GOOD, METHOD, PRIVATE),
    preflight("private_network_not_asked", "/private", GOOD, METHOD),
    preflight("private_network_not_allowed", "/full", GOOD, METHOD, PRIVATE),
    to("shadow", "/shadow", GOOD),
    preflight("shadow_preflight", "/shadow", GOOD, METHOD, forwarded=1),
    preflight("off", "/off", GOOD, METHOD, forwarded=1),
    preflight("levels_complete_each_other", "/partial", "Origin: http://a.vhost.test", METHOD),
    to("levels_complete_each_other_simple", "/partial", "Origin: http://a.vhost.test"),
    preflight("of_the_virtual_host", "/inherit", "Origin: http://a.vhost.test", METHOD),
    preflight("older_field_beside_a_typed_one", "/old", GOOD, METHOD),
    to("direct_response", "/direct", GOOD),
    preflight("older_field_of_the_host", "/", GOOD, METHOD, host="old.test"),
    preflight("older_field_of_the_route", "/old", GOOD, METHOD, host="old.test"),
    to("older_field_simple", "/old", GOOD, host="old.test"),
    Case(
        "upstream_header_is_replaced",
        request(f"GET /full HTTP/1.1\r\nHost: a\r\n{GOOD}\r\n\r\n".encode()),
        config="cors",
        answers=((b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: other\r\nContent-Length: 0\r\n\r\n",),),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_cors(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
