"""Listening sockets that need a network of their own: in another namespace, on addresses that are nowhere."""

import os
import socket
from collections.abc import Callable

from tests.integration.configs import ADMIN
from tests.netns.namespaces import Namespace, Namespaces

from proxeny.testing import RunningProxy

Start = Callable[..., RunningProxy]

LISTENER = """
  - name: {name}
    address: {{socket_address: {{address: {address}, port_value: {port}{more}}}}}
    {fields}
    filter_chains:
    - filters:
      - name: envoy.filters.network.echo
        typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo}}
"""


def bootstrap(*listeners: str) -> str:
    return ADMIN + "static_resources:\n  listeners:\n" + "".join(listeners)


def listener(name: str, address: str, port: int, namespace: str = "", fields: str = "") -> str:
    more = f", network_namespace_filepath: {namespace}" if namespace else ""
    return LISTENER.format(name=name, address=address, port=port, more=more, fields=fields)


def echoes(client: socket.socket) -> bool:
    with client:
        client.sendall(b"hello")
        return client.recv(5) == b"hello"


def listening(namespace: Namespace, port: int) -> int:
    return namespace.run("ss", "-Hltn", f"sport = :{port}").stdout.count("LISTEN")


def test_a_socket_in_another_namespace(proxy: Start, namespaces: Namespaces) -> None:
    other = namespaces.add("other")
    running = proxy(bootstrap(listener("inside", "127.0.0.1", 0, other.path)), concurrency=2)
    port = running.port("inside")
    assert listening(other, port) == 2
    assert all(echoes(other.connect("127.0.0.1", port)) for _ in range(4))
    with socket.socket() as here:
        assert here.connect_ex(("127.0.0.1", port)) != 0


def test_one_address_in_two_namespaces(proxy: Start, namespaces: Namespaces) -> None:
    one, two = namespaces.add("one"), namespaces.add("two")
    config = bootstrap(*(listener(n.name, "127.0.0.1", 15001, n.path) for n in (one, two)))
    running = proxy(config, concurrency=2)
    assert running.admin("/listeners").count("::127.0.0.1:15001") == 2
    assert running.admin("/listeners?format=json").count("network_namespace_filepath") == 2
    assert echoes(one.connect("127.0.0.1", 15001)) and echoes(two.connect("127.0.0.1", 15001))


def test_a_worker_that_dies_is_replaced_there(proxy: Start, namespaces: Namespaces) -> None:
    other = namespaces.add("other")
    running = proxy(bootstrap(listener("inside", "127.0.0.1", 15001, other.path)), concurrency=2)
    os.kill(running.worker_pids()[0], 9)
    running.wait_for_stat("server.worker_restarts", 1)
    assert all(echoes(other.connect("127.0.0.1", 15001)) for _ in range(8))


def test_an_address_that_is_added_later(proxy: Start, namespaces: Namespaces) -> None:
    other = namespaces.add("other")
    proxy(bootstrap(listener("early", "192.0.2.7", 15001, other.path, "freebind: true")), concurrency=2)
    other.add_address("192.0.2.7/32")
    assert echoes(other.connect("192.0.2.7", 15001))


def test_foreign_addresses_through_a_transparent_listener(proxy: Start, namespaces: Namespaces) -> None:
    client, router = namespaces.add("client"), namespaces.add("router")
    _, gateway = namespaces.link(client, router)
    client.add_route("default", gateway.v4)
    router.ip("rule", "add", "fwmark", "1", "lookup", "100")
    router.ip("route", "add", "local", "0.0.0.0/0", "dev", "lo", "table", "100")
    tproxy = ("-j", "TPROXY", "--on-port", "15001", "--tproxy-mark", "1")
    router.run("iptables", "-t", "mangle", "-A", "PREROUTING", "-p", "tcp", "--dport", "7000", *tproxy)
    proxy(bootstrap(listener("captured", "0.0.0.0", 15001, router.path, "transparent: true")), concurrency=2)
    assert echoes(client.connect("203.0.113.9", 7000))
