"""Discovered routes through the real command: two workers, real traffic, a file and a control plane over ADS."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from envoy.config.route.v3 import route_components_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.json_format import ParseDict
from tests.integration.test_workers import wait_until

from proxeny.testing import RunningProxy
from proxeny.testing.xds import RDS, SRDS, VHDS, ControlPlane

TYPES = "type.googleapis.com/envoy"
ADS = {"ads": {}, "resource_api_version": "V3"}
UPDATES = 100


def say(text: str, path: str = "/") -> dict[str, Any]:
    return {"match": {"prefix": path}, "direct_response": {"status": 200, "body": {"inline_string": text}}}


def table(name: str, text: str, *more: dict[str, Any], domain: str = "*", **fields: Any) -> dict[str, Any]:
    return {"name": name, "virtual_hosts": [{"name": "v", "domains": [domain], "routes": [*more, say(text)]}], **fields}


def host(name: str, text: str) -> discovery_pb2.Resource:
    fields = {"name": name, "domains": [name.partition("/")[2]], "routes": [say(text)]}
    made = discovery_pb2.Resource(name=name)
    made.resource.Pack(ParseDict(fields, route_components_pb2.VirtualHost()))
    return made


def listener(name: str, **routes: Any) -> dict[str, Any]:
    filters = [
        ("envoy.filters.http.on_demand", "on_demand.v3.OnDemand"),
        ("envoy.filters.http.router", "router.v3.Router"),
    ]
    manager = {
        "@type": f"{TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "http_filters": [
            {"name": one, "typed_config": {"@type": f"{TYPES}.extensions.filters.http.{kind}"}} for one, kind in filters
        ],
        **routes,
    }
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    return {"name": name, "address": address, "filter_chains": [{"filters": [{"name": "h", "typed_config": manager}]}]}


class Rig:
    """The proxy, its control plane, and the file that one listener's routes come from."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "routes.json"
        self.put_file("file", "f0")
        self.plane = ControlPlane()
        self.tables = {"r": table("r", "r0"), "h": self.with_hosts("own0")}
        self.plane.set(RDS, self.tables.values())
        self.plane.set(SRDS, [self.scope("a", "ka", "r"), self.scope("d", "kd", "late", on_demand=True)])
        self.plane.set(VHDS, [host("h/first", "first")])
        options = {"explicit_http_config": {"http2_protocol_options": {}}}
        address = {"socket_address": {"address": "127.0.0.1", "port_value": self.plane.port}}
        extractor = {"name": "x-scope", "element_separator": ",", "index": 0}
        scoped = {
            "name": "scopes",
            "scope_key_builder": {"fragments": [{"header_value_extractor": extractor}]},
            "rds_config_source": ADS,
            "scoped_rds": {"scoped_rds_config_source": ADS},
        }
        from_file = {"path_config_source": {"path": str(self.file)}, "resource_api_version": "V3"}
        config = {
            "node": {"id": "test", "cluster": "test"},
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
            "dynamic_resources": {
                "ads_config": {
                    "api_type": "DELTA_GRPC",
                    "transport_api_version": "V3",
                    "grpc_services": [{"envoy_grpc": {"cluster_name": "plane"}}],
                }
            },
            "static_resources": {
                "clusters": [
                    {
                        "name": "plane",
                        "typed_extension_protocol_options": {
                            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                                "@type": f"{TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions",
                                **options,
                            }
                        },
                        "load_assignment": {
                            "cluster_name": "plane",
                            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
                        },
                    }
                ],
                "listeners": [
                    listener("file", rds={"route_config_name": "file", "config_source": from_file}),
                    listener("one", rds={"route_config_name": "r", "config_source": ADS}),
                    listener("two", rds={"route_config_name": "r", "config_source": ADS}),
                    listener("scoped", scoped_routes=scoped),
                    listener("hosts", rds={"route_config_name": "h", "config_source": ADS}),
                ],
            },
        }
        self.proxy = RunningProxy(json.dumps(config), concurrency=2)
        self.ports = {name: self.proxy.port(name) for name in ("file", "one", "two", "scoped", "hosts")}

    @staticmethod
    def with_hosts(text: str) -> dict[str, Any]:
        return table("h", text, domain="own", vhds={"config_source": ADS})

    @staticmethod
    def scope(name: str, key: str, routes: str, **more: Any) -> dict[str, Any]:
        fragments = [{"string_key": key}]
        return {"name": name, "key": {"fragments": fragments}, "route_configuration_name": routes, **more}

    def put_file(self, name: str, text: str) -> None:
        message = {"@type": f"{TYPES}.config.route.v3.RouteConfiguration", **table(name, text)}
        fresh = self.file.with_suffix(".new")
        fresh.write_text(json.dumps({"version_info": text, "resources": [message]}))
        fresh.rename(self.file)

    def put(self, *tables: dict[str, Any]) -> str:
        """Serve these beside the others, and wait until they are taken; their version."""
        self.tables |= {one["name"]: one for one in tables}
        mark = self.plane.mark()
        version = self.plane.set(RDS, self.tables.values())
        self.plane.wait_for_ack(RDS, version, since=mark)
        return version

    def get(self, name: str, host: str = "own", **headers: str) -> str:
        """The body of an answer, or its status."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[name], timeout=20)
        try:
            fields = {"host": host, **{key.replace("_", "-"): value for key, value in headers.items()}}
            connection.request("GET", "/", headers=fields)
            answer = connection.getresponse()
            body = answer.read().decode()
            return body if answer.status == 200 else str(answer.status)
        finally:
            connection.close()

    def all_say(self, name: str, text: str, **headers: str) -> None:
        """Wait until both workers do: no other answer in twenty connections."""
        wait_until(lambda: {self.get(name, **headers) for _ in range(20)} == {text}, f"{name} says {text}")

    def close(self) -> None:
        self.proxy.close()
        self.plane.close()


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    made = Rig(tmp_path_factory.mktemp("rds"))
    yield made
    made.close()


def test_routes_from_a_file(rig: Rig) -> None:
    rig.all_say("file", "f0")
    rig.put_file("file", "f1")
    rig.all_say("file", "f1")
    rig.put_file("other", "f2")
    rig.proxy.wait_for_stat("http.file.rds.file.update_rejected", 1)
    rig.all_say("file", "f1")
    rig.put_file("file", "f3")
    rig.all_say("file", "f3")


class Traffic:
    """Clients that ask on and on over one connection each; ``answers`` are theirs, in order."""

    def __init__(self, port: int, clients: int) -> None:
        self._going = True
        self.answers: list[list[str]] = [[] for _ in range(clients)]
        self._threads = [threading.Thread(target=self._ask, args=(port, heard)) for heard in self.answers]
        for thread in self._threads:
            thread.start()

    def _ask(self, port: int, heard: list[str]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        while self._going:
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                heard.append(f"{answer.status} {answer.read().decode()}")
            except OSError as error:
                heard.append(repr(error))
                return
            time.sleep(0.001)
        connection.close()

    def stop(self) -> None:
        self._going = False
        for thread in self._threads:
            thread.join()


def test_no_request_notices_updates(rig: Rig) -> None:
    rig.put(table("r", "0"))
    rig.all_say("one", "0")
    traffic = Traffic(rig.ports["one"], 6)
    try:
        for number in range(1, UPDATES + 1):
            rig.put(table("r", str(number)))
        rig.all_say("one", str(UPDATES))
        rig.all_say("two", str(UPDATES))
    finally:
        traffic.stop()
    for heard in traffic.answers:
        assert all(answer.startswith("200 ") for answer in heard)
        numbers = [int(answer[4:]) for answer in heard]
        assert numbers == sorted(numbers)
        assert numbers
    assert rig.proxy.stat("http.two.rds.r.config_reload") == 0  # shared: the first listener's counts


def test_large_tables(rig: Rig) -> None:
    paths = [say(f"p{number}", f"/path/{number}/") for number in range(3000)]
    rig.put(table("r", "large", *paths))
    rig.all_say("one", "large")
    connection = http.client.HTTPConnection("127.0.0.1", rig.ports["one"], timeout=20)
    connection.request("GET", "/path/2999/x")
    assert connection.getresponse().read() == b"p2999"
    connection.close()
    rig.put(table("r", "small"))
    rig.all_say("one", "small")


def test_refused_routes_change_nothing(rig: Rig) -> None:
    rig.put(table("r", "good"))
    rig.all_say("one", "good")
    mark = rig.plane.mark()
    bad = table("r", "bad", {"match": {"safe_regex": {"regex": "("}}, "direct_response": {"status": 200}})
    version = rig.plane.set(RDS, [{**rig.tables, "r": bad}[name] for name in rig.tables])
    refusal = rig.plane.wait_for_nack(RDS, version, since=mark)
    assert refusal.error == "missing ): ("
    assert rig.get("one") == "good"
    rig.put(table("r", "better"))
    rig.all_say("one", "better")


def test_scopes_change(rig: Rig) -> None:
    rig.put(table("r", "scoped"), table("s", "other"))
    rig.all_say("scoped", "scoped", x_scope="ka")
    assert rig.get("scoped", x_scope="nobody") == "404"
    # Keys may change places in one update, and no request is without a route meanwhile.
    rig.plane.set(SRDS, [rig.scope("a", "kb", "r"), rig.scope("b", "ka", "s"), rig.scope("d", "kd", "late")])
    rig.all_say("scoped", "other", x_scope="ka")
    rig.all_say("scoped", "scoped", x_scope="kb")


def test_requests_wait_for_the_routes_of_their_scope(rig: Rig) -> None:
    rig.plane.set(SRDS, [rig.scope("w", "kw", "wanted", on_demand=True)])
    wait_until(lambda: rig.proxy.stat("http.scoped.scoped_rds.scopes.on_demand_scopes") == 1, "the scope is there")
    rig.all_say("scoped", "404", x_scope="ka")
    heard: list[str] = []
    waiting = [threading.Thread(target=lambda: heard.append(rig.get("scoped", x_scope="kw"))) for _ in range(8)]
    for thread in waiting:
        thread.start()
    rig.plane.wait_for(RDS, lambda request: "wanted" in request.subscribe)
    rig.put(table("wanted", "here"))
    for thread in waiting:
        thread.join()
    assert heard == ["here"] * 8


def test_requests_wait_for_their_host(rig: Rig) -> None:
    rig.all_say("hosts", "first", host="first")
    heard: list[str] = []
    waiting = [threading.Thread(target=lambda: heard.append(rig.get("hosts", host="Wanted"))) for _ in range(8)]
    for thread in waiting:
        thread.start()
    rig.plane.wait_for(VHDS, lambda request: "h/wanted" in request.subscribe)
    rig.plane.update(VHDS, [host("h/wanted", "here")])
    for thread in waiting:
        thread.join()
    assert heard == ["here"] * 8
    rig.put(rig.with_hosts("own1"))
    rig.all_say("hosts", "own1")
    assert rig.get("hosts", host="wanted") == "here"


def test_a_client_that_leaves_while_it_waits(rig: Rig) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", rig.ports["hosts"], timeout=20)
    connection.request("GET", "/", headers={"host": "leaves"})
    rig.plane.wait_for(VHDS, lambda request: "h/leaves" in request.subscribe)
    connection.close()
    wait_until(lambda: rig.proxy.stat("http.hosts.downstream_rq_active") == 0, "the request is over")
    rig.plane.update(VHDS, [host("h/leaves", "late")])
    rig.all_say("hosts", "late", host="leaves")


def test_a_new_worker_has_all_of_it(rig: Rig) -> None:
    rig.put(table("r", "before"), rig.with_hosts("own2"))
    rig.plane.set(SRDS, [rig.scope("a", "ka", "r")])
    rig.all_say("scoped", "before", x_scope="ka")
    rig.put_file("file", "before")
    rig.all_say("file", "before")
    pids = rig.proxy.worker_pids()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_until(
        lambda: not set(pids) & set(rig.proxy.worker_pids()) and len(rig.proxy.worker_pids()) == 2, "new workers"
    )
    for name in ("file", "one", "two"):
        rig.all_say(name, "before")
    rig.all_say("scoped", "before", x_scope="ka")
    rig.all_say("hosts", "own2")
    rig.all_say("hosts", "first", host="first")
    rig.put(table("r", "after"))
    for name in ("one", "two"):
        rig.all_say(name, "after")
    rig.all_say("scoped", "after", x_scope="ka")


def test_statistics_of_old_tables_are_given_back(rig: Rig) -> None:
    def counted(text: str) -> list[dict[str, Any]]:
        condition = {"name": ":path", "string_match": {"prefix": "/"}}
        made = table("r", text)
        made["virtual_hosts"][0]["virtual_clusters"] = [{"name": f"vc{text}", "headers": [condition]}]
        return [made]

    def left() -> set[str]:
        lines = rig.proxy.admin("/stats?filter=^vhost.v.vcluster.vc").splitlines()
        return {line.split(".")[3] for line in lines}

    for number in range(10):
        rig.put(*counted(str(number)))
    wait_until(lambda: left() == {"vc9"}, "only what holds counts")
    rig.put(table("r", "none"))
    wait_until(lambda: left() == set(), "nothing counts")


def test_admin_tells(rig: Rig) -> None:
    rig.plane.set(SRDS, [rig.scope("a", "ka", "r")])
    rig.all_say("scoped", rig.get("one"), x_scope="ka")
    sections = {one["@type"].rpartition(".")[2]: one for one in json.loads(rig.proxy.admin("/config_dump"))["configs"]}
    names = {one["route_config"]["name"] for one in sections["RoutesConfigDump"]["dynamic_route_configs"]}
    assert {"file", "r", "h"} <= names
    [scopes] = sections["ScopedRoutesConfigDump"]["dynamic_scoped_route_configs"]
    assert scopes["name"] == "scopes"
    assert [one["name"] for one in scopes["scoped_route_configs"]] == ["a"]
    assert json.loads(rig.proxy.admin("/init_dump")) == {}


@pytest.mark.parametrize("address", ["listener=one", "listener=scoped&header=x-scope:%20ka"])
def test_explain_goes_by_what_holds(rig: Rig, address: str) -> None:
    rig.put(table("r", address, say("never", "/never")))
    rig.plane.set(SRDS, [rig.scope("a", "ka", "r")])
    rig.all_say("scoped", address, x_scope="ka")
    told = rig.proxy.admin(f"/explain?{address}&url=http://own/x", "POST")
    assert "virtual host 'v' of 'r'" in told
