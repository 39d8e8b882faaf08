"""Local addresses of upstream connections: cluster and bootstrap, selectors."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.upstream.local_address_selector.v3 import default_local_address_selector_pb2
from google.protobuf.json_format import ParseDict

from proxeny.config.errors import ConfigError
from proxeny.extensions import install
from proxeny.network.address import ip_address
from proxeny.network.socket_options import SocketOption
from proxeny.upstream import bind_config
from proxeny.upstream.bind_config import NOTHING, LocalAddress

assert default_local_address_selector_pb2.DESCRIPTOR, "its type is to be known by name"
V4, V6 = ({"address": address, "port_value": 0} for address in ("127.0.0.3", "::1"))
MARK = {"level": 1, "name": 36, "int_value": 7, "state": "STATE_PREBIND"}
OTHER = {"level": 1, "name": 36, "int_value": 9, "state": "STATE_PREBIND"}
DEFAULT = {
    "name": "any",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.config.upstream.local_address_selector.v3.DefaultLocalAddressSelector"
    },
}


@pytest.fixture(autouse=True)
def extensions() -> None:
    install()


def compiled(own: dict[str, Any] | None, shared: dict[str, Any] | None = None, **fields: Any) -> Any:
    proto = ParseDict({"name": "c", **fields}, cluster_pb2.Cluster())
    if own is not None:
        ParseDict(own, proto.upstream_bind_config)
        proto.upstream_bind_config.SetInParent()
    bootstrap = bootstrap_pb2.Bootstrap()
    if shared is not None:
        ParseDict(shared, bootstrap.cluster_manager.upstream_bind_config)
    return bind_config.compile("c", {field.name: value for field, value in proto.ListFields()}, bootstrap)


def marks(local: LocalAddress) -> list[int | bytes]:
    return [option.value for option in local.options if option.name == 36]


def number_of(local: LocalAddress, level: int, number: int) -> list[SocketOption]:
    return [option for option in local.options if (option.level, option.name) == (level, number)]


def test_nothing_said() -> None:
    assert compiled(None) is NOTHING
    assert compiled({}).address is None


def test_an_address() -> None:
    local = compiled({"source_address": V4, "socket_options": [MARK]})
    assert (local.address.as_string(), marks(local)) == ("127.0.0.3:0", [7])


def test_what_the_bootstrap_says_and_a_cluster_overrides() -> None:
    shared = {"source_address": V4, "socket_options": [MARK], "freebind": True}
    assert compiled(None, shared).address.as_string() == "127.0.0.3:0"
    own = compiled({"source_address": V6}, shared)
    assert (own.address.as_string(), marks(own)) == ("[::1]:0", [7])
    assert len(own.options) > 1, "freebind too"
    own = compiled({"source_address": V6, "socket_options": [OTHER], "freebind": False}, shared)
    assert (marks(own), len(own.options)) == ([9], 1)


def test_keepalive_comes_along() -> None:
    local = compiled(None, upstream_connection_options={"tcp_keepalive": {"keepalive_time": 5}})
    assert local.address is None
    assert number_of(local, socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    both = compiled({"source_address": V4}, upstream_connection_options={"tcp_keepalive": {}})
    assert number_of(both, socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_one_address_per_version() -> None:
    selector = compiled(
        {
            "source_address": V4,
            "socket_options": [MARK],
            "extra_source_addresses": [{"address": V6, "socket_options": {"socket_options": [OTHER]}}],
        }
    )
    four, six = (selector.select(ip_address(address, 80)) for address in ("10.0.0.1", "2001:db8::1"))
    assert (four.address.as_string(), marks(four)) == ("127.0.0.3:0", [7])
    assert (six.address.as_string(), marks(six)) == ("[::1]:0", [9])


def test_additional_addresses_share_the_options() -> None:
    selector = compiled({"source_address": V6, "socket_options": [MARK], "additional_source_addresses": [V4]})
    assert marks(selector.select(ip_address("10.0.0.1", 80))) == [7]


def test_the_selector_by_name() -> None:
    selector = compiled({"source_address": V4, "local_address_selector": DEFAULT})
    assert selector.select(ip_address("2001:db8::1", 80)).address.as_string() == "127.0.0.3:0"


@pytest.mark.parametrize(
    ("own", "error"),
    [
        (
            {"extra_source_addresses": [{"address": V6}]},
            "Cluster c's upstream binding config has extra/additional source addresses but no source_address.",
        ),
        (
            {
                "source_address": V4,
                "extra_source_addresses": [{"address": V6}],
                "additional_source_addresses": [V6],
            },
            "Can't specify both `extra_source_addresses` and `additional_source_addresses` in the Cluster c's",
        ),
        (
            {"source_address": V4, "additional_source_addresses": [V6, V6]},
            "Cluster c's upstream binding config has more than one extra/additional source addresses.",
        ),
        (
            {"source_address": V4, "extra_source_addresses": [{"address": V4}]},
            "Cluster c's upstream binding config has two same IP version source addresses.",
        ),
    ],
)
def test_refused(own: dict[str, Any], error: str) -> None:
    with pytest.raises(ConfigError) as found:
        compiled(own)
    assert error in str(found.value)
    with pytest.raises(ConfigError) as found:
        compiled(None, own)
    assert error.replace("Cluster c's", "Bootstrap's") in str(found.value)
