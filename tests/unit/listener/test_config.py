"""Compiled listeners: defaults, addresses, stat prefixes, and Envoy's words for what is refused."""

from typing import Any

import pytest
from tests.unit.listener.conftest import ECHO, listener_proto

from proxeny.config.errors import ConfigError
from proxeny.listener.config import ListenerConfig
from proxeny.network.address import ip_address
from proxeny.network.factory_context import FactoryContext
from proxeny.network.socket_options import SocketState
from proxeny.network.stream_info import ConnectionInfo
from proxeny.stats.store import MainStore

DIRECT_RESPONSE = {
    "name": "envoy.filters.network.direct_response",
    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.network.direct_response.v3.Config"},
}


def at(address: str, port: int = 80, **fields: Any) -> dict[str, Any]:
    return {"socket_address": {"address": address, "port_value": port, **fields}}


def compiled(context: FactoryContext, **fields: Any) -> ListenerConfig:
    return ListenerConfig.compile(listener_proto(**fields), context)


def test_defaults(context: FactoryContext) -> None:
    config = compiled(context, address=at("127.0.0.1"))
    assert config.buffer_limit == 1024 * 1024
    assert config.reuse_port
    assert config.stat_prefix == "listener.127.0.0.1_80."
    assert [address.as_string() for address in config.addresses] == ["127.0.0.1:80"]
    assert "127.0.0.1:80" in repr(config)


def test_fields(context: FactoryContext) -> None:
    config = compiled(
        context,
        per_connection_buffer_limit_bytes=10,
        tcp_backlog_size=11,
        enable_reuse_port=False,
        max_connections_to_accept_per_socket_event=12,
        stat_prefix="mine",
        socket_options=[{"level": 1, "name": 15, "int_value": 1, "state": "STATE_LISTENING"}],
    )
    assert (config.buffer_limit, config.backlog, config.reuse_port, config.most_accepts) == (10, 11, False, 12)
    assert config.stat_prefix == "listener.mine."
    assert config.listen_addresses[0].options[0].state is SocketState.LISTENING


@pytest.mark.parametrize(
    ("address", "prefix"),
    [
        (at("::1"), "listener.[__1]_80."),
        ({"pipe": {"path": "/tmp/a:b"}}, "listener./tmp/a_b."),
        (at("0.0.0.0", 8080), "listener.0.0.0.0_8080."),
    ],
)
def test_stat_prefixes(context: FactoryContext, address: dict[str, Any], prefix: str) -> None:
    assert compiled(context, address=address).stat_prefix == prefix


def test_chains(context: FactoryContext) -> None:
    config = compiled(
        context,
        filter_chains=[{"name": "first", "filter_chain_match": {"destination_port": 9}, "filters": [ECHO]}],
        default_filter_chain={"name": "rest", "filters": [DIRECT_RESPONSE]},
    )
    for port, name in ((9, "first"), (8, "rest")):
        local = ip_address("127.0.0.1", port)
        chain = config.matcher.find(ConnectionInfo(local, local, 1))
        assert chain.name == name
        assert name in repr(chain)


def test_main_allots_the_stats_of_all_workers(store: MainStore) -> None:
    context = FactoryContext("main", store, concurrency=2)
    with store.recording() as table:
        compiled(context, address=at("127.0.0.1"))
    prefixes = {prefix for _, prefix in table}
    assert {"listener.127.0.0.1_80.", "listener.127.0.0.1_80.worker_0.", "listener.127.0.0.1_80.worker_1."} <= prefixes


def test_the_admin_listener_has_names_of_its_own(store: MainStore) -> None:
    with store.recording() as table:
        compiled(FactoryContext("admin", store))
    assert {"listener.admin.", "listener.admin.main_thread."} <= {prefix for _, prefix in table}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"filter_chains": []}, "error adding listener '127.0.0.1:0': no filter chains specified"),
        ({"address": at("localhost")}, "malformed IP address: localhost"),
        (
            {"address": {"socket_address": {"address": "127.0.0.1", "named_port": "http"}}},
            "can't handle port specifier",
        ),
        ({"address": at("127.0.0.1", ipv4_compat=True)}, "can set ipv4_compat: 127.0.0.1:80"),
        ({"address": {"pipe": {"path": "/" + "x" * 200}}}, "exceeds maximum UNIX domain socket path size"),
        (
            {"filter_chains": [{"filters": [{"name": "nope"}]}]},
            "Didn't find a registered implementation for 'nope' with type URL: ''",
        ),
        (
            {"filter_chains": [{"filters": [{**ECHO, "name": "mine"}, ECHO]}]},
            "terminal filter named mine of type envoy.filters.network.echo must be the last",
        ),
        (
            {"listener_filters": [{"name": "envoy.filters.listener.nope"}]},
            "Didn't find a registered implementation for 'envoy.filters.listener.nope'",
        ),
        (
            {"filter_chains": [{"name": "a", "filters": [ECHO]}, {"name": "b", "filters": [ECHO]}]},
            "error adding listener '127.0.0.1:0': filter chain 'b' has the same matching rules defined as 'a'",
        ),
        (
            {"filter_chains": [{"filters": [ECHO], "transport_socket": {"name": "x"}}]},
            "Didn't find a registered implementation for 'x'",
        ),
    ],
)
def test_refusals(context: FactoryContext, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        compiled(context, **fields)
    assert words in str(refused.value)


@pytest.mark.parametrize("fields", [{"bind_to_port": False}, {"deprecated_v1": {"bind_to_port": False}}])
def test_not_bound(context: FactoryContext, fields: dict[str, Any]) -> None:
    assert compiled(context).bind_to_port
    assert not compiled(context, **fields).bind_to_port
