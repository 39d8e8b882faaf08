"""Runtime keys of the connection manager: paths, limits of headers, tracing."""

import pytest
from tests.differential.harness import Case, Pairs, case_id, request

ID = "000003E8-0000-4000-8000-00000000000A"
"""1,000 of 10,000, 0 of 100: within 50 per cent."""
HIGH_ID = "00001F90-0000-9000-8000-00000000000A"
"""8,080 of 10,000, 80 of 100: beyond it, and sampled before."""
SAMPLED = r"tracing\.(not_traceable|random_sampling)$"


def get(
    name: str, listener: str, *headers: str, path: str = "/p", status: int = 200, logged: int | None = None
) -> Case:
    """One request to a listener of the configuration."""
    lines = "\r\n".join([f"GET {path} HTTP/1.1", "Host: any.test", *headers, "", ""])
    return Case(
        f"{listener}_{name}",
        request(lines.encode()),
        config="headers_runtime",
        listener=listener,
        status=status,
        logged=logged,
        ignore=(SAMPLED,) if listener == "trace" else (),
    )


def many(count: int) -> tuple[str, ...]:
    return tuple(f"x-{number}: 1" for number in range(count))


CASES = [
    get("normalized", "main", path="/a/../b"),
    get("escaped_slash", "main", path="/a%2Fb", status=400),
    get("normalized", "own", path="/a/../b"),
    get("escaped_slash", "own", path="/a%2Fb"),
    get("fragment", "main", path="/a?b#c"),
    get("fragment_alone", "main", path="/#"),
    get("few", "main", *many(5)),
    get("many", "main", *many(6), status=431),
    get("many", "own", *many(6)),
    get("large", "main", "x: " + "y" * 1100, status=431),
    get("large", "own", "x: " + "y" * 1100),
    get("not_sampled", "trace", f"X-Request-Id: {ID}"),
    get("client", "trace", f"X-Request-Id: {ID}", "X-Client-Trace-Id: c"),
    get("sampled_before", "trace", f"X-Request-Id: {HIGH_ID}"),
    get("sampled_before_and_kept", "trace", f"X-Request-Id: {ID[:14]}9{ID[15:]}"),
    get("inside", "logged", "X-Request-Id: 00000010-0000-9000-8000-00000000000A", "Connection: close", logged=1),
    get("outside", "logged", "X-Request-Id: 00000060-0000-9000-8000-00000000000A", "Connection: close", logged=0),
    get("short_inside", "logged", "X-Request-Id: 00000010", "Connection: close", logged=1),
    get("short_outside", "logged", "X-Request-Id: 00000060AA", "Connection: close", logged=0),
]


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_runtime(pairs: Pairs, case: Case) -> None:
    pairs.check(case)
