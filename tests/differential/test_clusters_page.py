"""/clusters, as text and as JSON, of clusters and hosts of many shapes: equal to Envoy's in every line."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import yaml
from tests.differential.proxies import CONFIGS, ENVOY, PROXENY, Proxy
from tests.differential.upstream import NEVER

TEMPLATE = (CONFIGS / "clusters_page.yaml").read_text()
NAMES = [cluster["name"] for cluster in yaml.safe_load(TEMPLATE)["static_resources"]["clusters"]]
DEADLINE_SECONDS = 10.0


def send(side: Proxy, path: str, times: int = 1) -> None:
    for _ in range(times):
        client = http.client.HTTPConnection(*side.address_of("main"), timeout=DEADLINE_SECONDS)
        client.request("GET", path)
        client.getresponse().read()
        client.close()


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Proxy]]:
    folder = tmp_path_factory.mktemp("clusters")

    def start(kind: str) -> Proxy:
        side = Proxy(kind, TEMPLATE, folder / kind)
        for path in ("/plain", "/refused", "/names"):
            send(side, path, 3)
        side.upstreams["up"].begin([(NEVER,)], None)
        send(side, "/late")
        return side

    with ThreadPoolExecutor(2) as pool:
        started = list(pool.map(start, (ENVOY, PROXENY)))
    yield started
    for side in started:
        side.close()


def text_of(side: Proxy, name: str) -> list[str]:
    page = side.normalise(side.admin("/clusters"))
    return [line for line in page.splitlines() if line.startswith(f"{name}::")]


def json_of(side: Proxy, name: str) -> Any:
    page = json.loads(side.normalise(side.admin("/clusters?format=json")))
    (status,) = [status for status in page["cluster_statuses"] if status["name"] == name]
    ports = {int(number[1:]): mark for number, mark in side.names.items() if number.startswith(":")}
    for host in status.get("host_statuses", ()):
        socket_address = host["address"].get("socket_address", {})
        socket_address["port_value"] = ports.get(socket_address.get("port_value"), socket_address.get("port_value"))
    # The order of keys counts too.
    return json.dumps(status)


def equal(read: Any, sides: list[Proxy], name: str) -> tuple[Any, Any]:
    """What both show, once it is equal or time is up: connections close at their own pace."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        envoy, proxeny = (read(side, name) for side in sides)
        if envoy == proxeny or time.monotonic() > deadline:
            return envoy, proxeny
        time.sleep(0.01)


@pytest.mark.parametrize("name", NAMES)
def test_text(name: str, sides: list[Proxy]) -> None:
    envoy, proxeny = equal(text_of, sides, name)
    assert envoy == proxeny
    assert proxeny


@pytest.mark.parametrize("name", NAMES)
def test_json(name: str, sides: list[Proxy]) -> None:
    envoy, proxeny = equal(json_of, sides, name)
    assert envoy == proxeny


@pytest.mark.parametrize("query", ["filter=^plain$", "filter=plain|late", "filter=", "filter=none", "filter=(",
                                   "filter=^out&format=json", "format=text", "format=xml"])  # fmt: skip
def test_filters(query: str, sides: list[Proxy]) -> None:
    def page(side: Proxy, query: str) -> list[str]:
        lines = [line.strip(" ,") for line in side.normalise(side.admin(f"/clusters?{query}")).splitlines()]
        return sorted(line for line in lines if "port_value" not in line)

    envoy, proxeny = equal(page, sides, query)
    assert envoy == proxeny
