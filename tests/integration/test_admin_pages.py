"""Admin pages about what is discovered, and pages that are made while they are sent."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from proxeny.testing.proxy import RunningProxy
from proxeny.testing.xds import CDS, LDS, RDS, ControlPlane

_HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_CONFIG = """
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
node: {id: n1, cluster: c1}
dynamic_resources:
  ads_config:
    api_type: GRPC
    transport_api_version: V3
    grpc_services: [{envoy_grpc: {cluster_name: plane}}]
  cds_config: {ads: {}, resource_api_version: V3}
  lds_config: {ads: {}, resource_api_version: V3}
static_resources:
  clusters:
  - name: plane
    typed_extension_protocol_options:
      OPTIONS:
        "@type": type.googleapis.com/OPTIONS
        explicit_http_config: {http2_protocol_options: {}}
    load_assignment:
      cluster_name: plane
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: PORT}}}}]}]
"""


def cluster(name: str, **more: object) -> dict[str, object]:
    return {"name": name, "type": "STATIC", "load_assignment": {"cluster_name": name}, **more}


def listener() -> dict[str, object]:
    ads = {"ads": {}, "resource_api_version": "V3"}
    manager = {
        "@type": _HCM,
        "stat_prefix": "h",
        "rds": {"route_config_name": "routes", "config_source": ads},
        "http_filters": [{"name": "router", "typed_config": {"@type": _ROUTER}}],
    }
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    return {"name": "l", "address": address, "filter_chains": [{"filters": [{"name": "h", "typed_config": manager}]}]}


def routes(hosts: int, padding: int) -> dict[str, object]:
    """A route configuration of a size in which few routes take part."""

    def host(number: int) -> dict[str, object]:
        metadata = {"filter_metadata": {"padding": {"text": "x" * padding}}}
        route = {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
        return {"name": f"v{number}", "domains": [f"v{number}.test"], "routes": [route], "metadata": metadata}

    return {"name": "routes", "virtual_hosts": [host(number) for number in range(hosts)]}


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane() as one:
        one.set(CDS, [cluster("a"), cluster("b")], version="c1")
        one.set(LDS, [listener()], version="l1")
        one.set(RDS, [routes(1, 1)], version="r1")
        yield one


@pytest.fixture(scope="module")
def running(plane: ControlPlane) -> Iterator[RunningProxy]:
    proxy = RunningProxy(_CONFIG.replace("PORT", str(plane.port)).replace("OPTIONS", _OPTIONS))
    yield proxy
    proxy.close()


def kinds_of(running: RunningProxy) -> dict[str, dict[str, object]]:
    found = json.loads(running.admin("/xds?format=json"))["types"]
    return {str(one["type"]).rpartition(".")[2]: one for one in found}


def test_what_is_discovered(running: RunningProxy) -> None:
    kinds = kinds_of(running)
    assert {name: one["source"] for name, one in kinds.items()} == {
        "Cluster": "ads", "Listener": "ads", "RouteConfiguration": "ads",
    }  # fmt: skip
    assert {name: one["wildcard"] for name, one in kinds.items()} == {
        "Cluster": True, "Listener": True, "RouteConfiguration": False,
    }  # fmt: skip
    versions = {name: [each["version"] for each in one["resources"]] for name, one in kinds.items()}  # type: ignore[attr-defined]
    assert versions == {"Cluster": ["c1", "c1"], "Listener": ["l1"], "RouteConfiguration": ["r1"]}


def test_a_refused_cluster_says_why_and_the_rest_of_its_update_holds(
    running: RunningProxy, plane: ControlPlane
) -> None:
    bad = cluster("b", lb_policy="CLUSTER_PROVIDED")
    plane.set(CDS, [cluster("a", connect_timeout="7s"), bad, cluster("c")], version="c2")
    nack = plane.wait_for_nack(CDS, "c2")
    assert nack.error is not None
    text = running.admin("/xds?type=Cluster")
    why = "cluster provided LB specified but cluster 'b' did not provide one"
    assert "accepted version 'c1' at " in text
    assert "rejected version 'c2' at " in text
    assert why in text
    (kind,) = [one for name, one in kinds_of(running).items() if name == "Cluster"]
    resources = {one["name"]: one for one in kind["resources"]}  # type: ignore[attr-defined]
    assert {name: one["version"] for name, one in resources.items()} == {"a": "c2", "b": "c1", "c": "c2"}
    assert [name for name, one in resources.items() if "refused" in one] == ["b"]
    (newest,) = json.loads(running.admin("/xds/history?format=json&type=cluster&name=a&diff"))["events"][:1]
    assert newest["outcome"] == "rejected"
    assert newest["changes"] == [{"kind": "changed", "name": "a", "diff": ['+ connect_timeout: "7s"']}]
    (dump,) = json.loads(running.admin("/config_dump?resource=dynamic_active_clusters&name_regex=b"))["configs"]
    assert dump["version_info"] == "c1"
    assert dump["error_state"]["version_info"] == "c2"
    assert why in dump["error_state"]["details"]

    plane.set(CDS, [cluster("a"), cluster("b")], version="c3")
    plane.wait_for_ack(CDS, "c3")
    assert "refused" not in running.admin("/xds?type=Cluster")
    assert "- c\n" in running.admin("/xds/history?type=Cluster")
    (dump,) = json.loads(running.admin("/config_dump?resource=dynamic_active_clusters&name_regex=b"))["configs"]
    assert "error_state" not in dump


def test_a_refused_listener_says_of_which_version(running: RunningProxy, plane: ControlPlane) -> None:
    bad = listener()
    bad["filter_chains"] = [bad["filter_chains"][0]] * 2  # type: ignore[index]
    plane.set(LDS, [bad], version="l2")
    plane.wait_for_nack(LDS, "l2")
    named, overall = json.loads(running.admin("/config_dump?resource=dynamic_listeners"))["configs"]
    assert named["active_state"]["version_info"] == "l1"
    assert (named["error_state"]["version_info"], overall["error_state"]["version_info"]) == ("l2", "l2")
    plane.set(LDS, [listener()], version="l3")
    plane.wait_for_ack(LDS, "l3")


def test_a_client_that_does_not_read_holds_up_nobody(running: RunningProxy, plane: ControlPlane) -> None:
    plane.set(RDS, [routes(600, 30_000)], version="r2")
    plane.wait_for_ack(RDS, "r2")
    with (
        socket.create_connection(running.admin_address) as slow,
        socket.create_connection(running.admin_address) as gone,
    ):
        for client in slow, gone:
            client.sendall(b"GET /config_dump HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert client.recv(1) == b"H"
        for _ in range(5):
            assert running.admin("/ready") == "LIVE\n"
        gone.close()
        assert running.admin("/ready") == "LIVE\n"
        with slow.makefile("rb") as reader:
            head, _, body = reader.read().partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    sections = json.loads(unchunked(body))["configs"]
    (found,) = [one for one in sections if one["@type"].endswith(".RoutesConfigDump")]
    assert len(found["dynamic_route_configs"][0]["route_config"]["virtual_hosts"]) == 600


def unchunked(body: bytes) -> bytes:
    parts = []
    while True:
        size, _, body = body.partition(b"\r\n")
        count = int(size, 16)
        if not count:
            return b"".join(parts)
        parts.append(body[:count])
        body = body[count + 2 :]


def test_nothing_comes_of_head_but_a_head(running: RunningProxy) -> None:
    with socket.create_connection(running.admin_address) as client, client.makefile("rb") as reader:
        client.sendall(
            b"HEAD /config_dump HTTP/1.1\r\nHost: a\r\n\r\nGET /ready HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        )
        text = reader.read()
    assert text.count(b"HTTP/1.1 200 OK") == 2
    assert b"configs" not in text
    assert b"LIVE\n" in text
