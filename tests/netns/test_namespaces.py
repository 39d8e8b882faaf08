"""The test tools themselves: namespaces are wired, entered and removed; a proxy runs inside one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.netns.namespaces import PREFIX, Namespace, Namespaces, remove_left_overs

from proxeny.testing import RunningProxy
from proxeny.testing.namespace import NAMED, run_inside

CONFIG = """
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
static_resources:
  listeners:
  - name: echo
    address: {socket_address: {address: "::", port_value: 15001, ipv4_compat: true}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: here
          route_config:
            virtual_hosts:
            - {name: all, domains: ["*"], routes: [
                {match: {prefix: /}, direct_response: {status: 200, body: {inline_string: inside}}}]}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
"""


@pytest.mark.parametrize("family", ["v4", "v6"])
def test_linked_namespaces_talk(namespaces: Namespaces, family: str) -> None:
    left, right = namespaces.add("left"), namespaces.add("right")
    near, far = namespaces.link(left, right)
    wildcard = "::" if family == "v6" else "0.0.0.0"
    with right.listen(wildcard, 7000) as listener, left.connect(getattr(far, family), 7000) as client:
        accepted, peer = listener.accept()
        with accepted:
            assert peer[0] == getattr(near, family)
            client.sendall(b"x")
            assert accepted.recv(1) == b"x"


def test_routes_lead_over_a_third(namespaces: Namespaces) -> None:
    client, router, server = (namespaces.add(label) for label in ("client", "router", "server"))
    _, gateway = namespaces.link(client, router)
    other_gateway, far = namespaces.link(router, server)
    router.forward()
    for end, via in ((client, gateway), (server, other_gateway)):
        end.add_route("default", via.v4)
        end.add_route("default", via.v6)
    for address in (far.v4, far.v6):
        with server.listen(address, 7000), client.connect(address, 7000) as connection:
            assert connection.getpeername()[:2] == (address, 7000)


def test_this_process_stays_where_it_is(namespaces: Namespaces) -> None:
    before = os.readlink("/proc/thread-self/ns/net")
    inside = namespaces.add("one").inside(lambda: os.readlink("/proc/thread-self/ns/net"))
    assert inside != before == os.readlink("/proc/thread-self/ns/net")
    with pytest.raises(FileNotFoundError):
        run_inside("no-such-namespace", lambda: None)


def test_removed_with_their_links() -> None:
    made = Namespaces()
    one, two = made.add("one"), made.add("two")
    made.link(one, two)
    made.close()
    assert not Path(one.path).exists() and not Path(two.path).exists()
    made.close()


def test_what_a_killed_run_left_is_removed(namespaces: Namespaces, monkeypatch: pytest.MonkeyPatch) -> None:
    alive = namespaces.add("alive")
    monkeypatch.setattr(os, "getpid", lambda: 2**22 + 1)
    dead = Namespace("dead")
    assert dead.name.startswith(f"{PREFIX}-{2**22 + 1}-") and (NAMED / dead.name).exists()
    remove_left_overs()
    assert not (NAMED / dead.name).exists() and (NAMED / alive.name).exists()


def test_proxy_inside_under_a_uid(namespaces: Namespaces, proxy: Callable[..., RunningProxy]) -> None:
    client, side = namespaces.add("client"), namespaces.add("side")
    _, far = namespaces.link(client, side)
    running = proxy(CONFIG, namespace=side.name, uid=1337)
    assert os.stat(f"/proc/{running.process.pid}").st_uid == 1337
    for address in (far.v4, f"[{far.v6}]"):
        assert client.run("curl", "-sg", f"http://{address}:15001/").stdout == "inside"
    assert running.stat("http.here.downstream_rq_2xx") == 2
    assert running.port("echo") == 15001
