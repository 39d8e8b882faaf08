"""Ejected hosts when the hosts of their cluster change (EDS from a file): step by step as in Envoy."""

from __future__ import annotations

import http.client
import json
import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.differential.outlier_cases import TYPE, answer
from tests.differential.proxies import ENVOY, PROXENY, Proxy

HCM = TYPE + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = TYPE + "envoy.extensions.filters.http.router.v3.Router"
ASSIGNMENT = TYPE + "envoy.config.endpoint.v3.ClusterLoadAssignment"
DEADLINE_SECONDS = 20.0
BAD = "bad"


def template() -> str:
    any_port = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    hcm = {
        "@type": HCM,
        "stat_prefix": "h",
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}}],
        "route_config": {
            "virtual_hosts": [
                {"name": "v", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "c"}}]}
            ]
        },
    }
    source = {"path_config_source": {"path": "{{folder}}/eds.json"}, "resource_api_version": "V3"}
    cluster = {
        "name": "c",
        "type": "EDS",
        "eds_cluster_config": {"service_name": "of_c", "eds_config": source},
        "common_lb_config": {"update_merge_window": "0s"},
        "outlier_detection": {
            "max_ejection_percent": 50, "interval": "600s", "base_ejection_time": "600s", "max_ejection_time": "600s",
        },
    }  # fmt: skip
    listener = {
        "name": "main",
        "address": any_port,
        "filter_chains": [{"filters": [{"name": "h", "typed_config": hcm}]}],
    }
    return json.dumps(
        {
            "admin": {"address": any_port},
            "node": {"id": "n", "cluster": "n"},
            "static_resources": {"listeners": [listener], "clusters": [cluster]},
        }
    )


class EdsProxy(Proxy):
    """Its cluster has the hosts that it is told."""

    def _start(self) -> None:
        self.set_hosts(BAD, "good")
        super()._start()

    def set_hosts(self, *names: str, weight: int = 1) -> None:
        """These are the hosts of the cluster."""
        endpoints = [
            {
                "endpoint": {
                    "address": {
                        "socket_address": {
                            "address": "127.0.0.1",
                            "port_value": int(self.fill(b"{{upstream:%s}}" % name.encode())),
                        }
                    }
                },
                "load_balancing_weight": weight,
            }
            for name in names
        ]
        assignment = {"@type": ASSIGNMENT, "cluster_name": "of_c", "endpoints": [{"lb_endpoints": endpoints}]}
        fresh = self.folder / "fresh.json"
        fresh.write_text(json.dumps({"version_info": "1", "resources": [assignment]}))
        os.replace(fresh, self.folder / "eds.json")

    def get(self) -> None:
        """One request; the bad host fails, the others do not."""
        self.upstreams[BAD].begin([answer(500)] * 10, None)
        client = http.client.HTTPConnection(*self.address_of("main"), timeout=DEADLINE_SECONDS)
        client.request("GET", "/")
        client.getresponse().read()
        client.close()

    def view(self) -> dict[str, Any]:
        """/clusters without the counters, and the statistics of ejections and members."""
        page = self.normalise(self.admin("/clusters?filter=^c$"))
        stats = self.stats(r"^cluster\.c\.(outlier_detection\.ejections_(active|enforced_total)|membership)")
        del stats["cluster.c.membership_change"]
        return {"stats": stats, "text": [re.sub(r"::(cx|rq)_\w+::\d+$", "", line) for line in page.splitlines()]}


def both(sides: list[EdsProxy], active: int, total: int, weight: int = 1) -> dict[str, Any]:
    """What both show, once they agree and show so many ejected hosts of so many, all of this weight."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        envoy, proxeny = (side.view() for side in sides)
        stats = proxeny["stats"]
        reached = (
            stats["cluster.c.outlier_detection.ejections_active"] == active
            and stats["cluster.c.membership_total"] == total
            and sum(line.endswith(f"::weight::{weight}") for line in proxeny["text"]) == total
        )
        if (envoy == proxeny and reached) or time.monotonic() > deadline:
            assert envoy == proxeny
            assert reached, stats
            return proxeny
        time.sleep(0.01)


def ejected(view: dict[str, Any]) -> list[str]:
    return [line.split("::")[1] for line in view["text"] if line.endswith("::health_flags::/failed_outlier_check")]


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[EdsProxy]]:
    folder = tmp_path_factory.mktemp("updates")
    with ThreadPoolExecutor(2) as pool:
        started = list(pool.map(lambda kind: EdsProxy(kind, template(), folder / kind), (ENVOY, PROXENY)))
    yield started
    for side in started:
        side.close()


def test_ejections_through_updates(sides: list[EdsProxy]) -> None:
    bad = f"127.0.0.1:<{BAD}>"
    assert ejected(both(sides, 0, 2)) == []
    for side in sides:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not side.view()["stats"]["cluster.c.outlier_detection.ejections_active"]:
            assert time.monotonic() < deadline
            side.get()
    view = both(sides, 1, 2)
    assert ejected(view) == [bad]
    assert "c::eds_service_name::of_c" in view["text"]
    # It stays ejected while it stays: beside a new host, and with another weight.
    for side in sides:
        side.set_hosts("third", BAD, "good")
    assert ejected(both(sides, 1, 3)) == [bad]
    for side in sides:
        side.set_hosts(BAD, weight=7)
    assert ejected(both(sides, 1, 1, 7)) == [bad]
    # Gone, it no longer counts; back again, it is a host like any other.
    for side in sides:
        side.set_hosts("good", "third", weight=2)
    assert ejected(both(sides, 0, 2, 2)) == []
    for side in sides:
        side.set_hosts("good", BAD, weight=3)
    assert ejected(both(sides, 0, 2, 3)) == []
