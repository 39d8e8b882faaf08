"""``track_cluster_stats``: histograms of sizes and of timeout budgets, sample by sample."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.differential.proxies import ENVOY, PROXENY, Proxy
from tests.differential.upstream import NEVER, Answer

TYPE = "type.googleapis.com/"
HCM = TYPE + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = TYPE + "envoy.extensions.filters.http.router.v3.Router"
DEADLINE_SECONDS = 15.0
SIZES = ("upstream_rq_headers_size", "upstream_rq_headers_count", "upstream_rq_body_size",
         "upstream_rs_headers_size", "upstream_rs_headers_count", "upstream_rs_body_size")  # fmt: skip
BUDGETS = ("upstream_rq_timeout_budget_percent_used", "upstream_rq_timeout_budget_per_try_percent_used")
RETRIES = {"retry_on": "5xx", "num_retries": 2}


def answer(code: int, headers: str = "", body: str = "") -> Answer:
    return (f"HTTP/1.1 {code} X\r\n{headers}content-length: {len(body)}\r\n\r\n{body}".encode(),)


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabcde\r\n3\r\nfgh\r\n0\r\n\r\n"

CASES: dict[str, tuple[dict[str, Any], list[tuple[str, Answer]]]] = {
    "get": ({}, [("GET", answer(200))]),
    "get_with_body": ({}, [("GET", answer(200, "a: b\r\nc: d\r\n", "x" * 1000))]),
    "post": ({}, [("POST", answer(201, "", "ok")), ("POST", answer(200, "", "x" * 50))]),
    "chunked": ({}, [("GET", (CHUNKED,))]),
    "retried": ({"retry_policy": RETRIES}, [("POST", answer(503, "", "abc"))]),
    "no_timeout": ({"timeout": "0s"}, [("GET", answer(200))]),
    "timeout": ({"timeout": "0.05s"}, [("GET", (NEVER,))]),
    "timeout_per_try": (
        {"timeout": "10s", "retry_policy": {**RETRIES, "per_try_timeout": "0.05s"}},
        [("GET", (NEVER,))],
    ),
    "refused": ({}, [("POST", answer(200))]),
    "budgets_only": ({}, [("GET", answer(200, "", "abc"))]),
    "sizes_only": ({}, [("GET", answer(200, "", "abc"))]),
}


def cluster(name: str) -> dict[str, Any]:
    port = "{{refused}}" if name == "refused" else "{{upstream:up}}"
    endpoint = {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}
    return {
        "name": name,
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "track_cluster_stats": {
            "timeout_budgets": name != "sizes_only",
            "request_response_sizes": name != "budgets_only",
        },
    }


def template() -> str:
    routes = [
        {"match": {"path": f"/{name}"}, "route": {"cluster": name, "timeout": "1000s", **route}}
        for name, (route, _) in CASES.items()
    ]
    hcm = {
        "@type": HCM,
        "stat_prefix": "h",
        "generate_request_id": False,
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}}],
        "route_config": {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": routes}]},
    }
    any_port = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    chain = {"filters": [{"name": "h", "typed_config": hcm}]}
    return json.dumps(
        {
            "admin": {"address": any_port},
            "stats_flush_interval": "0.05s",
            "static_resources": {
                "listeners": [{"name": "main", "address": any_port, "filter_chains": [chain]}],
                "clusters": [cluster(name) for name in CASES],
            },
        }
    )


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Proxy]]:
    folder = tmp_path_factory.mktemp("tracked")
    with ThreadPoolExecutor(2) as pool:
        started = list(pool.map(lambda kind: Proxy(kind, template(), folder / kind), (ENVOY, PROXENY)))
    yield started
    for side in started:
        side.close()


def drive(side: Proxy, name: str) -> None:
    for method, one in CASES[name][1]:
        side.upstreams["up"].begin([one] * 5, None)
        body = b"0123456789" if method == "POST" else b""
        head = f"{method} /{name} HTTP/1.1\r\nhost: a.test\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        with socket.create_connection(side.address_of("main"), DEADLINE_SECONDS) as client:  # type: ignore[arg-type]
            client.sendall(head.encode() + body)
            while client.recv(65536):
                pass


def samples(side: Proxy, name: str) -> dict[str, str]:
    """What each histogram holds: buckets and counts; of budgets the counts alone, for time is not the same twice."""
    found = {}
    page = side.admin(f"/stats?filter=^cluster.{name}.upstream_r&histogram_buckets=detailed")
    for histogram, totals in re.findall(r"cluster\.\w+\.(\w+):\n +totals=(.*)\n", page):
        if histogram in SIZES:
            found[histogram] = totals
        elif histogram in BUDGETS:
            found[histogram] = str(sum(int(bucket.rpartition(":")[2]) for bucket in totals.split(", ") if bucket))
    return found


@pytest.mark.parametrize("name", CASES)
def test_samples(name: str, sides: list[Proxy]) -> None:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda side: drive(side, name), sides))
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        envoy, proxeny = (samples(side, name) for side in sides)
        if (envoy == proxeny and any(envoy.values())) or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    assert envoy == proxeny
    tracked = BUDGETS if name == "budgets_only" else SIZES if name == "sizes_only" else (*BUDGETS, *SIZES)
    assert set(proxeny) <= set(tracked)
    if name not in ("budgets_only", "sizes_only"):
        assert SIZES[0] in proxeny
