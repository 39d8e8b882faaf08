"""Which resolver a configuration names."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import extension_pb2

# The types inside an Any, for json_format.
from envoy.extensions.network.dns_resolver.apple.v3 import apple_dns_resolver_pb2 as _apple  # noqa: F401
from envoy.extensions.network.dns_resolver.cares.v3 import cares_dns_resolver_pb2 as _cares  # noqa: F401
from envoy.extensions.network.dns_resolver.getaddrinfo.v3 import getaddrinfo_dns_resolver_pb2 as _gai  # noqa: F401
from google.protobuf import json_format

from proxeny.config.errors import ConfigError, UnsupportedFieldError
from proxeny.upstream import dns_resolver_config
from proxeny.upstream.dns_resolver_config import CaresOptions, GetAddrInfoOptions

PACKAGE = "type.googleapis.com/envoy.extensions.network.dns_resolver"
SERVER = {"socket_address": {"address": "127.0.0.1", "port_value": 5353}}
SERVERS = ("127.0.0.1:5353",)


def typed(kind: str, **fields: Any) -> dict[str, Any]:
    return {"name": "r", "typed_config": {"@type": f"{PACKAGE}.{kind}", **fields}}


def from_typed(kind: str, **fields: Any) -> Any:
    message = json_format.ParseDict(typed(kind, **fields), extension_pb2.TypedExtensionConfig())
    return dns_resolver_config.from_typed(message)


def cluster(**fields: Any) -> Any:
    return json_format.ParseDict({"name": "c", **fields}, cluster_pb2.Cluster())


CARES = "cares.v3.CaresDnsResolverConfig"
GETADDRINFO = "getaddrinfo.v3.GetAddrInfoDnsResolverConfig"


def test_every_field_of_cares() -> None:
    assert from_typed(CARES) == CaresOptions(timeout_ms=5000, tries=4)
    assert from_typed(
        CARES,
        resolvers=[
            SERVER,
            {"socket_address": {"address": "::1", "port_value": 53}},
            {"socket_address": {"address": "127.0.0.9", "port_value": 0}},
        ],
        use_resolvers_as_fallback=True,
        filter_unroutable_families=True,
        dns_resolver_options={"use_tcp_for_dns_lookups": True, "no_default_search_domain": True},
        udp_max_queries=3,
        query_timeout_seconds=2,
        query_tries=5,
        rotate_nameservers=True,
        edns0_max_payload_size=4096,
        max_udp_channel_duration="1.5s",
        reinit_channel_on_timeout=True,
    ) == CaresOptions(
        servers=("127.0.0.1:5353", "[::1]:53", "127.0.0.9:53"),
        use_tcp=True,
        no_search=True,
        servers_as_fallback=True,
        filter_unroutable=True,
        udp_max_queries=3,
        timeout_ms=2000,
        tries=5,
        rotate=True,
        edns_payload=4096,
        channel_ms=1500,
        reinit_on_timeout=True,
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"query_tries": 0},
        {"query_timeout_seconds": 0},
        {"edns0_max_payload_size": 5000},
        {"max_udp_channel_duration": "-1s"},
    ],
)
def test_the_constraints_of_the_api_hold(fields: dict[str, Any]) -> None:
    """Envoy does not ask for them here; what it then does with such values is the library's affair."""
    with pytest.raises(ConfigError):
        from_typed(CARES, **fields)


def test_getaddrinfo() -> None:
    assert from_typed(GETADDRINFO) == GetAddrInfoOptions(None, 1)
    assert from_typed(GETADDRINFO, num_retries=0, num_resolver_threads=0) == GetAddrInfoOptions(0, 1)
    assert from_typed(GETADDRINFO, num_retries=2, num_resolver_threads=4) == GetAddrInfoOptions(2, 4)


def test_other_resolvers_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"Didn't find a registered implementation for 'r' with type URL: '.*Apple"):
        from_typed("apple.v3.AppleDnsResolverConfig")
    hickory = extension_pb2.TypedExtensionConfig(name="h")
    hickory.typed_config.type_url = f"{PACKAGE}.hickory.v3.HickoryDnsResolverConfig"
    with pytest.raises(UnsupportedFieldError, match=r"DNS resolver 'h' .*Hickory"):
        dns_resolver_config.from_typed(hickory)


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ({"pipe": {"path": "/tmp/x"}}, "DNS resolver '/tmp/x' is not an IP address"),
        ({"socket_address": {"address": "a.test", "port_value": 53}}, "malformed IP address: a.test"),
    ],
)
def test_name_servers_have_ip_addresses(address: dict[str, Any], error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        from_typed(CARES, resolvers=[address])


def test_which_field_counts() -> None:
    resolution = {"resolvers": [SERVER], "dns_resolver_options": {"no_default_search_domain": True}}
    legacy = {"dns_resolvers": [SERVER], "use_tcp_for_dns_lookups": True}
    of = dns_resolver_config.of_cluster
    assert of(cluster(**legacy)) == CaresOptions(SERVERS, use_tcp=True)
    assert of(cluster(**legacy, dns_resolution_config=resolution)) == CaresOptions(SERVERS, no_search=True)
    assert of(cluster(**legacy, typed_dns_resolver_config=typed(CARES))) == CaresOptions()
    # Options alone name no resolver: the server's is used, as it is.
    assert of(cluster(use_tcp_for_dns_lookups=True)) is None
    assert of(cluster()) is None


def test_the_servers_own() -> None:
    def default(**fields: Any) -> Any:
        return dns_resolver_config.default(json_format.ParseDict(fields, bootstrap_pb2.Bootstrap()))

    assert dns_resolver_config.default(None) == default() == CaresOptions()
    assert default(use_tcp_for_dns_lookups=True) == CaresOptions(use_tcp=True)
    assert default(dns_resolution_config={"resolvers": [SERVER]}) == CaresOptions(SERVERS)
    assert default(typed_dns_resolver_config=typed(GETADDRINFO)) == GetAddrInfoOptions()
