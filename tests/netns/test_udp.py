"""UDP where addresses and rules belong to the test: the peer's address towards the upstream, captured DNS queries."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
from tests.netns.namespaces import Namespace, Namespaces
from tests.unit.extensions.udp_filters.dns import query, read

from proxeny.testing import RunningProxy

UDP = "type.googleapis.com/envoy.extensions.filters.udp"
ADMIN = "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}\n"


def transparent(upstream: str) -> str:
    """A UDP proxy that sends from its peers' addresses."""
    return (
        ADMIN
        + f"""
static_resources:
  listeners:
  - name: datagrams
    address: {{socket_address: {{protocol: UDP, address: "::", port_value: 5000, ipv4_compat: true}}}}
    listener_filters:
    - name: envoy.filters.udp_listener.udp_proxy
      typed_config:
        "@type": {UDP}.udp_proxy.v3.UdpProxyConfig
        stat_prefix: p
        cluster: up
        use_original_src_ip: true
  clusters:
  - name: up
    load_assignment:
      cluster_name: up
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: "{upstream}", port_value: 7000}}}}}}
"""
    )


NAMES = (
    ADMIN
    + f"""
static_resources:
  listeners:
  - name: names
    address: {{socket_address: {{protocol: UDP, address: 0.0.0.0, port_value: 15053}}}}
    listener_filters:
    - name: envoy.filters.udp.dns_filter
      typed_config:
        "@type": {UDP}.dns_filter.v3.DnsFilterConfig
        stat_prefix: d
        server_config:
          inline_dns_table:
            virtual_domains:
            - {{name: www.foo.com, endpoint: {{address_list: {{address: [10.0.0.1]}}}}}}
"""
)


def datagram_socket(namespace: Namespace, address: str, port: int = 0) -> socket.socket:
    made = namespace.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((address, port))
    return made


@pytest.mark.parametrize("family", ["v4", "v6"])
def test_the_upstream_sees_the_peers_address(
    namespaces: Namespaces, proxy: Callable[..., RunningProxy], family: str
) -> None:
    client, side, server = (namespaces.add(label) for label in ("client", "side", "server"))
    near, far = namespaces.link(client, side)
    gateway, upstream = namespaces.link(side, server)
    server.add_route("default", getattr(gateway, family))
    # What the upstream answers goes to the peer's address, and has to end in the proxy.
    flag = "-4" if family == "v4" else "-6"
    side.ip(flag, "rule", "add", "iif", gateway.device, "lookup", "100")
    side.ip(flag, "route", "add", "local", "default", "dev", "lo", "table", "100")
    running = proxy(transparent(getattr(upstream, family)), namespace=side.name, concurrency=2)
    there, source = getattr(far, family), getattr(near, family)
    with (
        datagram_socket(server, getattr(upstream, family), 7000) as service,
        datagram_socket(client, source) as one,
        datagram_socket(client, source) as other,
    ):
        for number, peer in enumerate((one, other, one)):
            peer.sendto(b"question %d" % number, (there, 5000))
            data, seen = service.recvfrom(100)
            assert (data, seen[0]) == (b"question %d" % number, source)
            service.sendto(b"answer %d" % number, seen)
            answer, sender = peer.recvfrom(100)
            assert (answer, sender[:2]) == (b"answer %d" % number, (there, 5000))
    assert running.stat("udp.p.downstream_sess_total") == 2
    assert running.stat("cluster.up.udp.sess_tx_errors") == 0


def test_without_the_right_to_it_the_configuration_is_refused(namespaces: Namespaces) -> None:
    side = namespaces.add("side")
    config = transparent("127.0.0.1").replace('"::", port_value: 5000, ipv4_compat: true', "127.0.0.1, port_value: 0")
    with pytest.raises(AssertionError, match="does not support either IP_TRANSPARENT or IPV6_TRANSPARENT"):
        RunningProxy(config, namespace=side.name, uid=1337)


@pytest.mark.parametrize("bound", ["0.0.0.0", "127.0.0.1"])
def test_captured_queries_are_answered_from_where_they_went(
    namespaces: Namespaces, proxy: Callable[..., RunningProxy], bound: str
) -> None:
    pod, gateway = namespaces.add("pod"), namespaces.add("gateway")
    _, far = namespaces.link(pod, gateway)
    pod.add_route("default", far.v4)
    pod.run(
        "iptables", "-t", "nat", "-A", "OUTPUT", "-p", "udp", "--dport", "53", "-j", "REDIRECT", "--to-ports", "15053"
    )
    running = proxy(NAMES.replace("0.0.0.0", bound), namespace=pod.name, concurrency=2)
    for number in range(10):
        with pod.socket(kind=socket.SOCK_DGRAM) as client:
            # Connected: only an answer from 192.0.2.1:53 gets through.
            client.connect(("192.0.2.1", 53))
            client.send(query("www.foo.com", id=number))
            reply = read(client.recv(4096))
            assert (reply.id, reply.values) == (number, ["10.0.0.1"])
    assert running.stat("dns_filter.d.downstream_tx_responses") == 10
