"""UdpProxy: sessions over real sockets, with simulated time."""

import errno
import gc
import socket
from typing import Any

import pytest
from tests.unit.extensions.udp_filters.conftest import TYPE, Logger, World

from proxeny.config.errors import ConfigError
from proxeny.extensions.udp_filters.udp_proxy import session
from proxeny.kernel.sockets import peer_sockaddr
from proxeny.network.address import from_sockaddr


def udp_proxy(**fields: Any) -> dict[str, Any]:
    return {
        "name": "envoy.filters.udp_listener.udp_proxy",
        "typed_config": {
            "@type": f"{TYPE}.udp_proxy.v3.UdpProxyConfig",
            "stat_prefix": "p",
            **({"cluster": "up"} if "matcher" not in fields else {}),
            **fields,
        },
    }


def port_of(sock: socket.socket) -> int:
    port: int = sock.getsockname()[1]
    return port


def test_datagrams_there_and_back(world: World) -> None:
    upstream = world.udp()
    world.cluster("up", port_of(upstream))
    address = world.listen(udp_proxy())
    client = world.udp()
    for data in (b"hello", b"", b"x" * 1500):
        client.sendto(data, address)
        seen, session = world.receive(upstream)
        assert seen == data
        upstream.sendto(data + b"!", session)
        answer, source = world.receive(client)
        assert (answer, source) == (data + b"!", address)
    assert world.stat("udp.p.downstream_sess_total") == 1
    assert world.stat("udp.p.downstream_sess_active") == 1
    assert world.stat("udp.p.downstream_sess_rx_bytes") == 1505
    assert world.stat("udp.p.downstream_sess_tx_bytes") == 1508
    assert world.stat("udp.p.downstream_sess_rx_datagrams") == 3
    assert world.stat("cluster.up.udp.sess_tx_datagrams") == 3
    assert world.stat("cluster.up.udp.sess_rx_datagrams") == 3
    assert world.stat("cluster.up.upstream_cx_rx_bytes_total") == 1508
    assert world.stat("cluster.up.upstream_cx_tx_bytes_total") == 1505


def test_every_client_has_a_session_of_its_own(world: World) -> None:
    upstream = world.udp()
    world.cluster("up", port_of(upstream))
    address = world.listen(udp_proxy())
    clients = [world.udp() for _ in range(3)]
    sessions = []
    for number, client in enumerate(clients):
        client.sendto(b"%d" % number, address)
        sessions.append(world.receive(upstream)[1])
    assert len(set(sessions)) == 3
    for number, peer in enumerate(sessions):
        upstream.sendto(b"for %d" % number, peer)
    for number, client in enumerate(clients):
        assert world.receive(client)[0] == b"for %d" % number


def test_strangers_do_not_reach_a_session(world: World) -> None:
    upstream = world.udp()
    world.cluster("up", port_of(upstream))
    address = world.listen(udp_proxy())
    client, stranger = world.udp(), world.udp()
    client.sendto(b"one", address)
    _, session = world.receive(upstream)
    stranger.sendto(b"spoof", session)
    assert world.silent(client)
    assert world.stat("cluster.up.udp.sess_rx_datagrams") == 0


def test_a_wildcard_listener_answers_from_the_address_that_was_asked(world: World) -> None:
    upstream = world.udp()
    world.cluster("up", port_of(upstream))
    _, port = world.listen(udp_proxy(), host="0.0.0.0")
    client = world.udp("0.0.0.0")
    sessions = set()
    for ip in ("127.0.0.5", "127.0.0.6"):
        client.sendto(ip.encode(), (ip, port))
        _, session = world.receive(upstream)
        sessions.add(session)
        upstream.sendto(b"answer", session)
        assert world.receive(client) == (b"answer", (ip, port))
    assert len(sessions) == 2


def test_ipv6(world: World) -> None:
    upstream = world.udp()
    world.cluster("up", port_of(upstream))
    _, port = world.listen(udp_proxy(), host="::")
    client = world.udp("::1")
    client.sendto(b"six", ("::1", port))
    seen, session = world.receive(upstream)
    upstream.sendto(seen, session)
    answer, source = world.receive(client)
    assert (answer, source[:2]) == (b"six", ("::1", port))


def test_an_idle_session_ends(world: World) -> None:
    upstream = world.udp()
    world.cluster("up", port_of(upstream))
    address = world.listen(udp_proxy(idle_timeout="10s"))
    client = world.udp()
    client.sendto(b"one", address)
    _, first = world.receive(upstream)
    world.advance(9000)
    upstream.sendto(b"still here", first)
    world.receive(client)
    world.advance(9000)
    client.sendto(b"two", address)
    assert world.receive(upstream) == (b"two", first)
    world.advance(9999)
    assert world.stat("udp.p.downstream_sess_active") == 1
    world.advance(2)
    assert world.stat("udp.p.downstream_sess_active") == 0
    assert world.stat("udp.p.idle_timeout") == 1
    client.sendto(b"three", address)
    assert world.receive(upstream)[1] != first
    assert world.stat("udp.p.downstream_sess_total") == 2


def test_access_log_of_sessions(world: World) -> None:
    upstream = world.udp()
    world.cluster("up", port_of(upstream))
    address = world.listen(udp_proxy(access_log_options={"access_log_flush_interval": "2s"}))
    client = world.udp()
    client.sendto(b"hello", address)
    _, session = world.receive(upstream)
    upstream.sendto(b"hi", session)
    world.receive(client)
    world.advance(2000)
    world.advance(2000)
    world.handler.stop_listener(1)
    facts = {
        "udp.proxy.session": {
            "bytes_received": 5,
            "bytes_sent": 2,
            "cluster_name": "up",
            "datagrams_received": 1,
            "datagrams_sent": 1,
            "errors_sent": 0,
        }
    }
    host = f"127.0.0.1:{port_of(upstream)}"
    kinds = [b"UdpPeriodic", b"UdpPeriodic", b"UdpSessionEnd"]
    assert world.logger.lines == [(kind, "-", host, facts) for kind in kinds]


def test_no_cluster_is_no_route(world: World) -> None:
    address = world.listen(udp_proxy(cluster="nothing"))
    world.udp().sendto(b"x", address)
    world.wait(lambda: world.stat("udp.p.downstream_sess_no_route"))
    assert world.stat("udp.p.downstream_sess_total") == 0


INPUTS = "type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3"


def test_routes_by_the_unified_matcher(world: World) -> None:
    upstreams = {name: world.udp() for name in ("a", "b")}
    for name, upstream in upstreams.items():
        world.cluster(name, port_of(upstream))
    routes = {
        ip: {"action": {"name": "r", "typed_config": {"@type": f"{TYPE}.udp_proxy.v3.Route", "cluster": name}}}
        for ip, name in (("127.0.0.5", "a"), ("127.0.0.6", "b"), ("127.0.0.7", "nothing"))
    }
    data_input = {"name": "to", "typed_config": {"@type": f"{INPUTS}.DestinationIPInput"}}
    matcher = {"matcher_tree": {"input": data_input, "exact_match_map": {"map": routes}}}
    _, port = world.listen(udp_proxy(matcher=matcher), host="0.0.0.0")
    assert world.config.filters[0].config.router.cluster_names == ("a", "b", "nothing")
    client = world.udp()
    for _ in range(2):
        client.sendto(b"for a", ("127.0.0.5", port))
        client.sendto(b"for b", ("127.0.0.6", port))
        assert world.receive(upstreams["a"])[0] == b"for a"
        assert world.receive(upstreams["b"])[0] == b"for b"
    client.sendto(b"x", ("127.0.0.7", port))
    client.sendto(b"x", ("127.0.0.8", port))
    world.wait(lambda: world.stat("udp.p.downstream_sess_no_route") == 2)


def test_no_host_is_no_session(world: World) -> None:
    world.cluster("up")
    address = world.listen(udp_proxy())
    world.udp().sendto(b"x", address)
    world.wait(lambda: world.stat("cluster.up.upstream_cx_none_healthy"))
    assert world.stat("udp.p.downstream_sess_total") == 0


def test_the_circuit_breaker_refuses_sessions_and_recovers(world: World) -> None:
    upstream = world.udp()
    world.cluster("up", port_of(upstream), circuit_breakers={"thresholds": [{"max_connections": 1}]})
    address = world.listen(udp_proxy(idle_timeout="5s"))
    first, second = world.udp(), world.udp()
    first.sendto(b"1", address)
    world.receive(upstream)
    second.sendto(b"2", address)
    world.wait(lambda: world.stat("cluster.up.upstream_cx_overflow"))
    assert world.stat("udp.p.downstream_sess_total") == 2
    assert world.stat("udp.p.downstream_sess_active") == 1
    assert world.logger.lines[0][:3] == (b"UdpSessionEnd", "UO", "-")
    cluster = world.clusters.get("up")
    assert cluster is not None
    connections = cluster.info.resource_manager(0).connections
    assert (connections.count, connections.can_create()) == (1, False)
    world.advance(5001)
    second.sendto(b"3", address)
    assert world.receive(upstream)[0] == b"3"


def test_per_packet_load_balancing(world: World) -> None:
    upstreams = [world.udp(), world.udp()]
    world.cluster("up", *[port_of(one) for one in upstreams])
    address = world.listen(udp_proxy(use_per_packet_load_balancing=True))
    client = world.udp()
    for _ in range(2):
        client.sendto(b"x", address)
        client.sendto(b"x", address)
        for upstream in upstreams:
            world.receive(upstream)
    assert world.stat("udp.p.downstream_sess_total") == 2


def test_hosts_that_go_take_their_sessions_along(world: World) -> None:
    old, new = world.udp(), world.udp()
    world.cluster("up", port_of(old))
    address = world.listen(udp_proxy())
    client = world.udp()
    client.sendto(b"one", address)
    world.receive(old)
    world.cluster("up", port_of(new))
    assert world.stat("udp.p.downstream_sess_active") == 0
    client.sendto(b"two", address)
    assert world.receive(new)[0] == b"two"
    assert world.stat("udp.p.downstream_sess_total") == 2
    world.clusters.remove("up")
    assert world.stat("udp.p.downstream_sess_active") == 0


def test_an_update_of_hosts_ends_the_sessions_of_those_that_are_gone(world: World) -> None:
    upstreams = [world.udp(), world.udp()]
    world.cluster("up", *[port_of(one) for one in upstreams])
    address = world.listen(udp_proxy())
    clients = [world.udp(), world.udp()]
    for client in clients:
        client.sendto(b"one", address)
    for upstream in upstreams:
        world.receive(upstream)
    cluster: Any = world.clusters.get("up")
    stays = next(host for host in cluster.priority_set.hosts() if host.address.port == port_of(upstreams[0]))
    cluster.update_hosts([stays.entry])
    assert world.stat("udp.p.downstream_sess_active") == 1
    for client in clients:
        client.sendto(b"two", address)
    assert {world.receive(upstreams[0])[0] for _ in clients} == {b"two"}
    assert world.stat("udp.p.downstream_sess_total") == 3


def test_the_proxys_own_log(world: World) -> None:
    upstream = world.udp()
    world.cluster("up", port_of(upstream))
    address = world.listen(udp_proxy())
    own = Logger()
    world.config.filters[0].config.proxy_access_logs = (own,)
    world.udp().sendto(b"hello", address)
    world.receive(upstream)
    world.handler.stop_listener(1)
    ((log_type, flags, host, metadata),) = own.lines
    assert (log_type, flags, host) == (b"NotSet", "-", "-")
    assert metadata["udp.proxy.proxy"] == {
        "bytes_received": 5,
        "bytes_sent": 0,
        "datagrams_received": 1,
        "datagrams_sent": 0,
        "errors_received": 0,
        "errors_sent": 0,
        "idle_timeout": 0,
        "no_route": 0,
        "session_total": 1,
    }


def test_a_session_leaves_an_unhealthy_host_when_there_is_a_better_one(world: World) -> None:
    upstreams = {port_of(one): one for one in (world.udp(), world.udp())}
    world.cluster("up", *upstreams)
    address = world.listen(udp_proxy())
    client = world.udp()
    client.sendto(b"one", address)
    world.wait(lambda: world.stat("cluster.up.udp.sess_tx_datagrams"))
    cluster: Any = world.clusters.get("up")
    (host,) = next(iter(world.listener._listeners[0]._filters[0]._clusters.values()))._by_host
    entry = host.entry
    others = [h.entry for h in cluster.priority_set.hosts() if h is not host]
    cluster.update_hosts([type(entry)(entry.address, entry.port, health_flags=1), *others])
    client.sendto(b"two", address)
    assert world.receive(upstreams[others[0].port])[0] == b"two"
    assert world.stat("udp.p.downstream_sess_total") == 2
    assert world.stat("udp.p.downstream_sess_active") == 1


def test_icmp_errors_are_counted(world: World) -> None:
    closed = world.udp()
    port = port_of(closed)
    closed.close()
    world.cluster("up", port)
    address = world.listen(udp_proxy())
    client = world.udp()
    client.sendto(b"x", address)
    world.wait(lambda: world.stat("cluster.up.udp.sess_rx_errors"))
    assert world.stat("udp.p.downstream_sess_active") == 1


def test_long_datagrams_of_the_upstream(world: World) -> None:
    upstream = world.udp()
    world.cluster("up", port_of(upstream))
    small = {"max_rx_datagram_size": 100, "prefer_gro": False}
    address = world.listen(udp_proxy(upstream_socket_config=small))
    client = world.udp()
    client.sendto(b"x", address)
    _, session = world.receive(upstream)
    upstream.sendto(b"y" * 101, session)
    upstream.sendto(b"y" * 100, session)
    assert world.receive(client)[0] == b"y" * 100
    assert world.stat("cluster.up.udp.sess_rx_datagrams_dropped") == 1


def test_the_upstream_bind_address(world: World) -> None:
    upstream = world.udp()
    bind = {"source_address": {"address": "127.0.0.9", "port_value": 0}}
    world.cluster("up", port_of(upstream), upstream_bind_config=bind)
    address = world.listen(udp_proxy())
    world.udp().sendto(b"x", address)
    assert world.receive(upstream)[1][0] == "127.0.0.9"


def test_the_session_socket_is_connected(world: World) -> None:
    upstream = world.udp()
    world.cluster("up", port_of(upstream))
    address = world.listen(udp_proxy())
    world.udp().sendto(b"x", address)
    world.receive(upstream)
    (session,) = next(iter(world.listener._listeners[0]._filters[0]._clusters.values()))._sessions.values()
    assert from_sockaddr(peer_sockaddr(session.fd)).port == port_of(upstream)


def test_a_host_of_another_kind_is_an_error_not_a_crash(world: World) -> None:
    endpoint = {"endpoint": {"address": {"pipe": {"path": "/nowhere/at/all"}}}}
    assignment = {"cluster_name": "up", "endpoints": [{"lb_endpoints": [endpoint]}]}
    world.cluster("up", load_assignment=assignment)
    address = world.listen(udp_proxy())
    world.udp().sendto(b"x", address)
    world.wait(lambda: world.stat("cluster.up.udp.sess_tx_errors"))


def test_stopping_ends_the_sessions(world: World) -> None:
    upstream = world.udp()
    world.cluster("up", port_of(upstream))
    address = world.listen(udp_proxy())
    world.udp().sendto(b"x", address)
    world.receive(upstream)
    world.handler.stop_listener(1)
    assert world.stat("udp.p.downstream_sess_active") == 0
    assert world.listener.statistics()["sockets"] == 0


@pytest.mark.parametrize(
    ("policy", "equal"),
    [({"source_ip": True}, False), ({"key": "some key"}, True)],
)
def test_hash_policies(world: World, policy: dict[str, Any], equal: bool) -> None:
    world.listen(udp_proxy(hash_policies=[policy]))
    config = world.config.filters[0].config
    flows = [socket.inet_aton(ip).rjust(8, b"\x02").ljust(16, b"\0") * 2 for ip in ("10.0.0.1", "10.0.0.2")]
    flows = [b"\x02\x00" + flow[2:] for flow in flows]
    keys = [config.load_balancer_context(flow).hash_key() for flow in flows]
    assert (keys[0] == keys[1]) == equal
    assert all(0 <= key < 1 << 64 for key in keys)


def test_without_hash_policy_there_is_nothing_to_hash_by(world: World) -> None:
    world.listen(udp_proxy())
    assert world.config.filters[0].config.load_balancer_context(b"") is None


def test_two_proxies_the_first_one_keeps_the_datagram(world: World) -> None:
    upstream = world.udp()
    world.cluster("up", port_of(upstream))
    address = world.listen(udp_proxy(), udp_proxy(stat_prefix="q"))
    world.udp().sendto(b"x", address)
    world.receive(upstream)
    assert world.stat("udp.p.downstream_sess_total") == 1
    assert world.stat("udp.q.downstream_sess_total") == 0


def test_main_allots_the_statistics_of_the_cluster(world: World) -> None:
    world.context.role = "main"
    world.listen(udp_proxy())
    assert world.stat("cluster.up.udp.sess_tx_errors") == 0


def test_refused_in_envoys_words(world: World) -> None:
    chain = [{"filters": []}]
    with pytest.raises(ConfigError, match=r"error adding listener '127.0.0.1:0': 1 filter chain\(s\) specified for"):
        world.listen(udp_proxy(), filter_chains=chain)


def test_no_descriptors_left(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    upstream = world.udp()
    world.cluster("up", port_of(upstream))
    address = world.listen(udp_proxy())

    def refuse(*args: object) -> int:
        raise OSError(errno.EMFILE, "socket")

    with monkeypatch.context() as patched:
        patched.setattr(session, "open_socket", refuse)
        client = world.udp()
        client.sendto(b"lost", address)
        world.wait(lambda: world.stat("cluster.up.udp.sess_tx_errors"))
        assert world.stat("udp.p.downstream_sess_active") == 0
        assert world.logger.lines[0][:2] == (b"UdpSessionEnd", "UF")
    client.sendto(b"found", address)
    assert world.receive(upstream)[0] == b"found"
    assert world.stat("udp.p.downstream_sess_active") == 1


def test_answers_that_cannot_be_sent_are_counted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    upstream = world.udp()
    world.cluster("up", port_of(upstream))
    address = world.listen(udp_proxy())
    world.udp().sendto(b"x", address)
    _, peer = world.receive(upstream)
    # More than a datagram may have on the way to the client.
    monkeypatch.setattr(type(world.listener._listeners[0]), "reply", lambda *args: errno.EMSGSIZE)
    upstream.sendto(b"y", peer)
    world.wait(lambda: world.stat("udp.p.downstream_sess_tx_errors"))
    assert world.stat("udp.p.downstream_sess_tx_datagrams") == 0
    world.handler.stop_listener(1)
    assert world.logger.lines[-1][3]["udp.proxy.session"]["errors_sent"] == 1


def test_sessions_go_without_the_collector(world: World) -> None:
    upstream = world.udp()
    world.cluster("up", port_of(upstream))
    address = world.listen(udp_proxy(idle_timeout="5s"))
    gc.disable()
    try:
        for number in range(20):
            world.udp().sendto(b"%d" % number, address)
            world.receive(upstream)
        world.advance(5001)
        assert world.stat("udp.p.downstream_sess_active") == 0
        assert not [found for found in gc.get_objects() if isinstance(found, session.Session)]
    finally:
        gc.enable()
