"""Filters that leave filter state with connections and requests."""

from types import SimpleNamespace

import pytest
from envoy.extensions.filters.http.set_filter_state.v3 import set_filter_state_pb2 as http_pb2
from envoy.extensions.filters.network.set_filter_state.v3 import set_filter_state_pb2
from google.protobuf import json_format

from proxeny.config.errors import ConfigError, UnsupportedFieldError
from proxeny.extensions.http_filters import set_filter_state as http_filter
from proxeny.extensions.network_filters import set_filter_state as network_filter
from proxeny.http.filter import FilterHeadersStatus
from proxeny.kernel.headers import HeaderMap
from proxeny.network.address import Address, ip_address
from proxeny.network.factory_context import FactoryContext
from proxeny.network.filter import FilterStatus
from proxeny.network.filter_state import FilterState, HashableString, Sharing
from proxeny.network.stream_info import ConnectionInfo, StreamInfo
from proxeny.stats.store import MainStore

CONTEXT = FactoryContext("worker", MainStore())


def value(key, text, **fields):
    return {"objectKey": key, "formatString": {"textFormatSource": {"inlineString": text}}, **fields}


def fresh_info():
    return StreamInfo(ConnectionInfo(ip_address("10.0.0.1", 80), ip_address("10.0.0.9", 99), 1), 0.0, 0)


def set_on_connection(*values, info=None):
    message = json_format.ParseDict({"onNewConnection": list(values)}, set_filter_state_pb2.Config())
    factory = network_filter.FACTORY.create_filter_factory(message, CONTEXT)
    made = factory.create()
    made.connection = SimpleNamespace(stream_info=info or fresh_info())
    assert made.on_new_connection() is FilterStatus.CONTINUE
    assert made.on_data(None, False) is FilterStatus.CONTINUE and not factory.is_terminal
    return made.connection.stream_info.filter_state


def test_objects_of_all_kinds():
    state = set_on_connection(
        value("mine", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", factoryKey="envoy.string"),
        value("hashed", "a", factoryKey="envoy.hashable_string"),
        value("envoy.tcp_proxy.cluster", "c"),
        value("envoy.network.transport_socket.original_dst_address", "[::1]:5"),
    )
    assert state["mine"] == "10.0.0.9" and not isinstance(state["mine"], HashableString)
    assert isinstance(state["hashed"], HashableString)
    assert state["envoy.tcp_proxy.cluster"] == "c"
    address = state["envoy.network.transport_socket.original_dst_address"]
    assert isinstance(address, Address) and address.serialize_as_string() == "[::1]:5"


def test_sharing():
    state = set_on_connection(
        value("once", "a", factoryKey="envoy.string", sharedWithUpstream="ONCE"),
        value("on", "b", factoryKey="envoy.string", sharedWithUpstream="TRANSITIVE"),
        value("here", "c", factoryKey="envoy.string"),
    )
    assert state.travelling() == {"once": ("a", Sharing.NONE), "on": ("b", Sharing.TRANSITIVE)}
    assert state.copy().travelling() == state.travelling()


def test_what_makes_no_object_is_left_out():
    state = set_on_connection(
        value("envoy.network.transport_socket.original_dst_address", "nonsense"),
        value("empty", "", factoryKey="envoy.string", skipIfEmpty=True),
        value("also", "", factoryKey="envoy.string"),
    )
    assert state == {"also": ""}


def test_read_only():
    info = fresh_info()
    set_on_connection(value("a", "1", factoryKey="envoy.string", readOnly=True), info=info)
    assert set_on_connection(value("a", "2", factoryKey="envoy.string"), info=info) == {"a": "1"}
    assert info.filter_state.copy().read_only == {"a"}


def test_sharing_can_be_taken_back():
    state = FilterState()
    state.share("a", 1, Sharing.ONCE)
    state.share("a", 2, Sharing.NONE)
    assert state.travelling() == {} and state["a"] == 2


def test_requests():
    message = json_format.ParseDict(
        {"onRequestHeaders": [value("host", "%REQ(:AUTHORITY)%", factoryKey="envoy.string")]}, http_pb2.Config()
    )
    made = http_filter.FACTORY.create_filter_factory(message, "", CONTEXT).create()
    made.decoder_callbacks = SimpleNamespace(stream_info=fresh_info())
    assert made.decode_headers(HeaderMap([(b":authority", b"a.test")]), True) is FilterHeadersStatus.CONTINUE
    assert made.decoder_callbacks.stream_info.filter_state == {"host": "a.test"}
    with pytest.raises(UnsupportedFieldError):
        http_filter.FACTORY.create_route_config(message, CONTEXT)


@pytest.mark.parametrize("fields", [{}, {"factoryKey": "bar"}])
def test_unknown_factories(fields):
    with pytest.raises(ConfigError, match="'foo' does not have an object factory"):
        set_on_connection(value("foo", "a", **fields))


def test_objects_that_nothing_looks_at():
    with pytest.raises(UnsupportedFieldError, match="network_namespace"):
        set_on_connection(value("envoy.network.network_namespace", "a"))
