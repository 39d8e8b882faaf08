"""Discovered routes before Envoy and Proxeny: RDS, SRDS and VHDS from the same control plane."""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from envoy.config.route.v3 import route_components_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.json_format import ParseDict
from tests.differential.xds_config import TYPES, VARIANTS, Json, Variant, listener, routes, static
from tests.differential.xds_pair import XdsCase, XdsPair, into
from tests.differential.xds_side import Side

from proxeny.testing.xds import CDS, LDS, RDS, SRDS, VHDS

CASES: list[XdsCase] = []
case = into(CASES)
SCOPES: list[XdsCase] = []
"""Those of SRDS."""
scope_case = into(SCOPES)
HOSTS: list[XdsCase] = []
"""Those of VHDS, which there is in the incremental protocol only."""
host_case = into(HOSTS)

ON_DEMAND = {
    "name": "envoy.filters.http.on_demand",
    "typed_config": {"@type": f"{TYPES}.extensions.filters.http.on_demand.v3.OnDemand"},
}


# -- resources and questions -----------------------------------------------------------------------------------


def by_rds(side: Side, name: str, table: str = "r", **source: Any) -> Json:
    """A listener whose routes are discovered; ``source``: fields of its config source."""
    return listener(name, rds={"route_config_name": table, "config_source": {**side.source, **source}})


def manager_of(made: Json) -> Json:
    """The connection manager's configuration."""
    config: Json = made["filter_chains"][0]["filters"][0]["typed_config"]
    return config


def by_scopes(side: Side, name: str = "l", **more: Any) -> Json:
    """A listener whose routes are those of the scope that the header ``x-scope`` names."""
    made = by_rds(side, name)
    manager = manager_of(made)
    del manager["rds"]
    extractor = {"name": "x-scope", "element_separator": ",", "index": 0}
    manager["scoped_routes"] = {
        "name": "scopes",
        "scope_key_builder": {"fragments": [{"header_value_extractor": extractor}]},
        "rds_config_source": side.source,
        "scoped_rds": {"scoped_rds_config_source": side.source},
        **more,
    }
    manager["http_filters"].insert(0, ON_DEMAND)
    return made


def scope(name: str, key: str, table: str = "", **more: Any) -> Json:
    """A ScopedRouteConfiguration."""
    named = {"route_configuration_name": table} if table else {}
    return {"name": name, "key": {"fragments": [{"string_key": key}]}, **named, **more}


def by_hosts(side: Side) -> Json:
    """A listener with RDS, and requests that wait for their virtual host."""
    made = by_rds(side, "l")
    manager_of(made)["http_filters"].insert(0, ON_DEMAND)
    return made


def with_hosts(side: Side, text: str = "own", **more: Any) -> Json:
    """A RouteConfiguration with a virtual host of its own, and VHDS."""
    made = routes("r", f"={text}", vhds={"config_source": side.source}, **more)
    made["virtual_hosts"][0]["domains"] = ["own"]
    return made


def host(name: str, text: str, *aliases: str, domain: str = "", path: str = "/say") -> discovery_pb2.Resource:
    """A virtual host that says a text."""
    answer = {"match": {"path": path}, "direct_response": {"status": 200, "body": {"inline_string": text}}}
    fields = {"name": name, "domains": [domain or name.rpartition("/")[2]], "routes": [answer]}
    made = discovery_pb2.Resource(name=name, aliases=aliases)
    made.resource.Pack(ParseDict(fields, route_components_pb2.VirtualHost()))
    return made


def ask(side: Side, name: str = "l", *, host: str = "own", body: bytes = b"", **headers: str) -> str:
    """One answer; underscores in the names of headers are dashes."""
    port = side.listening().get(name)
    if port is None:
        return "no listener"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        fields = {"host": host, **{key.replace("_", "-"): value for key, value in headers.items()}}
        connection.request("POST" if body else "GET", "/say", body or None, fields)
        answer = connection.getresponse()
        return f"{answer.status} {answer.read().decode()!r}"
    except OSError as error:
        return type(error).__name__
    finally:
        connection.close()


def say(side: Side, want: str, name: str = "l", **more: Any) -> None:
    """Ask until the answer has a text."""
    seen = ""

    def has_it() -> bool:
        nonlocal seen
        seen = ask(side, name, **more)
        return want in seen

    side.wait_until(has_it)
    side.note(f"{name} {sorted(more.items())}: {seen}")


def taken(side: Side, *names: str) -> None:
    """Wait until these routes are confirmed: their stream may end soon."""
    for name in names:
        side.asked(RDS, lambda request, name=name: request.is_ack and name in request.answers.names)  # type: ignore[misc]


def waits(side: Side) -> None:
    """What its listener waits for; managers have a hash in their name."""
    dump = json.loads(side.proxy.admin("/init_dump"))
    side.note(re.sub(r"\b\d{6,}\b", "<hash>", json.dumps(dump, sort_keys=True)))


class Waiting:
    """A request that is sent and waits."""

    def __init__(self, side: Side, host: str = "own", **headers: str) -> None:
        self._side = side
        self._host = host
        self._socket = socket.create_connection(("127.0.0.1", side.listening()["l"]), timeout=20)
        fields = "".join(f"{key.replace('_', '-')}: {value}\r\n" for key, value in headers.items())
        self._socket.sendall(f"GET /say HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{fields}\r\n".encode())

    def answered(self) -> None:
        """Wait for the answer."""
        seen = b""
        while data := self._socket.recv(65536):
            seen += data
        self._socket.close()
        head, _, body = seen.partition(b"\r\n\r\n")
        self._side.note(f"{self._host} waited: {head.split()[1].decode()} {body.decode()!r}")

    def leave(self) -> None:
        """Give it up."""
        self._socket.close()


# -- RDS -------------------------------------------------------------------------------------------------------


@case("total_listeners_active: +1", "200 'x'")
def a_listener_waits_for_its_routes(side: Side) -> None:
    side.plane.hold(RDS)
    version = side.serve(LDS, by_rds(side, "l"))
    side.asked_for(RDS, "r")
    side.wait_for_stat("listener_manager.total_listeners_warming", 1)
    waits(side)
    table = side.serve(RDS, routes("r", "=x"))
    side.plane.release(RDS)
    side.acked(RDS, table)
    side.acked(LDS, version)
    side.get("l", "/say", "x")


@case("init_fetch_timeout: +1", "404 ''", "200 'late'")
def routes_that_come_late(side: Side) -> None:
    side.plane.hold(RDS)
    side.put(LDS, by_rds(side, "l", initial_fetch_timeout="0.05s"))
    side.wait_for_stat("http.l.rds.r.init_fetch_timeout", 1)
    side.wait_for_stat("listener_manager.total_listeners_active", 1)
    side.get("l", "/say", "404")
    version = side.serve(RDS, routes("r", "=late"))
    side.plane.release(RDS)
    side.acked(RDS, version)
    side.get("l", "/say", "late")


@case("http.a.rds.r.config_reload: +1", "a/say: 200 'x'", "b/say: 200 'x'", "c/say: 200 'z'")
def listeners_share_routes(side: Side) -> None:
    side.serve(RDS, routes("r", "=x"), routes("s", "=z"))
    side.put(LDS, by_rds(side, "a"), by_rds(side, "b"), by_rds(side, "c", "s"))
    side.wait_for_stat("listener_manager.total_listeners_active", 3)
    for name, text in (("a", "x"), ("b", "x"), ("c", "z")):
        side.get(name, "/say", text)


@case("a/say: 200 'x'", "a/say: 200 'y'")
def a_listener_leaves_routes_to_another(side: Side) -> None:
    side.serve(RDS, routes("r", "=x"))
    side.put(LDS, by_rds(side, "a"), by_rds(side, "b"))
    side.get("a", "/say", "x")
    side.put(LDS, by_rds(side, "a"))
    side.wait_for_stat("listener_manager.total_listeners_draining", 0)
    side.put(RDS, routes("r", "=y"))
    side.get("a", "/say", "y")


@case("200 'x'", "200 'z'")
def a_listener_takes_other_routes(side: Side) -> None:
    side.serve(RDS, routes("r", "=x"), routes("s", "=z"))
    side.put(LDS, by_rds(side, "l"))
    taken(side, "r")
    side.get("l", "/say", "x")
    side.put(LDS, by_rds(side, "l", "s"))
    side.get("l", "/say", "z")
    side.wait_for_stat("listener_manager.total_listeners_draining", 0)
    side.asked_for(RDS, "s")


@case("error=13:'Only unique values for domains", "update_rejected: +1", "200 'x'")
def routes_that_are_refused(side: Side) -> None:
    side.serve(RDS, routes("r", "=x"))
    side.put(LDS, by_rds(side, "l"))
    side.get("l", "/say", "x")
    bad = routes("r", "=y")
    bad["virtual_hosts"].append({"name": "other", "domains": ["a", "A"]})
    side.put_bad(RDS, bad)
    side.get("l", "/say", "x")
    side.put(RDS, routes("r", "=y"))
    side.get("l", "/say", "y")


@case("error=13:", "404 ''")
def the_first_routes_are_refused(side: Side) -> None:
    bad = routes("r", "=y")
    bad["virtual_hosts"][0]["routes"][0]["match"] = {"safe_regex": {"regex": "("}}
    version = side.serve(RDS, bad)
    side.put(LDS, by_rds(side, "l"))
    side.nacked(RDS, version)
    side.wait_for_stat("listener_manager.total_listeners_active", 1)
    side.get("l", "/say", "404")


@case("config_reload: +1", "update_success: +2")
def the_same_routes_again(side: Side) -> None:
    side.serve(RDS, routes("r", "=x"))
    side.put(LDS, by_rds(side, "l"))
    side.get("l", "/say", "x")
    side.plane.send(RDS, [routes("r", "=x")], version="again")
    side.acked(RDS, "again")


@case("error=13:\"route: unknown cluster 'c'\"", "200 'one'")
def clusters_that_are_looked_for(side: Side) -> None:
    checked = {"validate_clusters": True}
    side.serve(RDS, routes("r", "=x"))
    side.put(LDS, by_rds(side, "l"))
    side.get("l", "/say", "x")
    side.put_bad(RDS, routes("r", "c", **checked))
    side.put(CDS, static("c", side.port("one")))
    side.put(RDS, routes("r", "c", "=again", **checked))
    side.get("l", "/c", "one")


@case("503 ''", "200 'one'")
def a_cluster_that_comes_after_its_route(side: Side) -> None:
    side.serve(RDS, routes("r", "c"))
    side.put(LDS, by_rds(side, "l"))
    side.get("l", "/c", "503")
    side.put(CDS, static("c", side.port("one")))
    side.get("l", "/c", "one")
    side.put(CDS, static("other"))
    side.get("l", "/c", "503")


@case("200 'x'")
def routes_that_go_are_kept(side: Side) -> None:
    side.serve(RDS, routes("r", "=x"))
    side.put(LDS, by_rds(side, "l"))
    side.get("l", "/say", "x")
    side.plane.send(RDS, (), version="gone", removed=["r"] if side.variant.delta else ())
    side.acked(RDS, "gone")
    side.get("l", "/say", "x")


@case("200 '19'", "config_reload: +21")
def a_flood_of_routes(side: Side) -> None:
    side.serve(RDS, routes("r", "=x"))
    side.put(LDS, by_rds(side, "l"))
    side.get("l", "/say", "x")
    for number in range(20):
        version = side.serve(RDS, routes("r", f"={number}"))
    side.acked(RDS, version)
    side.get("l", "/say", "19")


@case("200 'y'")
def routes_outlive_the_control_plane(side: Side) -> None:
    version = side.serve(RDS, routes("r", "=x"))
    side.put(LDS, by_rds(side, "l"))
    side.acked(RDS, version)
    side.get("l", "/say", "x")
    mark = side.plane.mark()
    side.plane.end_streams(type_name=RDS)
    side.plane.wait_for(RDS, lambda request: not request.nonce, since=mark)
    if not side.variant.delta:
        side.plane.wait_for(RDS, lambda request: bool(request.nonce), since=mark)
    side.get("l", "/say", "x")
    side.put(RDS, routes("r", "=y"))
    side.get("l", "/say", "y")


# -- SRDS ------------------------------------------------------------------------------------------------------


@scope_case("scoped_rds.scopes.all_scopes: +2", "200 'x'", "200 'y'", "404 ''")
def scopes_come(side: Side) -> None:
    side.plane.hold(SRDS, RDS)
    side.serve(SRDS, scope("a", "ka", "ra"), scope("b", "kb", "rb"))
    side.put(LDS, by_scopes(side))
    side.wait_for_stat("listener_manager.total_listeners_warming", 1)
    waits(side)
    side.plane.release(SRDS)
    side.asked_for(RDS, "ra", "rb")
    waits(side)
    side.serve(RDS, routes("ra", "=x"), routes("rb", "=y"))
    side.plane.release(RDS)
    say(side, "x", x_scope="ka")
    say(side, "y", x_scope="kb")
    say(side, "404", x_scope="kc")
    say(side, "404")


@scope_case("scoped_rds.scopes.all_scopes: +2", "200 'x'", "200 'y'", "404 ''")
def scopes_change_and_go(side: Side) -> None:
    side.serve(RDS, routes("ra", "=x"), routes("rb", "=y"), routes("rc", "=z"))
    side.serve(SRDS, scope("a", "ka", "ra"), scope("b", "kb", "rb"))
    side.put(LDS, by_scopes(side))
    taken(side, "ra", "rb")
    say(side, "x", x_scope="ka")
    side.put(SRDS, scope("a", "ka", "rb"), scope("b", "kb", "rb"), scope("c", "kc", "rc"))
    say(side, "y", x_scope="ka")
    say(side, "z", x_scope="kc")
    side.put(SRDS, scope("a", "other", "rb"), scope("c", "kc", "rc"))
    say(side, "404", x_scope="ka")
    say(side, "404", x_scope="kb")
    say(side, "y", x_scope="other")


@scope_case("scope key conflict found, first scope is 'a', second scope is 'b'", "200 'x'")
def scopes_of_one_key(side: Side) -> None:
    side.serve(RDS, routes("ra", "=x"), routes("rb", "=y"))
    side.serve(SRDS, scope("a", "k", "ra"))
    side.put(LDS, by_scopes(side))
    say(side, "x", x_scope="k")
    side.put_bad(SRDS, scope("a", "k", "ra"), scope("b", "k", "rb"))
    say(side, "x", x_scope="k")


@scope_case("error=13:'route_configuration_name is empty.'")
def a_scope_without_routes(side: Side) -> None:
    version = side.serve(SRDS, scope("a", "k"))
    side.put(LDS, by_scopes(side))
    side.nacked(SRDS, version)
    side.wait_for_stat("listener_manager.total_listeners_active", 1)
    say(side, "404", x_scope="k")


@scope_case("200 'x'", "scoped_rds.scopes.active_scopes")
def a_scope_with_routes_of_its_own(side: Side) -> None:
    side.serve(RDS, routes("ra", "=y"))
    side.serve(SRDS, scope("a", "k", route_configuration=routes("own", "=x")), scope("b", "kb", "ra"))
    side.put(LDS, by_scopes(side))
    say(side, "x", x_scope="k")
    say(side, "y", x_scope="kb")


@scope_case("on_demand_scopes: +1", "active_scopes: +1", "waited: 200 'x'")
def a_request_waits_for_its_scope(side: Side) -> None:
    side.serve(SRDS, scope("a", "k", "ra", on_demand=True))
    side.put(LDS, by_scopes(side))
    side.wait_for_stat("listener_manager.total_listeners_active", 1)
    say(side, "404", x_scope="other")
    waiting = [Waiting(side, x_scope="k") for _ in range(2)]
    side.asked_for(RDS, "ra")
    version = side.serve(RDS, routes("ra", "=x"))
    side.acked(RDS, version)
    for one in waiting:
        one.answered()
    say(side, "x", x_scope="k")


# -- VHDS ------------------------------------------------------------------------------------------------------


def start_hosts(side: Side, *hosts: discovery_pb2.Resource) -> None:
    """The listener, its routes, these virtual hosts and one that nobody asks for."""
    side.serve(RDS, with_hosts(side))
    version = side.serve(VHDS, host("r/z", "z"), *hosts)
    side.put(LDS, by_hosts(side))
    side.acked(VHDS, version)
    say(side, "own")


@host_case("rds.vhds.r.config_reload: +1", "http.l.rds.r.config_reload: +1", "200 'a'")
def hosts_come(side: Side) -> None:
    side.plane.hold(VHDS)
    side.serve(RDS, with_hosts(side))
    side.put(LDS, by_hosts(side))
    side.asked(VHDS, lambda request: True)
    waits(side)
    version = side.serve(VHDS, host("r/a", "a"), host("r/b", "b"))
    side.plane.release(VHDS)
    side.acked(VHDS, version)
    say(side, "a", host="a")
    say(side, "b", host="B")


@host_case("waited: 200 'a'", "subscribe=['r/a']")
def a_request_waits_for_its_host(side: Side) -> None:
    start_hosts(side)
    waiting = [Waiting(side, host="a") for _ in range(2)]
    side.asked(VHDS, lambda request: "r/a" in request.subscribe)
    # The start, the first hosts, both requests, and the answer that there is none.
    side.wait_for_stat("http.l.rds.vhds.r.update_attempt", 5)
    side.put(VHDS, host("r/a", "a"))
    for one in waiting:
        one.answered()
    say(side, "a", host="a")


@host_case("waited: 200 'a'")
def a_host_goes_by_another_name(side: Side) -> None:
    start_hosts(side)
    waiting = Waiting(side, host="alias")
    side.asked(VHDS, lambda request: "r/alias" in request.subscribe)
    side.plane.send(VHDS, [host("r/alias", "a", "r/other", domain="alias")], version="now")
    waiting.answered()


@host_case("waited: 404 ''", "404 ''")
def a_host_without_the_route(side: Side) -> None:
    start_hosts(side)
    waiting = Waiting(side, host="a")
    side.asked(VHDS, lambda request: "r/a" in request.subscribe)
    side.put(VHDS, host("r/a", "a", path="/elsewhere"))
    waiting.answered()
    say(side, "404", host="a")


@host_case("200 'own2'", "200 'a'", "200 'a2'")
def hosts_and_routes_change(side: Side) -> None:
    start_hosts(side, host("r/a", "a"))
    say(side, "a", host="a")
    side.put(RDS, with_hosts(side, "own2"))
    say(side, "own2")
    say(side, "a", host="a")
    side.put(VHDS, host("r/a", "a2"), host("r/b", "b"))
    say(side, "a2", host="a")
    say(side, "b", host="b")


@host_case("error=13:'Only unique values for domains")
def a_host_of_a_domain_that_is_taken(side: Side) -> None:
    start_hosts(side, host("r/a", "a"))
    side.put_bad(VHDS, host("r/a", "a"), host("r/b", "b", domain="own"))
    say(side, "a", host="a")
    say(side, "own")


@host_case("404 ''")
def hosts_go_with_vhds(side: Side) -> None:
    start_hosts(side, host("r/a", "a"))
    say(side, "a", host="a")
    plain = with_hosts(side)
    del plain["vhds"]
    side.put(RDS, plain)
    say(side, "404", host="a")


@host_case("error=13:\"vhds: only 'DELTA_GRPC' or 'ADS'")
def hosts_from_a_file(side: Side) -> None:
    side.serve(RDS, routes("r", "=x"))
    side.put(LDS, by_hosts(side))
    side.get("l", "/say", "x")
    bad = with_hosts(side)
    bad["vhds"]["config_source"] = {"path_config_source": {"path": "/dev/null"}}
    side.put_bad(RDS, bad)
    side.get("l", "/say", "x")


# -- both protocols --------------------------------------------------------------------------------------------


# Over ADS scopes and virtual hosts stay asked for: the next listener would wait in vain for what there is.
RUNS = [(variant, CASES if variant.aggregated else [*CASES, *SCOPES, *HOSTS]) for variant in (VARIANTS[0], VARIANTS[3])]


@pytest.fixture(scope="module")
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[XdsPair]:
    variant: Variant = request.param
    made = XdsPair(variant, tmp_path_factory.mktemp(f"routes-{variant.name}"))
    yield made
    made.close()


@pytest.mark.parametrize(
    ("pair", "sequence"),
    [
        pytest.param(variant, sequence, id=f"{variant.name}-{sequence.name}")
        for variant, sequences in RUNS
        for sequence in sequences
    ],
    indirect=["pair"],
)
def test_same(sequence: XdsCase, pair: XdsPair) -> None:
    pair.check(sequence)


@pytest.fixture(scope="module")
def shared_stream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[XdsPair]:
    made = XdsPair(VARIANTS[1], tmp_path_factory.mktemp("routes-shared"))
    yield made
    made.close()


def scopes_and_hosts(side: Side) -> None:
    side.serve(SRDS, scope("a", "ka", "ra"), scope("b", "kb", "rb", on_demand=True))
    side.serve(RDS, with_hosts(side), routes("ra", "=x"), routes("rb", "=y"))
    side.serve(VHDS, host("r/a", "a"))
    side.put(LDS, by_scopes(side, "s"), by_hosts(side))
    say(side, "x", "s", x_scope="ka")
    say(side, "y", "s", x_scope="kb")
    say(side, "a", host="a")
    waiting = Waiting(side, host="b")
    side.asked(VHDS, lambda request: "r/b" in request.subscribe)
    side.put(VHDS, host("r/a", "a"), host("r/b", "b"))
    waiting.answered()


def test_same_over_one_incremental_stream(shared_stream: XdsPair) -> None:
    shared_stream.check(XdsCase(scopes_and_hosts, ("waited: 200 'b'", "200 'y'", "ADS VHDS: subscribe=['r/b']")))
