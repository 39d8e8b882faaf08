"""/config_dump and /init_dump of what a control plane delivers: both proxies show the same, and what Envoy calls it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.differential.proxies import ENVOY, PROXENY, Proxy

from proxeny.testing.xds import CDS, ECDS, EDS, LDS, RDS, SRDS, ControlPlane

Json = dict[str, Any]

_ANY = "type.googleapis.com/"
_FILTERS = f"{_ANY}envoy.extensions.filters"
_PATIENCE_S = 60
ADS = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
TIMES = ("last_updated", "last_update_attempt")
OURS = ("ecds_filters", "dynamic_route_configs", "dynamic_active_clusters", "dynamic_warming_clusters",
        "dynamic_active_secrets", "dynamic_warming_secrets", "dynamic_endpoint_configs")  # fmt: skip
"""Lists whose elements say in ``error_state`` what Envoy says of listeners alone."""


# -- resources -------------------------------------------------------------------------------------------------


def manager(**specifier: Any) -> Json:
    router = {"name": "router", "typed_config": {"@type": f"{_FILTERS}.http.router.v3.Router"}}
    config = {
        "@type": f"{_FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "h",
        "http_filters": [router],
        **specifier,
    }
    return {"name": "hcm", "typed_config": config}


def listener(name: str, filter_: Json, **more: Any) -> Json:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    return {"name": name, "address": address, "filter_chains": [{"filters": [filter_], **more}]}


def by_rds(name: str, route: str) -> Json:
    return listener(name, manager(rds={"route_config_name": route, "config_source": ADS}))


def by_sds(name: str, secret: str) -> Json:
    proxy = {"@type": f"{_FILTERS}.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "t", "cluster": "static"}
    common = {"tls_certificate_sds_secret_configs": [{"name": secret, "sds_config": ADS}]}
    tls = f"{_ANY}envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
    typed = {"@type": tls, "common_tls_context": common}
    socket = {"name": "tls", "typed_config": typed}
    return listener(name, {"name": "tcp", "typed_config": proxy}, transport_socket=socket)


def endpoint(port: int, **more: Any) -> Json:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {"endpoint": {"address": address}, **more}


def cluster(name: str, **more: Any) -> Json:
    return {"name": name, "type": "EDS", "eds_cluster_config": {"eds_config": ADS}, **more}


HOST = {"name": "v", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "static"}}]}
ROUTES = {"name": "routes", "virtual_hosts": [HOST]}


def discovering(name: str) -> Json:
    """Its filters are discovered."""
    made = listener(name, manager(route_config=ROUTES))
    cors = f"{_FILTERS}.http.cors.v3.Cors"
    filter_ = {"name": "discovered", "config_discovery": {"config_source": ADS, "type_urls": [cors]}}
    made["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"].insert(0, filter_)
    inspector = f"{_FILTERS}.listener.tls_inspector.v3.TlsInspector"
    filter_ = {"name": "inspecting", "config_discovery": {"config_source": ADS, "type_urls": [inspector]}}
    return {**made, "listener_filters": [filter_]}


KEYS = {"fragments": [{"header_value_extractor": {"name": "x", "index": 0}}]}
SCOPE = {"name": "scope", "route_configuration_name": "routes", "key": {"fragments": [{"string_key": "a"}]}}

INLINE_SCOPE = {"name": "inline_scope", "route_configuration": ROUTES, "key": SCOPE["key"]}


def scoped(name: str) -> Json:
    found = {"name": "scopes", "scope_key_builder": KEYS, "rds_config_source": ADS}
    return listener(name, manager(scoped_routes={**found, "scoped_rds": {"scoped_rds_config_source": ADS}}))


def scoped_inline(name: str) -> Json:
    found = {"name": "inline_scopes", "scope_key_builder": KEYS, "rds_config_source": ADS}
    scopes = {"scoped_route_configurations": [INLINE_SCOPE]}
    return listener(name, manager(scoped_routes={**found, "scoped_route_configurations_list": scopes}))


CLUSTERS = [
    cluster("eds"),
    cluster("renamed", eds_cluster_config={"eds_config": ADS, "service_name": "service"}, connect_timeout="2s"),
    {"name": "inline", "type": "STATIC", "load_assignment": {"cluster_name": "inline"}},
]
CHECKED = endpoint(4)
CHECKED["endpoint"].update(hostname="h", health_check_config={"port_value": 9, "hostname": "checked"})
ASSIGNMENTS = [
    {
        "cluster_name": "eds",
        "endpoints": [
            {
                "locality": {"region": "r", "zone": "z"},
                "load_balancing_weight": 3,
                "lb_endpoints": [endpoint(1), endpoint(2, health_status="UNHEALTHY", load_balancing_weight=5)],
            },
            {
                "priority": 1,
                "lb_endpoints": [
                    endpoint(3, health_status="DRAINING", metadata={"filter_metadata": {"a": {"b": 1}}}),
                    endpoint(5, health_status="DEGRADED"),
                ],
            },
        ],
        "policy": {"drop_overloads": [{"category": "throttle", "drop_percentage": {"numerator": 5}}]},
    },
    {"cluster_name": "service", "endpoints": [{"lb_endpoints": [CHECKED]}]},
]
EXTENSIONS = [
    {"name": "discovered", "typed_config": {"@type": f"{_FILTERS}.http.cors.v3.Cors"}},
    {"name": "inspecting", "typed_config": {"@type": f"{_FILTERS}.listener.tls_inspector.v3.TlsInspector"}},
]
INLINE = listener("inline", manager(route_config={"name": "of_inline", "virtual_hosts": [HOST]}))
LISTENERS = [
    by_rds("rds", "routes"),
    INLINE,
    discovering("discovering"),
    scoped("scoped"),
    scoped_inline("scoped_inline"),
]
SECRET = {"name": "ticket", "generic_secret": {"secret": {"inline_string": "x"}}}

BOOTSTRAP: Json = {
    "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
    "node": {"id": "the-node", "cluster": "the-cluster"},
    "dynamic_resources": {
        "ads_config": {
            "api_type": "GRPC",
            "transport_api_version": "V3",
            "grpc_services": [{"envoy_grpc": {"cluster_name": "plane"}}],
        },
        "cds_config": ADS,
        "lds_config": ADS,
    },
    "static_resources": {
        "listeners": [listener("static", manager(route_config={"name": "of_static", "virtual_hosts": [HOST]}))],
        "clusters": [{"name": "static", "type": "STATIC", "load_assignment": {"cluster_name": "static"}}],
        "secrets": [{"name": "static_secret", "generic_secret": {"secret": {"inline_string": "x"}}}],
    },
}


# -- sides -----------------------------------------------------------------------------------------------------


class Side:
    """One proxy and its control plane."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.plane = ControlPlane()
        self.plane.set(CDS, CLUSTERS, version="c1")
        self.plane.set(EDS, ASSIGNMENTS, version="e1")
        self.plane.set(LDS, LISTENERS, version="l1")
        self.plane.set(RDS, [ROUTES], version="r1")
        self.plane.set(SRDS, [SCOPE], version="s1")
        self.plane.set(ECDS, EXTENSIONS, version="x1")
        bootstrap = json.loads(json.dumps(BOOTSTRAP))
        http2 = f"{_ANY}envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
        load = {"cluster_name": "plane", "endpoints": [{"lb_endpoints": [endpoint(self.plane.port)]}]}
        options = {"@type": http2, "explicit_http_config": {"http2_protocol_options": {}}}
        bootstrap["static_resources"]["clusters"].append(
            {
                "name": "plane",
                "type": "STATIC",
                "load_assignment": load,
                "typed_extension_protocol_options": {http2.removeprefix(_ANY): options},
            }
        )
        self.proxy = Proxy(kind, json.dumps(bootstrap), folder)

    def get(self, path: str) -> str:
        """A page as both have it: without times, ports of the plane, and what only Proxeny tells."""
        text = self.proxy.admin(path).replace(str(self.plane.port), "0")
        text = re.sub(r"(Listener-local-init-manager \w+) \d+", r"\1 <hash>", text)
        try:
            value = json.loads(text)
        except ValueError:
            return re.sub(r"goo\.gle/\w+ +\n", "", text)
        return json.dumps(_comparable(value), indent=1)

    def wait_for(self, path: str, condition: Callable[[str], bool]) -> None:
        """Until a page satisfies it."""
        deadline = time.monotonic() + _PATIENCE_S
        while not condition(text := self.proxy.admin(path)):
            assert time.monotonic() < deadline, text
            time.sleep(0.02)

    def close(self) -> None:
        self.proxy.close()
        self.plane.close()


def _comparable(value: Any) -> Any:
    if isinstance(value, list):
        return [_comparable(one) for one in value]
    if not isinstance(value, dict):
        return value
    if "failed_configuration" in value:
        value.pop("version_info", None)  # Proxeny tells it
    made = {name: "<time>" if name in TIMES else _comparable(one) for name, one in value.items()}
    for name in OURS:
        if name in made:
            made[name] = [one for one in made[name] if one.pop("error_state", None) is None or one]
    for name, one in made.items():
        if name.startswith(("dynamic_", "static_")) and isinstance(one, list):
            one.sort(key=json.dumps)  # Envoy groups by hashes, seeded per process
    if isinstance(made.get("configs"), list):
        made["configs"] = _elements(made["configs"])
    if "user_agent_name" in made:
        return {name: made[name] for name in ("id", "cluster")}  # the node: versions and extensions differ
    return made


def _elements(configs: list[Json]) -> list[Json]:
    """Of a list that was asked for with `resource`; sections stay as they are."""
    if len({one["@type"] for one in configs}) != 1:
        return configs
    if not configs[0]["@type"].endswith("DynamicListener"):
        for one in configs:
            one.pop("error_state", None)
        configs = [one for one in configs if len(one) > 1]
    return sorted(configs, key=json.dumps)


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Side]]:
    folder = tmp_path_factory.mktemp("admin_xds")
    with ThreadPoolExecutor(2) as pool:
        starts = [pool.submit(Side, kind, folder / kind) for kind in (ENVOY, PROXENY)]
        started = [start.result() for start in starts]
    yield started
    for side in started:
        side.close()


def on_both(sides: list[Side], do: Callable[[Side], Any]) -> list[Any]:
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(do, sides))


def check(sides: list[Side], path: str, *contains: str) -> None:
    envoy, proxeny = on_both(sides, lambda side: side.get(path))
    for text in contains:
        assert text in envoy
    assert proxeny == envoy


# -- what holds ------------------------------------------------------------------------------------------------

QUERIES = [
    "",
    "include_eds",
    "include_eds&name_regex=service",
    "include_eds&name_regex=e.*",
    "name_regex=",
    "name_regex=nothing",
    "name_regex=r.*",
    "mask=",
    "mask=,",
    "mask=version_info",
    "mask=dynamic_listeners",
    "mask=dynamic_active_clusters,version_info",
    "mask=bootstrap.node.id,static_listeners",
    "mask=bootstrap.node,bootstrap.node.id",
    "mask=bootstrap.node.id,bootstrap.node",
    "mask=dynamic_endpoint_configs&include_eds",
    "mask=dynamic_route_configs.route_config",
    "mask=dynamic_listeners.name",
    "mask=dynamic_listeners.active_state",
    "mask=bootstrap.static_resources.clusters",
    "mask=bootstrap.static_resources.clusters.name",
    "mask=none",
    "mask=bootstrap.",
    "resource=",
    "resource=none",
    "resource=version_info",
    "resource=bootstrap",
    "resource=static_clusters",
    "resource=dynamic_active_clusters",
    "resource=dynamic_active_clusters&name_regex=renamed",
    "resource=dynamic_active_clusters&mask=cluster.name,version_info",
    "resource=dynamic_active_clusters&mask=cluster.eds_cluster_config.service_name",
    "resource=dynamic_active_clusters&mask=cluster",
    "resource=dynamic_active_clusters&mask=cluster,cluster.name",
    "resource=dynamic_active_clusters&mask=cluster.",
    "resource=dynamic_active_clusters&mask=cluster.none",
    "resource=dynamic_active_clusters&mask=cluster.load_assignment.endpoints.priority",
    "resource=dynamic_active_clusters&mask=error_state",
    "resource=dynamic_warming_clusters",
    "resource=static_endpoint_configs",
    "resource=static_endpoint_configs&include_eds",
    "resource=dynamic_endpoint_configs&include_eds",
    "resource=dynamic_endpoint_configs&include_eds&mask=endpoint_config.cluster_name",
    "resource=static_listeners",
    "resource=dynamic_listeners",
    "resource=dynamic_listeners&name_regex=rds",
    "resource=dynamic_listeners&mask=name",
    "resource=dynamic_listeners&mask=active_state.version_info",
    "resource=dynamic_listeners&mask=active_state.listener",
    "resource=dynamic_listeners&mask=active_state.listener.name",
    "resource=static_route_configs",
    "resource=static_route_configs&mask=route_config.virtual_hosts",
    "resource=dynamic_route_configs",
    "resource=dynamic_route_configs&mask=route_config.name",
    "resource=dynamic_route_configs&name_regex=none",
    "resource=inline_scoped_route_configs",
    "resource=inline_scoped_route_configs&mask=name,scoped_route_configs",
    "resource=dynamic_scoped_route_configs",
    "resource=dynamic_scoped_route_configs&mask=scoped_route_configs.name",
    "resource=dynamic_scoped_route_configs&name_regex=scopes",
    "resource=dynamic_scoped_route_configs&name_regex=none",
    "resource=ecds_filters",
    "resource=ecds_filters&mask=ecds_filter.name",
    "resource=ecds_filters&name_regex=none",
    "mask=ecds_filters",
    "resource=static_secrets",
    "resource=static_secrets&mask=name",
    "resource=dynamic_active_secrets",
]


@pytest.mark.parametrize("query", QUERIES)
def test_config_dump(query: str, sides: list[Side]) -> None:
    check(sides, f"/config_dump?{query}")


# -- what warms, and what was refused --------------------------------------------------------------------------

TWICE = by_rds("bad", "routes")
TWICE["filter_chains"].append({**TWICE["filter_chains"][0], "name": "again"})
BAD_CLUSTER = {"name": "bad", "type": "STATIC", "lb_policy": "CLUSTER_PROVIDED"}


@pytest.fixture(scope="module")
def warming(sides: list[Side]) -> list[Side]:
    """Besides, a cluster without endpoints, listeners without routes and without certificate, and bad ones."""

    def deliver(side: Side) -> None:
        side.plane.set(CDS, [*CLUSTERS, cluster("late"), BAD_CLUSTER], version="c2")
        late = [by_rds("late_rds", "missing"), by_sds("late_sds", "ticket"), TWICE]
        side.plane.set(LDS, [*LISTENERS, *late], version="l2")
        side.plane.wait_for_nack(LDS, "l2")
        side.wait_for("/stats?filter=cds.update_rejected", lambda text: ": 1" in text)
        side.wait_for("/stats?filter=total_listeners_warming", lambda text: ": 2" in text)
        side.wait_for("/stats?filter=warming_clusters", lambda text: ": 1" in text)

    on_both(sides, deliver)
    return sides


LATER_QUERIES = [
    "",
    "include_eds",
    "name_regex=late.*",
    "mask=dynamic_warming_clusters",
    "resource=dynamic_warming_clusters",
    "resource=dynamic_warming_clusters&mask=cluster.name",
    "resource=dynamic_active_clusters",
    "resource=dynamic_endpoint_configs&include_eds",
    "resource=dynamic_listeners",
    "resource=dynamic_listeners&name_regex=late.*",
    "resource=dynamic_listeners&mask=warming_state.version_info",
    "resource=dynamic_listeners&mask=name,error_state.details",
    "resource=dynamic_route_configs",
    "resource=dynamic_warming_secrets",
    "resource=dynamic_active_secrets",
]


@pytest.mark.parametrize("query", LATER_QUERIES)
def test_config_dump_of_what_warms(query: str, warming: list[Side]) -> None:
    check(warming, f"/config_dump?{query}")


@pytest.mark.parametrize("query", ["", "?mask=", "?mask=listener", "?mask=cluster", "?mask=listener,x"])
def test_init_dump(query: str, warming: list[Side]) -> None:
    check(warming, f"/init_dump{query}")


def test_every_error_has_a_reason_a_version_and_a_time(warming: list[Side]) -> None:
    """Beyond Envoy."""
    text = warming[1].proxy.admin("/config_dump?resource=dynamic_warming_clusters&name_regex=bad")
    (dump,) = json.loads(text)["configs"]
    assert dump["error_state"]["failed_configuration"]["name"] == "bad"
    assert dump["error_state"]["version_info"] == "c2"
    assert "cluster provided LB" in dump["error_state"]["details"]
    assert dump["error_state"]["last_update_attempt"]
