"""Levels of route configurations: header mutations in both orders, configurations of filters, weights from runtime."""

import pytest
from tests.differential.harness import Case, Pairs, case_id, request
from tests.differential.upstream import Answer

NAMES = ("x-app", "x-abs", "x-over", "x-only", "x-rm-config", "x-rm-host", "x-rm-route", "x-rm-weight", "x-app-host")
RESPONSE: Answer = (
    b"HTTP/1.1 200 OK\r\n" + b"".join([f"{name}: up\r\n".encode() for name in NAMES]) + b"Content-Length: 0\r\n\r\n",
)


def to(listener: str, path: str, *headers: str, method: str = "GET", name: str = "", **more: object) -> Case:
    lines = "\r\n".join([f"{method} /{path} HTTP/1.1", "Host: a.test", *headers, "", ""])
    return Case(
        f"{listener}_{name or path}{'_sent' if headers and not name else ''}",
        request(lines.encode()),
        config="route_levels",
        listener=listener,
        answers=(RESPONSE,),
        **more,  # type: ignore[arg-type]
    )


SENT = tuple(f"{name}: sent" for name in NAMES)
PREFLIGHT = ("Origin: http://o.test", "Access-Control-Request-Method: PUT")

CASES = [
    to(listener, path, *headers)
    for listener in ("main", "specific")
    for path in ("plain", "own", "direct", "moved", "weighted")
    for headers in ((), SENT)
] + [
    to("main", "cors", *PREFLIGHT, method="OPTIONS", name="preflight_of_all_levels", forwarded=0),
    to("main", "cors", "Origin: http://o.test", name="simple_of_all_levels"),
    to("main", "plain", *PREFLIGHT, method="OPTIONS", name="preflight_of_two_levels"),
    *[to("main", "runtime", f"x-weight: {value}", name=f"runtime_{value}") for value in (0, 9, 10, 60)],
]


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_route_levels(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
