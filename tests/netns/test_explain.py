"""Captured connections are explained as they go: the sidecar of examples/ under real redirection."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.netns.ends import ask
from tests.netns.namespaces import Namespaces
from tests.netns.test_intercept import APP, EXAMPLE, FAMILIES, Mesh, running_mesh

from proxeny.testing import RunningProxy


def explained(mesh: Mesh, source: str, destination: str, port: int, **said: str) -> Any:
    """What the running sidecar says about a connection."""
    source, destination = (f"[{ip}]" if ":" in ip else ip for ip in (source, destination))
    more = "".join(f"&{name}={value}" for name, value in said.items())
    query = f"/explain?src={source}:40000&dst={destination}:{port}&format=json{more}"
    return json.loads(mesh.proxy.admin(query, "POST"))


def test_captured_connections_go_as_explained(namespaces: Namespaces, proxy: Callable[..., RunningProxy]) -> None:
    with running_mesh("proxeny", namespaces, proxy, EXAMPLE.read_text()) as mesh:
        mesh.intercept("install")
        for family in FAMILIES:
            own, near, far = mesh.own(family), mesh.near(family), mesh.far(family)
            bracketed = f"[{far}]" if family == "v6" else far
            suffix = "-ipv6" if family == "v6" else ""

            assert mesh.curl(mesh.side, far, uid=APP) == f"web / from {near}\n"
            mesh.wait_for_log(f"outbound {bracketed}:8080 PassthroughCluster 200")
            value = explained(mesh, near, far, 8080)
            assert (value["accepted"]["listener"], value["accepted"]["how"]) == ("virtualOutbound", "captured")
            assert (value["handed_off"]["listener"], value["handed_off"]["how"]) == ("0.0.0.0_8080", "wildcard")
            assert value["network_filters"][-1]["does"] == "HTTP by the route configuration '8080'"

            assert ask(mesh.side, far, 7000, uid=APP).startswith("raw ")
            value = explained(mesh, near, far, 7000)
            assert value["handed_off"]["how"] == "stays"
            assert value["filter_chain"]["name"] == "virtualOutbound-catchall-tcp"
            assert value["network_filters"][-1]["does"] == "cluster 'PassthroughCluster'"

            assert ask(mesh.client, own, 9000).startswith("app ")
            value = explained(mesh, str(getattr(mesh.entry, family)), own, 9000, listener="virtualInbound")
            assert value["filter_chain"]["name"] == f"virtualInbound{suffix}"

            assert mesh.curl(mesh.client, own).startswith("app ")
            client = str(getattr(mesh.entry, family))
            value = explained(mesh, client, own, 8080, listener="virtualInbound", alpn="http/1.1")
            assert value["filter_chain"]["name"] == f"virtualInbound-catchall-http{suffix}"
        assert mesh.proxy.stat("tcp.PassthroughCluster.downstream_cx_total") == 2
        assert mesh.proxy.stat("tcp.InboundPassthroughCluster.downstream_cx_total") == 2
        assert mesh.proxy.stat("http.InboundPassthroughCluster.downstream_rq_2xx") == 2
