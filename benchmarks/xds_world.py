"""A world for the xds scenarios: a control plane, what it serves, and a proxy that gets everything from it by ADS.

One listener is loaded. Its 10,000 routes come by RDS, the endpoints of its cluster by EDS, and a second listener, for
TLS, has its certificate by SDS. An update changes one thing: a route, the endpoints, another listener, the secret.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from google.protobuf import any_pb2

from benchmarks.configs import ROOT, TYPES
from benchmarks.processes import BenchmarkError, Peer
from proxeny.config.message_types import message_class
from proxeny.testing.certificates import Authority
from proxeny.testing.xds import CDS, EDS, LDS, RDS, SDS, ControlPlane
from proxeny.testing.xds.store import message_of
from proxeny.testing.xds.types import type_url

Json = dict[str, Any]
ADS: Json = {"ads": {}, "resource_api_version": "V3"}
ROUTES = 10_000
CLUSTER = "service"
STALLS = (500, 1000, 2000, 3000, 4000, 5000, 7500, 10_000, 20_000, 50_000, 100_000, 1_000_000)
"""Buckets of loop durations, in microseconds."""


def bootstrap(plane: int, admin: int) -> Json:
    """Everything comes from the control plane at this port."""
    h2 = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    stalls = {"match": {"suffix": "loop_duration_us"}, "buckets": list(STALLS)}
    return {
        "node": {"id": "bench", "cluster": "bench"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": admin}}},
        "enable_dispatcher_stats": True,
        "stats_flush_interval": "0.2s",
        "stats_config": {"histogram_bucket_settings": [stalls]},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "control_plane"}}],
            },
            "cds_config": ADS,
            "lds_config": ADS,
        },
        "static_resources": {
            "clusters": [
                {
                    "name": "control_plane",
                    "type": "STATIC",
                    "typed_extension_protocol_options": {
                        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                            "@type": h2,
                            "explicit_http_config": {"http2_protocol_options": {}},
                        }
                    },
                    "load_assignment": assignment("control_plane", [plane]),
                }
            ]
        },
    }


def assignment(name: str, ports: list[int], weight: int = 0) -> Json:
    hosts: list[Json] = [
        {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}} for port in ports
    ]
    if weight:
        hosts[0]["load_balancing_weight"] = weight
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]}


def cluster(name: str) -> Json:
    return {"name": name, "type": "EDS", "eds_cluster_config": {"eds_config": ADS}, "connect_timeout": "5s"}


def listener(name: str, port: int, *, secret: str = "", stat: str = "bench") -> Json:
    manager = {
        "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": stat,
        "rds": {"route_config_name": "routes", "config_source": ADS},
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router"}}
        ],
    }
    chain: Json = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    if secret:
        chain["transport_socket"] = {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": f"{TYPES}.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": {
                    "tls_certificate_sds_secret_configs": [{"name": secret, "sds_config": ADS}],
                },
            },
        }
    return {
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [chain],
    }


def packed(type_name: str, content: Any) -> any_pb2.Any:
    message = message_of(type_name, content) if isinstance(content, dict) else content
    return any_pb2.Any(type_url=type_url(type_name), value=message.SerializeToString())


class World:
    """What the control plane serves; ``change`` names one kind of update."""

    def __init__(self, plane: ControlPlane, ports: list[int], upstreams: list[int]) -> None:
        """``ports``: of the listener, the TLS listener and the listener that changes."""
        self.plane = plane
        self.port, self._tls_port, self._other_port = ports
        self._upstreams = upstreams
        self._count = 0
        self._routes = self._route_configuration()
        self._secrets = [self._secret(number) for number in range(8)]
        self.changes: dict[str, Callable[[], None]] = {
            "endpoints": self._change_endpoints,
            "routes": self._change_routes,
            "listeners": self._change_listeners,
            "secrets": self._change_secrets,
        }
        self._other = 0
        plane.set(EDS, {CLUSTER: packed(EDS, assignment(CLUSTER, upstreams))})
        plane.set(CDS, {CLUSTER: packed(CDS, cluster(CLUSTER))})
        plane.set(RDS, {"routes": packed(RDS, self._routes)})
        plane.set(SDS, {"server": self._secrets[0]})
        self._set_listeners()

    def _route_configuration(self) -> Any:
        made: Any = message_class(RDS)()  # type: ignore[call-arg]
        made.name = "routes"
        host = made.virtual_hosts.add(name="all", domains=["*"])
        for number in range(ROUTES):
            route = host.routes.add()
            route.match.prefix = f"/r{number}/"
            route.route.cluster = CLUSTER
        return made

    def _secret(self, number: int) -> any_pb2.Any:
        certificate = Authority(f"authority {number}").issue("bench.test")
        pair = {"inline_string": certificate.chain_pem}, {"inline_string": certificate.key_pem}
        secret = {"name": "server", "tls_certificate": {"certificate_chain": pair[0], "private_key": pair[1]}}
        return packed(SDS, secret)

    def change(self, kind: str) -> None:
        """The next update of this kind; "all": of the next kind."""
        self._count += 1
        if kind == "all":
            kind = list(self.changes)[self._count % len(self.changes)]
        self.changes[kind]()

    def _change_endpoints(self) -> None:
        ports = (self._upstreams, self._upstreams[:1], self._upstreams[1:])[self._count % 3]
        self.plane.update(EDS, {CLUSTER: packed(EDS, assignment(CLUSTER, ports, 1 + self._count % 7))})

    def _change_routes(self) -> None:
        routes = self._routes.virtual_hosts[0].routes
        route = routes[self._count * 37 % len(routes)]
        route.route.timeout.seconds = 15 + self._count % 60
        if self._count % 8 == 0:
            added = routes.add()
            added.match.prefix, added.route.cluster = f"/new{self._count}/", CLUSTER
            del routes[0 if self._count % 16 else -2]
        self.plane.set(RDS, {"routes": packed(RDS, self._routes)})

    def _change_listeners(self) -> None:
        self._other += 1
        self._set_listeners()

    def _set_listeners(self) -> None:
        found = [listener("bench", self.port), listener("tls", self._tls_port, secret="server")]
        if self._other % 5:
            found.append(listener("other", self._other_port, stat=f"other{self._other % 3}"))
        self.plane.set(LDS, {one["name"]: packed(LDS, one) for one in found})

    def _change_secrets(self) -> None:
        self.plane.set(SDS, {"server": self._secrets[self._count % len(self._secrets)]})


def proxy(name: str, config: Path, admin: int, workers: int) -> Peer:
    """Envoy, or Proxeny."""
    if name == "envoy":
        found = sorted((ROOT / ".venv-envoy").glob("lib/python*/site-packages/envoy/_bin/envoy"))
        if not found:
            raise BenchmarkError("no Envoy binary: run tools/setup-peers.sh")
        binary = found[-1]
    else:
        binary = Path(sys.executable).parent / "proxeny"
    options = ["--concurrency", str(workers), "--disable-hot-restart", "-l", "error"]
    return Peer(name, [str(binary), "-c", str(config), *options], admin, config.parent)
