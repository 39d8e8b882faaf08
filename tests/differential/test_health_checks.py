"""Active health checks through Envoy and Proxeny: what hosts saw, flags, counters, event log."""

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import pytest
from tests.differential.checked_host import DEADLINE_SECONDS, CheckedHost
from tests.differential.health_check_cases import CASES, HealthCase
from tests.differential.proxies import ENVOY, PROXENY, Proxy

_KINDS = {
    "add_healthy_event": "add",
    "eject_unhealthy_event": "eject",
    "health_check_failure_event": "fail",
    "successful_health_check_event": "success",
    "degraded_healthy_host": "degraded",
    "no_longer_degraded_host": "no_longer",
}
_METADATA = "metadata: {filter_metadata: {envoy.lb: {count: 3}}}"


def _cluster(case: HealthCase, host: CheckedHost, refused: int, folder: Path) -> str:
    log = folder / f"{case.name}.events"
    first = f"{case.common}, interval: 0.02s, {case.interval}, {case.thresholds}, event_log_path: {log}, {case.check}"
    checks = "".join(f"\n    - {{{check}}}" for check in (first, *case.more_checks))
    port = refused if case.address == "refused" else host.port
    endpoint = case.endpoint.replace("{port}", str(host.port))
    fields = ", ".join(
        part for part in (f"address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}", endpoint) if part
    )
    located = "locality: {region: r, zone: z, sub_zone: s}, " if case.cluster.startswith("#") else ""
    metadata = f", {_METADATA}" if located else ""
    return f"""
  - name: {case.name}
    type: STATIC
    common_lb_config: {{update_merge_window: 0s}}
    {case.cluster}
    health_checks:{checks}
    load_assignment:
      cluster_name: {case.name}
      endpoints: [{{{located}lb_endpoints: [{{endpoint: {{{fields}}}{metadata}}}]}}]"""


class CheckingProxy(Proxy):
    """A proxy whose hosts begin their scripts anew when it is started again."""

    def __init__(self, kind: str, template: str, folder: Path, begin: Callable[[], None]) -> None:
        self._begin = begin
        super().__init__(kind, template, folder)

    def _launch(self) -> None:
        self._begin()
        super()._launch()


class Side:
    """One proxy with hosts of its own."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.hosts = {case.name: CheckedHost(case.answers, case.reads, case.http2) for case in CASES}
        self.statuses: dict[str, list[int]] = {}
        self._refused = socket.socket()
        self._refused.bind(("127.0.0.1", 0))
        self._logs = folder / "events"
        self._logs.mkdir(parents=True)
        refused = self._refused.getsockname()[1]
        routes = ", ".join(
            f"{{match: {{prefix: /{case.name}/}}, route: {{cluster: {case.name}}}}}" for case in CASES if case.traffic
        )
        clusters = "".join(_cluster(case, self.hosts[case.name], refused, self._logs) for case in CASES)
        template = f"""
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}
static_resources:
  listeners:
  - name: ingress
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: ingress
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
          route_config: {{name: r, virtual_hosts: [{{name: v, domains: ["*"], routes: [{routes}]}}]}}
  clusters:{clusters}
"""
        self._names = {f":{host.port}": ":<host>" for host in self.hosts.values()} | {f":{refused}": ":<refused>"}
        self.proxy = CheckingProxy(kind, template, folder / "proxy", self._begin)

    def _begin(self) -> None:
        for host in self.hosts.values():
            host.begin()
        for log in self._logs.iterdir():
            log.unlink()

    def _named(self, text: str) -> str:
        for port, name in self._names.items():
            text = text.replace(port, name)
        return re.sub(r'"timestamp":"[^"]*Z"', '"timestamp":"<time>"', text)

    def settle(self, case: HealthCase) -> None:
        """Wait until the case has come to rest."""
        host = self.hosts[case.name]
        if case.rests:
            assert host.wait_for(host.is_at_rest), f"{self.proxy.kind}: only {host.checks} checks"
        elif case.answers:
            assert host.wait_for(lambda: host.checks >= host.scripted)
        if case.traffic:
            host.traffic = case.traffic
            self.statuses[case.name] = [self._ask(f"/{case.name}/") for _ in range(case.requests)]

    def _ask(self, path: str) -> int:
        address, port = self.proxy.address_of("ingress")
        connection = HTTPConnection(str(address), int(port), timeout=DEADLINE_SECONDS)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        finally:
            connection.close()

    def transcript(self, case: HealthCase) -> list[str]:
        """All that can be seen of a case."""
        host = self.hosts[case.name]
        lines = [f"connection {seen.messages!r}" for seen in host.connections]
        if case.more_checks:
            lines.sort()
        if case.traffic:
            # Connections of traffic are told apart from those of checks by their having no checks.
            lines = [line for line in lines if line != "connection []"]
            lines.append(f"statuses {self.statuses[case.name]}")
        page = self.proxy.admin(f"/clusters?filter=^{case.name}$")
        lines += [self._named(line) for line in page.splitlines() if "health_flags" in line]
        page = self.proxy.admin(f"/clusters?filter=^{case.name}$&format=json")
        lines += [
            json.dumps(host["health_status"]) for host in json.loads(page)["cluster_statuses"][0]["host_statuses"]
        ]
        pattern = f"^cluster\\.{case.name}\\.(health_check|membership_)"
        lines += [f"{name} = {value}" for name, value in sorted(self.proxy.stats(pattern).items())]
        log = self._logs / f"{case.name}.events"
        lines += [self._named(line) for line in (log.read_text() if log.exists() else "").splitlines()]
        return [line for line in lines if not case.ignore or case.ignore not in line]

    def close(self) -> None:
        self.proxy.close()
        for host in self.hosts.values():
            host.close()
        self._refused.close()


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Side]]:
    folder = tmp_path_factory.mktemp("health_checks")
    with ThreadPoolExecutor(2) as pool:
        starts = [pool.submit(Side, kind, folder / kind) for kind in (ENVOY, PROXENY)]
    made = [start.result() for start in starts if start.exception() is None]
    try:
        for start in starts:
            start.result()
        yield made
    finally:
        for side in made:
            side.close()


def _failures(case: HealthCase, lines: list[str]) -> list[str]:
    """What the case itself expects and did not come."""
    wrong = []
    if not any(line.endswith(f"health_flags::{case.flags}") for line in lines):
        wrong.append(f"flags {case.flags}")
    prefix = f"cluster.{case.name}.health_check."
    wrong += [name for name, count in case.counts.items() if f"{prefix}{name} = {count}" not in lines]
    if case.events is not None:
        found = [
            next(_KINDS[key] for key in _KINDS if f'"{key}"' in line) for line in lines if "health_checker_type" in line
        ]
        if " ".join(found) != case.events:
            wrong.append(f"events {case.events}: {found}")
    return wrong


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_health_check(case: HealthCase, sides: list[Side]) -> None:
    for side in sides:
        side.settle(case)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        envoy, proxeny = (side.transcript(case) for side in sides)
        problems = [f"envoy: {text}" for text in _failures(case, envoy)]
        problems += [f"proxeny: {text}" for text in _failures(case, proxeny)]
        if envoy == proxeny and not problems:
            return
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    only = [f"- {line}" for line in envoy if line not in proxeny] + [
        f"+ {line}" for line in proxeny if line not in envoy
    ]
    pytest.fail("\n".join([*problems, *only]), pytrace=False)
