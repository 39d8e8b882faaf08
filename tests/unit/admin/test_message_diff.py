"""What differs between two messages."""

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import base_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2
from google.protobuf.json_format import ParseDict

from proxeny.admin.message_diff import LONGEST_VALUE, differences


def diff(message_class, before, after):
    return list(differences(ParseDict(before, message_class()), ParseDict(after, message_class())))


def routes(*names, **more):
    return {"virtual_hosts": [{"name": name, "domains": [name], **more.get(name, {})} for name in names]}


CASES = [
    ("nothing", cluster_pb2.Cluster, {"name": "a"}, {"name": "a"}, []),
    ("scalar", cluster_pb2.Cluster, {"name": "a"}, {"name": "b"}, ['~ name: "a" -> "b"']),
    ("added", cluster_pb2.Cluster, {}, {"name": "b"}, ['+ name: "b"']),
    ("enum", cluster_pb2.Cluster, {"lb_policy": 1}, {"lb_policy": 2}, ['~ lb_policy: "LEAST_REQUEST" -> "RING_HASH"']),
    (
        "duration",
        cluster_pb2.Cluster,
        {"connect_timeout": "1s"},
        {"connect_timeout": "2.5s"},
        ['~ connect_timeout: "1s" -> "2.500s"'],
    ),
    (
        "removed message",
        cluster_pb2.Cluster,
        {"connect_timeout": "1s", "metadata": {"filter_metadata": {"a": {"b": 1}}}},
        {"connect_timeout": "1s"},
        ['- metadata: {"filter_metadata": {"a": {"b": 1}}}'],
    ),
    (
        "map",
        base_pb2.Metadata,
        {"filter_metadata": {"a": {"b": 1}, "c": {}}},
        {"filter_metadata": {"a": {"b": 2}, "d": {"e": "f"}}},
        [
            '~ filter_metadata[a]: {"b": 1} -> {"b": 2}',
            "- filter_metadata[c]: {}",
            '+ filter_metadata[d]: {"e": "f"}',
        ],
    ),
    (
        "by name",
        route_pb2.RouteConfiguration,
        routes("a", "b", "c"),
        routes("c", "a", "d", a={"include_request_attempt_count": True}),
        [
            '- virtual_hosts[b]: {"name": "b", "domains": ["b"]}',
            "+ virtual_hosts[a].include_request_attempt_count: true",
            '+ virtual_hosts[d]: {"name": "d", "domains": ["d"]}',
            "~ virtual_hosts: in another order",
        ],
    ),
    (
        "insertion",
        route_pb2.RouteConfiguration,
        {"request_headers_to_remove": ["a", "b", "c"]},
        {"request_headers_to_remove": ["a", "x", "b", "c"]},
        ['+ request_headers_to_remove[1]: "x"'],
    ),
    (
        "position",
        route_pb2.RouteConfiguration,
        {"request_headers_to_remove": ["a", "b", "c"]},
        {"request_headers_to_remove": ["a", "x", "c"]},
        ['~ request_headers_to_remove[1]: "b" -> "x"'],
    ),
    (
        "new list",
        route_pb2.RouteConfiguration,
        {},
        routes("a"),
        ['+ virtual_hosts[a]: {"name": "a", "domains": ["a"]}'],
    ),
    (
        "secret",
        common_pb2.TlsCertificate,
        {"private_key": {"inline_string": "a"}, "password": {"inline_string": "p"}},
        {"private_key": {"inline_string": "b"}},
        ["~ private_key: [redacted]", "- password: [redacted]"],
    ),
]


@pytest.mark.parametrize(
    ("message_class", "before", "after", "lines"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_differences(message_class, before, after, lines):
    assert diff(message_class, before, after) == lines


def test_anys_are_looked_into():
    def listener(prefix):
        made = listener_pb2.Listener(name="l")
        filters = made.filter_chains.add().filters
        filters.add(name="tcp").typed_config.Pack(tcp_proxy_pb2.TcpProxy(stat_prefix=prefix))
        return made

    lines = list(differences(listener("a"), listener("b")))
    assert lines == ['~ filter_chains[0].filters[tcp].typed_config.stat_prefix: "a" -> "b"']
    other = listener("a")
    other.filter_chains[0].filters[0].typed_config.type_url = "type.googleapis.com/no.such.Type"
    (line,) = differences(listener("a"), other)
    assert line.startswith("~ filter_chains[0].filters[tcp].typed_config: ")


def test_long_values_are_cut():
    (line,) = diff(cluster_pb2.Cluster, {}, {"name": "x" * 1000})
    assert line == f'+ name: "{"x" * (LONGEST_VALUE - 1)}... (1002 characters)'


def test_one_change_among_many():
    def table(changed):
        made = route_pb2.RouteConfiguration()
        host = made.virtual_hosts.add(name="v")
        for number in range(10_000):
            host.routes.add().match.prefix = "changed" if number == changed else f"/{number}"
        return made

    before, after = table(-1), table(5000)
    assert list(differences(before, after)) == ['~ virtual_hosts[v].routes[5000].match.prefix: "/5000" -> "changed"']
