"""One proxy that reports loads to a server of a test's, and an upstream whose answers are chosen by the path.

What it reports is compared without what may differ: times, the node, ports.
"""

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from envoy.service.load_stats.v3 import lrs_pb2
from google.protobuf.json_format import MessageToDict
from tests.bidi_server import BidiServer
from tests.differential.proxies import Proxy

from proxeny.testing.upstream import Answer, FakeUpstream, ReceivedRequest

METHOD: Final = "/envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats"
SHORT_MS: Final = 60
_FILTERS: Final = "type.googleapis.com/envoy.extensions.filters"

Json = dict[str, Any]

_TEMPLATE: Final = """
node: {id: me, cluster: us, locality: {region: home, zone: here}}
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
cluster_manager:
  load_stats_config: {api_type: GRPC, transport_api_version: V3, grpc_services: [{envoy_grpc: {cluster_name: lrs}}]}
layered_runtime: {layers: [{name: base, static_layer: {upstream.maintenance_mode.closed: 100}}]}
static_resources:
  listeners:
  - name: web
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": %(filters)s.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          route_config: {virtual_hosts: [{name: all, domains: ["*"], routes: [
            {match: {prefix: /},
             route: {cluster_header: x-cluster, hash_policy: [{header: {header_name: ":path"}}]}}]}]}
          http_filters:
          - {name: envoy.filters.http.router, typed_config: {"@type": %(filters)s.http.router.v3.Router}}
  clusters:
  - name: lrs
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
    load_assignment: {cluster_name: lrs, endpoints: [{lb_endpoints: [
      {endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %(lrs)d}}}}]}]}
  - name: one
    type: STATIC
    lb_policy: RING_HASH
    lrs_report_endpoint_metrics: [named_metrics.a, utilization.*, cpu_utilization, unknown]
    load_assignment: {cluster_name: one, endpoints: [
      {locality: {region: r, zone: z2}, lb_endpoints: [%(a)s]},
      {locality: {region: home, zone: here}, lb_endpoints: [%(b)s]},
      {priority: 1, locality: {region: r, zone: z1, sub_zone: s}, lb_endpoints: [%(a)s]}]}
  - name: two
    type: STATIC
    lb_policy: RING_HASH
    load_assignment: {cluster_name: two, endpoints: [{lb_endpoints: [%(a)s, %(b)s]}]}
  - name: closed
    type: STATIC
    load_assignment: {cluster_name: closed, endpoints: [{lb_endpoints: [%(a)s]}]}
  - name: full
    type: STATIC
    circuit_breakers: {thresholds: [{max_requests: 0, max_pending_requests: 0, max_connections: 0}]}
    load_assignment: {cluster_name: full, endpoints: [{lb_endpoints: [%(a)s]}]}
  - name: dropping
    type: STATIC
    load_assignment: {cluster_name: dropping, policy: {drop_overloads: [
      {category: shed, drop_percentage: {numerator: 100}}]}, endpoints: [{lb_endpoints: [%(a)s]}]}
"""

_HOST: Final = """{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %d}}},
  metadata: {filter_metadata: {envoy.lb: {hash_key: %s}}}}"""
"""Both sides choose by what hosts are called, not by their ports."""


class Server(BidiServer):
    """The control plane that is told of loads."""

    def __init__(self) -> None:
        super().__init__(METHOD, lrs_pb2.LoadStatsRequest)

    def ask(self, *clusters: str, everything: bool = False, endpoints: bool = False, ms: int = SHORT_MS) -> None:
        """Want reports."""
        wish = lrs_pb2.LoadStatsResponse(
            clusters=clusters, send_all_clusters=everything, report_endpoint_granularity=endpoints
        )
        wish.load_reporting_interval.FromMilliseconds(ms)
        self.send(wish)

    def next_report(self, after: int) -> Any:
        """The first report that came after so many requests."""
        self.wait(lambda: len(self.requests) > after)
        return self.requests[after]


class LoadSide:
    """Envoy or Proxeny, its upstreams and its control plane."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.server = Server()
        self.release = threading.Event()
        self.upstreams = [FakeUpstream(self._answer, name) for name in "ab"]
        ports = [one.port for one in self.upstreams]
        hosts = [_HOST % (port, name) for port, name in zip(ports, "ab", strict=True)]
        text = _TEMPLATE % {"filters": _FILTERS, "lrs": self.server.port, "a": hosts[0], "b": hosts[1]}
        self.proxy = Proxy(kind, text, folder)
        self._web = self.proxy.address_of("web")
        self._names = dict(zip(ports, "ab", strict=True))
        self.server.wait(lambda: self.server.requests)

    def _answer(self, request: ReceivedRequest) -> Answer:
        if "wait" in request.path:
            self.release.wait(20)
        if "503" in request.path:
            return Answer(503)
        if "metrics" in request.path:
            told = "named_metrics.a=1.5,named_metrics.b=7,utilization.x=0.25,cpu_utilization=0.5"
            return Answer(200, headers={"endpoint-load-metrics": f"TEXT {told}"})
        return Answer(200)

    def get(self, cluster: str, path: str = "/") -> int:
        """The status of one request."""
        connection = http.client.HTTPConnection(str(self._web[0]), int(self._web[1]), timeout=20)
        try:
            connection.request("GET", path, headers={"x-cluster": cluster})
            response = connection.getresponse()
            response.read()
            return response.status
        finally:
            connection.close()

    def watch(self, *clusters: str, endpoints: bool = False) -> int:
        """Have loads of these reported from now on; how many requests came before."""
        self.server.ask(*clusters, endpoints=endpoints)
        before = len(self.server.requests)
        # The report after the one that was perhaps on its way is made of the clusters that were asked for.
        self.server.wait(lambda: any(_names(one) == set(clusters) for one in self.server.requests[before:]))
        return len(self.server.requests)

    def totals(self, since: int, until: Callable[[Json], object]) -> Json:
        """What all reports since then say together, once that is true."""
        end = time.monotonic() + 20
        while True:
            found: Json = {}
            for request in list(self.server.requests)[since:]:
                for stats in request.cluster_stats:
                    _add(found, self.shown(stats))
            if until(found):
                return found
            assert time.monotonic() < end, found
            time.sleep(0.005)

    def shown(self, stats: Any) -> Json:
        """One ``ClusterStats`` without its interval, ports by their upstreams' names."""
        assert stats.load_report_interval.ToMicroseconds() > 0
        value = MessageToDict(stats, preserving_proto_field_name=True)
        del value["load_report_interval"]
        for locality in value.get("upstream_locality_stats", ()):
            for endpoint in locality.get("upstream_endpoint_stats", ()):
                bound = endpoint["address"]["socket_address"]
                bound["port_value"] = self._names[bound["port_value"]]
            locality.get("load_metric_stats", []).sort(key=lambda one: one["metric_name"])
        return value

    def close(self) -> None:
        """End all."""
        self.release.set()
        self.proxy.close()
        self.server.close()
        for upstream in self.upstreams:
            upstream.close()


def _names(request: Any) -> set[str]:
    return {one.cluster_name for one in request.cluster_stats}


def _add(found: Json, stats: Json) -> None:
    """Numbers are added up, by cluster, locality, endpoint, metric and category; what is in progress is the last."""
    for key, value in _flat("", stats):
        kind = key.rpartition("/")[2]
        if kind == "total_requests_in_progress":
            found[key] = value
        elif isinstance(value, float) or kind.startswith(("total_", "num_", "dropped_")):
            found[key] = found.get(key, 0) + float(value)


def _flat(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        name = value.get("cluster_name") or value.get("metric_name") or value.get("category") or ""
        place = [name, str(value.get("priority", "")), *value.get("locality", {}).values()]
        place.append(str(value.get("address", {}).get("socket_address", {}).get("port_value", "")))
        here = f"{path}{','.join(filter(None, place))}/"
        for key, one in value.items():
            if key not in ("address", "locality", "priority"):
                yield from _flat(f"{here}{key}" if not isinstance(one, list) else f"{here}{key}:", one)
    elif isinstance(value, list):
        for one in value:
            yield from _flat(path, one)
    else:
        yield path, value
