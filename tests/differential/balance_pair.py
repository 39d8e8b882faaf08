"""Envoy and Proxeny before the same hosts: how many of so many requests each host got.

A host is a loopback address (127.0.0.1 and on) at the one port of an upstream that answers with it.
"""

import json
import re
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest
from tests.differential.proxies import ENVOY, POLL_SECONDS, PROXENY, Proxy
from tests.differential.wire import STALL_SECONDS, Wire, read_response
from tests.spread_upstream import SpreadUpstream
from xds.data.orca.v3.orca_load_report_pb2 import OrcaLoadReport

HOSTS: Final = 8
AT_ONCE: Final = 25
"""Requests in flight on the connection."""
STATS: Final = r"^cluster\.\w+\.(lb_(healthy|zone|local|recalc)\w*|upstream_cx_none_healthy)$"
HTTP: Final = "type.googleapis.com/envoy.extensions.filters"
_PORT: Final = '"PORT"'


class ReportingUpstream(SpreadUpstream):
    """Reports the load of its hosts, in the format that the request names: the last byte of the address times 100
    requests per second, at full load."""

    def headers_for(self, head: bytes, address: str) -> bytes:
        found = re.search(rb"\r\nx-report: (\w+)", head)
        rate = 100 * int(address.rpartition(".")[2])
        binary = b64encode(OrcaLoadReport(cpu_utilization=1, rps_fractional=rate).SerializeToString())
        reports = {
            b"text": b"endpoint-load-metrics: TEXT cpu_utilization=1,rps_fractional=%d\r\n" % rate,
            b"json": b'endpoint-load-metrics: JSON {"cpu_utilization": 1, "rps_fractional": %d}\r\n' % rate,
            b"binary": b"endpoint-load-metrics: BIN %s\r\n" % binary,
            b"grpc": b"endpoint-load-metrics-bin: %s\r\n" % binary,
            b"colons": b"endpoint-load-metrics: TEXT cpu_utilization:1,,rps_fractional:%d,\r\n" % rate,
            b"hex": b"endpoint-load-metrics: TEXT cpu_utilization=0x1p0,rps_fractional=%de0\r\n" % rate,
            b"named": b"endpoint-load-metrics: TEXT rps_fractional=%d,named_metrics.a=1,utilization.b=1\r\n" % rate,
            b"cost": b"endpoint-load-metrics: TEXT cpu_utilization=1,rps_fractional=%d,request_cost.a=1\r\n" % rate,
            b"spaces": b"endpoint-load-metrics: TEXT cpu_utilization = 1,rps_fractional = %d\r\n" % rate,
            b"unknown": b'endpoint-load-metrics: JSON {"cpu_utilization": 1, "rps_fractional": %d, "a": 1}\r\n' % rate,
            b"bad": b"endpoint-load-metrics: TEXT cpu_utilization=1,rps_fractional=x%d\r\n" % rate,
        }
        return b"" if found is None else reports[found[1]]


def bootstrap(clusters: Sequence[Mapping[str, Any]], local: str, zone: str) -> str:
    """A configuration whose requests name their cluster."""
    manager = {
        "@type": f"{HTTP}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "main",
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{HTTP}.http.router.v3.Router"}}
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster_header": "cluster"}}],
                }
            ]
        },
    }
    listener = {
        "name": "main",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }
    return json.dumps(
        {
            "node": {"id": "one", "cluster": "tests", "locality": {"region": "r", "zone": zone}},
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
            "cluster_manager": {"local_cluster_name": local},
            "static_resources": {"listeners": [listener], "clusters": list(clusters)},
        }
    )


class Side(Proxy):
    """One proxy and its upstream."""

    def __init__(self, kind: str, template: str, folder: Path) -> None:
        self.spread = ReportingUpstream([f"127.0.0.{number}" for number in range(1, HOSTS + 1)])
        super().__init__(kind, template.replace(_PORT, str(self.spread.port)), folder)

    def _fill(self, mark: "re.Match[str]") -> str:
        if mark.group(1) != "eds":
            return super()._fill(mark)
        self._eds = self.folder / "eds.json"
        self._eds.write_text('{"resources": []}')
        return str(self._eds)

    def discover(self, cluster: str, endpoints: Sequence[Mapping[str, Any]], policy: Mapping[str, Any]) -> None:
        """Replace the hosts of a cluster of type EDS."""
        assignment = {
            "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            "cluster_name": cluster,
            "endpoints": list(endpoints),
            "policy": dict(policy),
        }
        new = self.folder / "eds.new"
        new.write_text(json.dumps({"resources": [assignment]}).replace(_PORT, str(self.spread.port)))
        new.rename(self._eds)

    def becomes(self, cluster: str, requests: int, bounds: Mapping[str, tuple[float, float]]) -> Counter[str]:
        """The answers once they are as they should be, or after a long time."""
        deadline = time.monotonic() + STALL_SECONDS
        while True:
            answers = self.ask(cluster, requests, at_once=1 if "503" in bounds else AT_ONCE)
            if within(answers, bounds) or time.monotonic() > deadline:
                return answers
            time.sleep(POLL_SECONDS)

    def ask(self, cluster: str, requests: int, report: str = "", at_once: int = AT_ONCE) -> Counter[str]:
        """How many answers came from each host (`1` for 127.0.0.1), and how many had another status than 200."""
        extra = f"x-report: {report}\r\n" if report else ""
        head = f"GET / HTTP/1.1\r\nhost: a.test\r\ncluster: {cluster}\r\n{extra}\r\n".encode()
        answers: Counter[str] = Counter()
        wire = Wire.connect(self.address_of("main"))
        try:
            for start in range(0, requests, at_once):
                count = min(at_once, requests - start)
                wire.send(head * count)
                for _ in range(count):
                    response = read_response(wire)
                    name = response.body.decode().rpartition(".")[2] if response.status == 200 else str(response.status)
                    answers[name] += 1
        finally:
            wire.close()
        return answers

    def run(
        self, cluster: str, requests: int, report: str, enough: Mapping[str, tuple[float, float]]
    ) -> tuple[Counter[str], dict[str, int]]:
        """What came, and what was counted; with reports until their weights hold."""
        deadline = time.monotonic() + STALL_SECONDS
        # Proxeny's workers make a cluster when it is first asked for, and count that.
        self.ask(cluster, 1)
        # Envoy ends the connection after a few local replies to requests that are already waiting.
        at_once = 1 if "503" in enough else AT_ONCE
        while True:
            before = self._settled()
            answers = self.ask(cluster, requests, report, at_once)
            if not report or within(answers, enough) or time.monotonic() > deadline:
                break
            time.sleep(POLL_SECONDS)
        after = self._settled()
        return answers, {
            name.partition(f".{cluster}.")[2]: after[name] - before.get(name, 0)
            for name in after
            if f".{cluster}." in name and after[name] != before.get(name, 0)
        }

    def _settled(self) -> dict[str, int]:
        """The counters once they rest: workers' words may be on their way."""
        last = self.stats(STATS)
        while True:
            time.sleep(POLL_SECONDS)
            now = self.stats(STATS)
            if now == last:
                return now
            last = now

    def close(self) -> None:
        super().close()
        self.spread.close()


def within(answers: Mapping[str, int], bounds: Mapping[str, tuple[float, float]]) -> bool:
    """Whether every host got as many as it should, and nobody else any."""
    return set(answers) <= set(bounds) and all(
        low <= answers.get(name, 0) <= high for name, (low, high) in bounds.items()
    )


class BalancePair:
    """Both, on one configuration."""

    def __init__(self, clusters: Sequence[Mapping[str, Any]], folder: Path, local: str = "", zone: str = "") -> None:
        self._pool = ThreadPoolExecutor(2)
        template = bootstrap(clusters, local, zone)
        starts = [self._pool.submit(Side, kind, template, folder / kind) for kind in (ENVOY, PROXENY)]
        self.sides = [start.result() for start in starts]

    def check(
        self,
        cluster: str,
        requests: int,
        bounds: Mapping[str, tuple[float, float]],
        counted: Mapping[str, int | None],
        report: str = "",
    ) -> None:
        """Both get the same requests: `bounds` say what each host may have got, `counted` what counters did (None:
        how often, is chance)."""
        runs = [self._pool.submit(side.run, cluster, requests, report, bounds) for side in self.sides]
        for side, run in zip(self.sides, runs, strict=True):
            answers, stats = run.result()
            assert side.alive()
            if not within(answers, bounds):
                pytest.fail(f"{side.kind}: {dict(answers)} is not within {dict(bounds)}")
            assert set(stats) == set(counted), side.kind
            known = {name: value for name, value in counted.items() if value is not None}
            assert {name: stats[name] for name in known} == known, side.kind

    def check_change(
        self,
        cluster: str,
        endpoints: Sequence[Mapping[str, Any]],
        policy: Mapping[str, Any],
        requests: int,
        bounds: Mapping[str, tuple[float, float]],
    ) -> None:
        """Both are told of other hosts, and serve them."""
        for side in self.sides:
            side.discover(cluster, endpoints, policy)
        runs = [self._pool.submit(side.becomes, cluster, requests, bounds) for side in self.sides]
        for side, run in zip(self.sides, runs, strict=True):
            answers = run.result()
            assert within(answers, bounds), f"{side.kind}: {dict(answers)} is not within {dict(bounds)}"

    def close(self) -> None:
        for side in self.sides:
            side.close()
        self._pool.shutdown()
