"""The HTTP filter that answers health checks: passed on, answered, cached, by the health of clusters."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import pytest
from tests.differential.harness import Case, Pairs, Reply, case_id, request
from tests.differential.proxies import CONFIGS, ENVOY, PROXENY, Proxy

CHECK = b"GET /health HTTP/1.1\r\nHost: a.test\r\n\r\n"
OTHER = b"GET /other HTTP/1.1\r\nHost: a.test\r\n\r\n"
WITH_BODY = b"POST /health HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody"
CHUNKED = b"POST /health HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
DEGRADED = (b"HTTP/1.1 200 OK\r\nx-envoy-degraded: yes\r\ncontent-length: 2\r\n\r\nok",)
BAD = (b"HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nno",)
DEADLINE_SECONDS = 20.0


def case(name: str, *requests: bytes, listener: str = "main", **more: object) -> Case:
    steps = [step for one in requests for step in request(one)]
    return Case(name, steps, config="health_check_filter", listener=listener, **more)  # type: ignore[arg-type]


CASES = [
    case(
        "passed_on", CHECK, status=200, forwarded=1, contains=(r"x-envoy-upstream-healthchecked-cluster: this-cluster",)
    ),
    case("passed_on_bad", CHECK, answers=(BAD,), status=503, forwarded=1),
    case("other_path", OTHER, status=200, forwarded=1),
    case("with_body", WITH_BODY, status=200, forwarded=1),
    case("answered", CHECK, listener="local", status=200, forwarded=0, log="200 - health_check_ok"),
    case("answered_twice", CHECK, CHECK, listener="local", status=(200, 200), forwarded=0),
    case("answered_with_body", WITH_BODY, CHECK, listener="local", status=(200, 200), forwarded=0),
    case("answered_chunked", CHUNKED, CHECK, listener="local", status=(200, 200), forwarded=0),
    Case(
        "answered_head",
        (CHECK.replace(b"GET", b"HEAD"), Reply(head_only=True)),
        config="health_check_filter",
        listener="local",
        status=200,
        forwarded=0,
    ),
    case("not_a_check", OTHER, listener="local", status=200, forwarded=1),
    case("any_request", OTHER, listener="any", status=(200, 200), forwarded=0),
    case("cached", CHECK, CHECK, CHECK, listener="cached", forwarded=1, status=(200,) * 3, answers=(DEGRADED,)),
    case("cached_still", CHECK, listener="cached", forwarded=0, status=200, log="health_check_cached"),
    case("cached_other", OTHER, listener="cached", forwarded=1, status=200),
    case("half", CHECK, listener="half", status=200, log="health_check_ok_cluster_healthy"),
    case("most", CHECK, listener="most", status=503, log="503 LH health_check_failed_cluster_unhealthy"),
    case("empty", CHECK, listener="empty", status=503, log="503 LH health_check_failed_cluster_empty"),
    case("empty_zero", CHECK, listener="empty_zero", status=200, log="health_check_ok_cluster_healthy"),
    case("unknown", CHECK, listener="unknown", status=503, log="503 LH health_check_failed_no_cluster_found"),
    case("degraded", CHECK, listener="degraded", status=200),
    case("two", CHECK, listener="two", status=200),
]


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_health_check_filter(case: Case, pairs: Pairs) -> None:
    pairs.check(case)


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Proxy]]:
    """A pair that is told to fail, apart from the others."""
    folder: Path = tmp_path_factory.mktemp("failing")
    template = (CONFIGS / "health_check_filter.yaml").read_text()
    with ThreadPoolExecutor(2) as pool:
        started = list(pool.map(lambda kind: Proxy(kind, template, folder / kind), (ENVOY, PROXENY)))
    yield started
    for side in started:
        side.close()


def _ask(side: Proxy, listener: str, path: str) -> tuple[int, list[tuple[str, str]], bytes]:
    host, port = side.address_of(listener)
    connection = HTTPConnection(str(host), int(port), timeout=DEADLINE_SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        headers = sorted((name.lower(), value) for name, value in response.getheaders())
        ignored = ("date", "x-envoy-upstream-service-time")
        return response.status, [pair for pair in headers if pair[0] not in ignored], response.read()
    finally:
        connection.close()


@pytest.mark.parametrize("listener", ["main", "local", "half"])
@pytest.mark.parametrize("path", ["/health", "/alive"])
def test_told_to_fail(sides: list[Proxy], listener: str, path: str) -> None:
    for failed in (True, False):
        for side in sides:
            side.admin("/healthcheck/fail" if failed else "/healthcheck/ok", "POST")
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            envoy, proxeny = (_ask(side, listener, path) for side in sides)
            marked = dict(envoy[1]).get("x-envoy-immediate-health-check-fail") == "true"
            if envoy == proxeny and marked == failed and envoy[0] == (503 if failed and path == "/health" else 200):
                break
            assert time.monotonic() < deadline, f"{envoy}\n{proxeny}"
            time.sleep(0.01)
