"""Hosts that fail under load: no request may fail that Envoy would have served.

The same script runs through Envoy and Proxeny, with two workers each: clients send requests all the time while one or
two of three hosts go bad and come back, as often as the script says; how far the clients are decides when, not a clock.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.differential.faulty_host import Fault, FaultyHost
from tests.differential.proxies import ENVOY, PROXENY, Proxy

TYPE = "type.googleapis.com/"
HCM = TYPE + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = TYPE + "envoy.extensions.filters.http.router.v3.Router"
TCP_PROXY = TYPE + "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
PREVIOUS_HOSTS = TYPE + "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
CLIENTS = 6
REQUESTS = 40
"""Of each client."""
TIMEOUT_SECONDS = 20.0
ANY_PORT = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}

RETRIES = {
    "retry_on": "5xx,reset,connect-failure,retriable-4xx",
    "num_retries": 4,
    "per_try_timeout": "0.3s",
    "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.01s"},
    "retry_host_predicate": [{"name": "previous", "typed_config": {"@type": PREVIOUS_HOSTS}}],
    "host_selection_retry_max_attempts": 10,
}
OUTLIERS = {
    "consecutive_5xx": 2,
    "interval": "0.05s",
    "base_ejection_time": "0.1s",
    "max_ejection_time": "0.2s",
    "max_ejection_percent": 70,
}
CHECKED = {
    "health_checks": [
        {
            "http_health_check": {"path": "/check"},
            "timeout": "0.2s",
            "interval": "0.02s",
            "no_traffic_interval": "0.02s",
            "unhealthy_threshold": 1,
            "healthy_threshold": 1,
        }
    ]
}


@dataclass(frozen=True)
class Script:
    """``changes``: at which share of the requests which host becomes what."""

    name: str
    changes: tuple[tuple[float, int, Fault], ...]
    cluster: dict[str, Any] = field(default_factory=lambda: {"outlier_detection": OUTLIERS})
    ejects: bool = True
    """Whether hosts have to be ejected on the way."""
    tcp: bool = False

    @property
    def lost(self) -> int:
        """What no proxy can save: TCP connections that were under way to a host when it went."""
        return CLIENTS * sum(fault is not Fault.NONE for _, _, fault in self.changes) if self.tcp else 0


def on_and_off(fault: Fault, *hosts: int) -> tuple[tuple[float, int, Fault], ...]:
    """Each of the hosts is bad for a while, twice, one after the other. One host of a script never is."""
    changes = []
    for turn in range(2):
        for place, host in enumerate(hosts):
            start = (turn * len(hosts) + place) / (2 * len(hosts))
            changes += [(start + 0.02, host, fault), (start + 0.7 / (2 * len(hosts)), host, Fault.NONE)]
    return tuple(changes)


BROUGHT_BACK = Script(
    "brought_back",
    (),
    {**CHECKED, "outlier_detection": {**OUTLIERS, "base_ejection_time": "600s", "max_ejection_time": "600s"}},
)
SCRIPTS = [
    BROUGHT_BACK,
    Script("refuses", on_and_off(Fault.REFUSES, 0, 1)),
    Script("resets", on_and_off(Fault.RESETS, 0, 1)),
    Script("cuts", on_and_off(Fault.CUTS, 0, 2)),
    Script("stalls", on_and_off(Fault.STALLS, 1)),
    Script("errs", on_and_off(Fault.ERRS, 0, 1)),
    Script("flaps", ((0.0, 0, Fault.FLAPS), (0.0, 1, Fault.FLAPS))),
    Script(
        "two_at_a_time",
        ((0.1, 0, Fault.RESETS), (0.2, 1, Fault.REFUSES), (0.5, 0, Fault.NONE), (0.6, 1, Fault.NONE)),
    ),
    Script("sick", on_and_off(Fault.SICK, 0, 1), CHECKED, ejects=False),
    Script("sick_and_refuses", (*on_and_off(Fault.SICK, 0), *on_and_off(Fault.REFUSES, 1)), CHECKED, ejects=False),
    Script("checked_and_ejected", on_and_off(Fault.ERRS, 0, 1), {**CHECKED, "outlier_detection": OUTLIERS}),
    Script("without_detection", on_and_off(Fault.REFUSES, 0, 1), {}, ejects=False),
    Script("tcp_refuses", on_and_off(Fault.REFUSES, 0, 1), tcp=True),
]


def cluster_of(script: Script, hosts: list[FaultyHost]) -> dict[str, Any]:
    endpoints = [
        {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": host.port}}}}
        for host in hosts
    ]
    return {
        "name": script.name,
        "connect_timeout": "0.3s",
        "load_assignment": {"cluster_name": script.name, "endpoints": [{"lb_endpoints": endpoints}]},
        "common_lb_config": {"update_merge_window": "0s", "healthy_panic_threshold": {"value": 0}},
        "circuit_breakers": {"thresholds": [{"max_retries": 1000}]},
        **script.cluster,
    }


def listener_of(script: Script) -> dict[str, Any]:
    route = {"cluster": script.name, "timeout": "15s", "retry_policy": RETRIES}
    hcm = {
        "@type": HCM,
        "stat_prefix": "h",
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}}],
        "route_config": {
            "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}]
        },
    }
    tcp = {"@type": TCP_PROXY, "stat_prefix": "t", "cluster": script.name, "max_connect_attempts": 6}
    chain = {"filters": [{"name": "f", "typed_config": tcp if script.tcp else hcm}]}
    return {"name": script.name, "address": ANY_PORT, "filter_chains": [chain]}


class Side:
    """One proxy with a cluster for every script."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.hosts = {script.name: [FaultyHost() for _ in range(3)] for script in SCRIPTS}
        resources = {
            "listeners": [listener_of(script) for script in SCRIPTS],
            "clusters": [cluster_of(script, self.hosts[script.name]) for script in SCRIPTS],
        }
        template = json.dumps({"admin": {"address": ANY_PORT}, "static_resources": resources})
        self.proxy = Proxy(kind, template, folder / kind, concurrency=2)

    def close(self) -> None:
        self.proxy.close()
        for hosts in self.hosts.values():
            for host in hosts:
                host.close()


class Run:
    """One proxy under one script."""

    def __init__(self, side: Side, script: Script) -> None:
        self.script = script
        self.hosts = side.hosts[script.name]
        self.proxy = side.proxy
        self._lock = threading.Lock()
        self._changes = sorted(script.changes, key=lambda change: change[0])
        self._sent = 0
        self.statuses: dict[int, int] = {}

    @property
    def address(self) -> tuple[str, int]:
        address = self.proxy.address_of(self.script.name)
        assert isinstance(address, tuple)
        return address

    def load(self) -> None:
        """All clients, all requests."""
        with ThreadPoolExecutor(CLIENTS) as pool:
            for client in [pool.submit(self._client) for _ in range(CLIENTS)]:
                client.result()

    def _client(self) -> None:
        connection = http.client.HTTPConnection(*self.address, timeout=TIMEOUT_SECONDS)
        for _ in range(REQUESTS):
            self._turn()
            try:
                connection.request("GET", "/")
                response = connection.getresponse()
                response.read()
                status = response.status
            except (OSError, http.client.HTTPException):
                status = 0
            if status == 0 or self.script.tcp:
                connection.close()
            with self._lock:
                self.statuses[status] = self.statuses.get(status, 0) + 1
        connection.close()

    def _turn(self) -> None:
        """Another request: what does it bring about?"""
        with self._lock:
            self._sent += 1
            while self._changes and self._changes[0][0] * CLIENTS * REQUESTS <= self._sent:
                _, host, fault = self._changes.pop(0)
                self.hosts[host].become(fault)

    @property
    def failed(self) -> int:
        """Requests that were not served."""
        return sum(count for status, count in self.statuses.items() if status != 200)

    def wait_until_served_by_all(self) -> None:
        """Every host comes back in the end."""
        for host in self.hosts:
            host.become(Fault.NONE)
            host.served = 0
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not all(host.served for host in self.hosts):
            assert time.monotonic() < deadline, [host.served for host in self.hosts]
            self._get()

    def _get(self) -> None:
        connection = http.client.HTTPConnection(*self.address, timeout=TIMEOUT_SECONDS)
        connection.request("GET", "/")
        connection.getresponse().read()
        connection.close()

    def stat(self, name: str) -> int:
        """A statistic of the cluster."""
        name = f"cluster.{self.script.name}.{name}"
        return self.proxy.stats(f"^{name}$").get(name, 0)

    @property
    def ejections(self) -> int:
        """How often a host was ejected."""
        return self.stat("outlier_detection.ejections_enforced_total")


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Side]]:
    folder = tmp_path_factory.mktemp("faults")
    with ThreadPoolExecutor(2) as pool:
        started = list(pool.map(lambda kind: Side(kind, folder), (ENVOY, PROXENY)))
    yield started
    for side in started:
        side.close()


@pytest.mark.parametrize("script", SCRIPTS[1:], ids=lambda script: script.name)
def test_no_request_fails_that_envoy_serves(script: Script, sides: list[Side]) -> None:
    envoy, proxeny = runs = [Run(side, script) for side in sides]
    for run in runs:
        # One after the other: each has the machine for itself.
        run.load()
        run.wait_until_served_by_all()
    assert proxeny.failed <= max(envoy.failed, script.lost), (envoy.statuses, proxeny.statuses)
    if script.ejects:
        assert all(run.ejections for run in runs)
    assert not proxeny.proxy.stats("^server.worker_restarts$").get("server.worker_restarts", 0)


def test_a_passed_check_brings_an_ejected_host_back(sides: list[Side]) -> None:
    for side in sides:
        run = Run(side, BROUGHT_BACK)
        run.hosts[0].become(Fault.ERRS)
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not run.ejections:
            assert time.monotonic() < deadline
            run._get()
        while run.stat("outlier_detection.ejections_active") or run.stat("membership_healthy") != 3:
            assert time.monotonic() < deadline
            time.sleep(0.005)
