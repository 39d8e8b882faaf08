"""Clusters by DNS name, load balancing over two hosts, connection limits of a cluster."""

import pytest
from tests.differential.harness import Case, Expect, Pairs, case_id, request
from tests.differential.upstream import Read
from tests.differential.wire import End


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n".encode()


ANY_HOST = (r"^upstream", r"^log", r"^stat")
"""Round robin starts at a random host: which host served is not compared, only that all answers came."""

CASES = [
    Case("strict_dns", request(get("/strict_dns")), config="clusters", status=200, end=End.OPEN, forwarded=1),
    Case("logical_dns", request(get("/logical_dns")), config="clusters", status=200, end=End.OPEN, forwarded=1),
    Case(
        "dns_unknown",
        request(get("/dns_unknown")),
        config="clusters",
        status=503,
        end=End.OPEN,
        forwarded=0,
        log="503 UH",
        ignore=(r"update_",),
    ),
    Case(
        "tcp_strict_dns",
        (b"ping", Expect(b"pong")),
        config="clusters",
        listener="tcp_dns",
        raw=(Read(4), b"pong"),
        forwarded=1,
    ),
    Case(
        "round_robin",
        request(get("/round_robin")) * 4,
        config="clusters",
        status=(200,) * 4,
        forwarded=4,
        ignore=ANY_HOST,
        contains=(r"^upstream up", r"^upstream second"),
    ),
    Case(
        "least_request",
        request(get("/least_request")) * 4,
        config="clusters",
        status=(200,) * 4,
        forwarded=4,
        ignore=ANY_HOST,
    ),
    Case("random", request(get("/random")) * 4, config="clusters", status=(200,) * 4, forwarded=4, ignore=ANY_HOST),
    Case(
        "one_request_per_connection",
        request(get("/once")) * 2,
        config="clusters",
        status=(200, 200),
        forwarded=2,
        exact=r"upstream_cx_(total|max_requests|destroy)",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_clusters(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
