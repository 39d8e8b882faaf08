"""Messages in pieces are the same text as messages made whole."""

import pytest
from envoy.admin.v3 import config_dump_shared_pb2
from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from google.protobuf import struct_pb2, wrappers_pb2
from google.protobuf.any_pb2 import Any

from proxeny.admin import json_pieces
from proxeny.admin.json_pieces import any_pieces, respond_json_list
from proxeny.admin.proto_json import any_to_json
from proxeny.admin.response import json_text


def bootstrap():
    routes = route_pb2.RouteConfiguration(name="<r>")
    for number in range(3):
        host = routes.virtual_hosts.add(name=f"v{number}", domains=["*"])
        host.typed_per_filter_config["x"].Pack(wrappers_pb2.StringValue(value="y"))
        host.typed_per_filter_config["unknown"].type_url = "type.googleapis.com/no.such.Type"
        host.metadata.filter_metadata["m"].CopyFrom(struct_pb2.Struct(fields={"k": struct_pb2.Value(number_value=1.5)}))
        host.routes.add(name="é").match.prefix = "/"
    manager = hcm_pb2.HttpConnectionManager(stat_prefix="h", route_config=routes)
    listener = listener_pb2.Listener(name="l")
    listener.filter_chains.add().filters.add(name="hcm").typed_config.Pack(manager)
    listener.per_connection_buffer_limit_bytes.value = 5
    made = bootstrap_pb2.Bootstrap()
    made.static_resources.listeners.append(listener)
    made.static_resources.clusters.append(cluster_pb2.Cluster(name="c", lb_policy="MAGLEV"))
    secret = made.static_resources.secrets.add(name="s")
    secret.tls_certificate.private_key.inline_string = "key"
    secret = made.static_resources.secrets.add(name="g")
    secret.generic_secret.secrets["a"].inline_bytes = b"key"
    made.stats_flush_interval.seconds = 7
    return made


def packed(message):
    made = Any()
    made.Pack(message)
    return made


MESSAGES = {
    "bootstrap": bootstrap(),
    "empty": cluster_pb2.Cluster(),
    "wrapper": wrappers_pb2.StringValue(value="a"),
    "any": packed(bootstrap()),
    "any_in_any": packed(packed(bootstrap())),
    "malformed_any": Any(type_url="type.googleapis.com/envoy.config.cluster.v3.Cluster", value=b"\xff\xff"),
    "secret": secret_pb2.Secret(name="s", tls_certificate={"private_key": {"inline_bytes": b"key"}}),
}


@pytest.mark.parametrize("whole", [0, 40, json_pieces.WHOLE])
@pytest.mark.parametrize("name", MESSAGES)
def test_pieces_are_the_whole(name, whole, monkeypatch):
    monkeypatch.setattr(json_pieces, "WHOLE", whole)
    pieces = list(any_pieces(MESSAGES[name], 2))
    assert "".join(pieces) == json_text(any_to_json(MESSAGES[name]), 2)


def test_large_ones_come_in_small_pieces():
    routes = route_pb2.RouteConfiguration()
    host = routes.virtual_hosts.add()
    for number in range(10_000):
        host.routes.add(name=f"route {number}").match.prefix = f"/{number}"
    shown = config_dump_shared_pb2.RoutesConfigDump.StaticRouteConfig(route_config=packed(routes))
    assert max(map(len, any_pieces(shown, 2))) < 64_000


def test_a_list():
    def pieces(elements):
        return b"".join(respond_json_list("all", (iter((json_text(one, 2),)) for one in elements)).body).decode()

    for elements in [], [{}], [{"a": 1}, {"b": [2]}]:
        assert pieces(elements) == json_text({"all": elements} if elements else {}) + "\n"
