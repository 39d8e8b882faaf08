"""Outlier detection: the same failures through Envoy and Proxeny; counters, event logs and /clusters must be equal."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.differential.outlier_cases import CASES, TYPE, OutlierCase, answer
from tests.differential.proxies import ENVOY, PROXENY, Proxy

HCM = TYPE + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = TYPE + "envoy.extensions.filters.http.router.v3.Router"
TCP_PROXY = TYPE + "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
DEADLINE_SECONDS = 20.0
ALWAYS_BAD = ("bad", "worse", "bad2", "worse2")


def listener(name: str, type_url: str, config: dict[str, Any]) -> dict[str, Any]:
    filters = [{"name": "f", "typed_config": {"@type": type_url, "stat_prefix": name, **config}}]
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    return {"name": name, "address": address, "filter_chains": [{"filters": filters}]}


def template() -> str:
    routes = [
        {"match": {"path": f"/{case.name}"}, "route": {"cluster": case.name, **case.route}}
        for case in CASES
        if not case.tcp
    ]
    hcm = {
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}}],
        "internal_address_config": {"cidr_ranges": [{"address_prefix": "127.0.0.0", "prefix_len": 8}]},
        "use_remote_address": True,
        "route_config": {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": routes}]},
    }
    listeners = [listener("main", HCM, hcm)]
    listeners += [listener(case.name, TCP_PROXY, {"cluster": case.name}) for case in CASES if case.tcp]
    admin = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}}
    return json.dumps(
        {
            "admin": admin,
            "cluster_manager": {"outlier_detection": {"event_log_path": "{{folder}}/events"}},
            "layered_runtime": {"layers": [{"name": "admin", "admin_layer": {}}]},
            "static_resources": {"listeners": listeners, "clusters": [case.proto() for case in CASES]},
        }
    )


class Side:
    """One proxy, and a client of it."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.proxy = Proxy(kind, template(), folder / kind)

    def run(self, case: OutlierCase) -> tuple[list[int], dict[str, Any]]:
        """The statuses that the client got, and how the cluster is shown at the end."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        statuses = self._round(case)
        while case.repeats and not self.is_reached(case) and time.monotonic() < deadline:
            self._round(case)
        while not self.is_reached(case) and time.monotonic() < deadline:
            time.sleep(0.005)
        return statuses, self.view(case)

    def _round(self, case: OutlierCase) -> list[int]:
        for name, upstream in self.proxy.upstreams.items():
            bad = name in ALWAYS_BAD
            upstream.begin([answer(500)] * 1000 if bad else [one for one, _ in case.exchanges for _ in range(5)], None)
        if case.tcp:
            for _ in case.exchanges:
                self._connect(case)
            return []
        statuses = []
        for one, headers in case.exchanges:
            if case.hosts == ("up",):
                # An attempt that is retried gets the same answer.
                self.proxy.upstreams["up"].begin([one] * 10, None)
            connection = http.client.HTTPConnection(*self.proxy.address_of("main"), timeout=DEADLINE_SECONDS)
            connection.request("GET", f"/{case.name}", headers=headers)
            statuses.append(connection.getresponse().status)
            connection.close()
        return statuses

    def _connect(self, case: OutlierCase) -> None:
        address = self.proxy.address_of(case.name)
        with contextlib.suppress(ConnectionError), socket.create_connection(address, DEADLINE_SECONDS) as client:
            client.recv(1)

    def stats(self, case: OutlierCase) -> dict[str, int]:
        found = self.proxy.stats(rf"^cluster\.{case.name}\.(outlier_detection|membership)")
        return {name.partition(f"cluster.{case.name}.")[2]: value for name, value in found.items()}

    def is_reached(self, case: OutlierCase) -> bool:
        stats = self.stats(case)
        reached = all(stats[f"outlier_detection.ejections_{name}"] == value for name, value in case.until.items())
        return reached and (case.events is None or len(self.events(case)) >= case.events)

    def events(self, case: OutlierCase) -> list[dict[str, Any]]:
        log = self.proxy.folder / "events"
        lines = log.read_text().splitlines() if log.exists() else []
        found = [json.loads(self.proxy.normalise(line)) for line in lines if line.endswith("}")]
        return [event for event in found if event["cluster_name"] == case.name]

    def text(self, case: OutlierCase) -> list[str]:
        page = self.proxy.normalise(self.proxy.admin(f"/clusters?filter=^{case.name}$"))
        return [re.sub(r"::(cx|rq)_\w+::\d+$", "", line) for line in page.splitlines()]

    def json(self, case: OutlierCase) -> Any:
        status = json.loads(self.proxy.admin(f"/clusters?format=json&filter=^{case.name}$"))["cluster_statuses"][0]
        for host in status["host_statuses"]:
            del host["stats"], host["address"]
        return status

    def view(self, case: OutlierCase) -> dict[str, Any]:
        """What is compared; without what depends on the moment, for volatile cases."""
        events = self.events(case)
        times = [event.pop("timestamp") for event in events]
        assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z", time) for time in times)
        for event in events:
            event.pop("secs_since_last_action", None)
        view: dict[str, Any] = {"stats": self.stats(case), "events": events}
        if case.volatile:
            # How many failures pass before main has reset a count depends on the moment.
            shown = (*(f"outlier_detection.ejections_{name}" for name in case.until), "membership_healthy")
            view["stats"] = {name: view["stats"][name] for name in shown}
            for event in events:
                event.pop("upstream_url")
            view["text"] = sorted(
                re.sub(r"::(outlier::\w+|\w*success_rate)::.*|<\w+>|127.*", "", line) for line in self.text(case)
            )
        else:
            view["text"], view["json"] = self.text(case), self.json(case)
        return view


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Side]]:
    folder = tmp_path_factory.mktemp("outliers")
    with ThreadPoolExecutor(2) as pool:
        started = list(pool.map(lambda kind: Side(kind, folder), (ENVOY, PROXENY)))
        yield started
        for side in started:
            side.proxy.close()


def flags_of(view: dict[str, Any]) -> tuple[str, ...]:
    return tuple(line.rpartition("::")[2] for line in view["text"] if "::health_flags::" in line)


def settled(sides: list[Side], case: OutlierCase) -> list[dict[str, Any]]:
    """The views of both, once they are equal or time is up (what threads tell each other may be on its way)."""
    deadline = time.monotonic() + DEADLINE_SECONDS / 4
    while True:
        views = [side.view(case) for side in sides]
        if views[0] == views[1] or time.monotonic() > deadline:
            return views
        time.sleep(0.01)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_outliers(case: OutlierCase, sides: list[Side]) -> None:
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda side: side.run(case), sides))
    envoy, proxeny = settled(sides, case)
    assert all(side.is_reached(case) for side in sides), (envoy, proxeny)
    assert envoy == proxeny
    if case.statuses:
        assert [tuple(statuses) for statuses, _ in runs] == [case.statuses] * 2
    if case.flags:
        assert flags_of(proxeny) == case.flags
    if case.events is not None:
        assert len(proxeny["events"]) == case.events


def test_the_runtime_overrides(sides: list[Side]) -> None:
    """Two failures are a row now; the change reaches the workers some time."""
    case = next(case for case in CASES if case.name == "of_the_runtime")
    views = []
    for side in sides:
        key = "outlier_detection.consecutive_5xx"
        side.proxy.admin(f"/runtime_modify?{key}=2&outlier_detection.enforcing_consecutive_5xx=0", "POST")
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not side.stats(case)["outlier_detection.ejections_detected_consecutive_5xx"]:
            assert time.monotonic() < deadline
            side._round(case)
        side.proxy.admin(f"/runtime_modify?{key}=3&outlier_detection.enforcing_consecutive_5xx=100", "POST")
        while not side.stats(case)["outlier_detection.ejections_enforced_total"]:
            assert time.monotonic() < deadline
            side._round(case)
        side.proxy.admin(f"/runtime_modify?{key}=&outlier_detection.enforcing_consecutive_5xx=", "POST")
        views.append(flags_of(side.view(case)))
    assert views == [("/failed_outlier_check",)] * 2
