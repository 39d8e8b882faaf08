"""UDP listeners, compiled: Envoy's verdicts and defaults."""

import socket
from typing import Any

import pytest
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.udp.udp_proxy.v3 import udp_proxy_pb2 as _udp_proxy  # noqa: F401
from envoy.extensions.udp_packet_writer.v3 import udp_default_writer_factory_pb2 as _default  # noqa: F401
from envoy.extensions.udp_packet_writer.v3 import udp_gso_batch_writer_factory_pb2 as _gso  # noqa: F401
from google.protobuf.json_format import ParseDict
from tests.unit.listener.conftest import ECHO

from proxeny.config.errors import ConfigError
from proxeny.listener.config import ListenerConfig
from proxeny.listener.kinds import compile_listener
from proxeny.listener.socket_factory import ListenSocketFactory
from proxeny.listener.udp_config import UdpListenerConfig
from proxeny.network.factory_context import FactoryContext
from proxeny.server.listener_generation import socket_facts

PROXY = {
    "name": "envoy.filters.udp_listener.udp_proxy",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig",
        "stat_prefix": "p",
        "cluster": "up",
    },
}
SO_REUSEADDR = socket.SO_REUSEADDR
WRITER = "type.googleapis.com/envoy.extensions.udp_packet_writer.v3"


def compiled(context: FactoryContext, **fields: Any) -> Any:
    base: dict[str, Any] = {
        "name": "l",
        "address": {"socket_address": {"protocol": "UDP", "address": "127.0.0.1", "port_value": 0}},
        "listener_filters": [PROXY],
    }
    return compile_listener(ParseDict(base | fields, listener_pb2.Listener()), context)


def test_defaults(context: FactoryContext) -> None:
    config = compiled(context)
    assert isinstance(config, UdpListenerConfig)
    assert config.socket_config.max_datagram_size == config.socket_config.room == 1500
    assert not config.socket_config.prefer_gro
    assert config.reuse_port
    assert [made.name for made in config.filters] == ["envoy.filters.udp_listener.udp_proxy"]


def test_a_tcp_address_is_another_kind(context: FactoryContext) -> None:
    listener = {
        "name": "l",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [ECHO]}],
        "udp_listener_config": {},
    }
    config = compile_listener(ParseDict(listener, listener_pb2.Listener()), context)
    assert type(config) is ListenerConfig


def test_socket_settings(context: FactoryContext) -> None:
    fields = {"downstream_socket_config": {"max_rx_datagram_size": 9000, "prefer_gro": True}}
    config = compiled(context, udp_listener_config=fields)
    assert config.socket_config.max_datagram_size == 9000
    assert config.socket_config.room == 65535
    assert socket_facts(config) != socket_facts(compiled(context))
    assert socket_facts(config) == socket_facts(compiled(context, udp_listener_config=fields))


UDP_OTHER = {"address": {"socket_address": {"protocol": "UDP", "address": "127.0.0.1", "port_value": 3}}}
TCP_OTHER = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 3}}}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"filter_chains": [{"filters": [ECHO]}]},
            "error adding listener '127.0.0.1:0': 1 filter chain(s) specified for connection-less UDP listener.",
        ),
        (
            {"default_filter_chain": {"filters": [ECHO]}},
            "error adding listener '127.0.0.1:0': 0 filter chain(s) specified for connection-less UDP listener.",
        ),
        ({"bind_to_port": False}, "listener l: bind_to_port: false is not supported for UDP listeners"),
        ({"enable_mptcp": True}, "listener l: enable_mptcp can only be used with TCP listeners"),
        (
            {"additional_addresses": [UDP_OTHER, TCP_OTHER]},
            "listener l: has different socket type. The listener only support same socket type for all the addresses.",
        ),
        (
            {"listener_filters": [{"name": "x", "config_discovery": {"type_urls": ["y"]}}]},
            "UDP listener filter: x is configured with unsupported dynamic configuration",
        ),
        (
            {"listener_filters": [ECHO]},
            "Didn't find a registered implementation for 'envoy.filters.network.echo' with type URL: "
            "'envoy.extensions.filters.network.echo.v3.Echo'",
        ),
        ({"listener_filters": [{"name": "x"}]}, "Didn't find a registered implementation for 'x' with type URL: ''"),
        (
            {
                "udp_listener_config": {
                    "udp_packet_packet_writer_config": {
                        "name": "gso",
                        "typed_config": {"@type": f"{WRITER}.UdpGsoBatchWriterFactory"},
                    }
                }
            },
            "Didn't find a registered implementation for 'gso' with type URL: "
            "'envoy.extensions.udp_packet_writer.v3.UdpGsoBatchWriterFactory'",
        ),
    ],
)
def test_refused(context: FactoryContext, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        compiled(context, **fields)
    assert refused.value.message == words


@pytest.mark.parametrize(
    "fields",
    [
        {"listener_filters": []},
        {"listener_filters": [PROXY, PROXY]},
        {"additional_addresses": [UDP_OTHER]},
        {"tcp_backlog_size": 3, "per_connection_buffer_limit_bytes": 3},
        {
            "udp_listener_config": {
                "udp_packet_packet_writer_config": {
                    "name": "x",
                    "typed_config": {"@type": f"{WRITER}.UdpDefaultWriterFactory"},
                }
            }
        },
    ],
)
def test_accepted(context: FactoryContext, fields: dict[str, Any]) -> None:
    compiled(context, **fields)


def test_several_workers_need_sockets_of_their_own(context: FactoryContext) -> None:
    assert not compiled(context, enable_reuse_port=False).reuse_port
    context.concurrency = 2
    with pytest.raises(ConfigError, match="Listening on UDP when concurrency is > 1 without the SO_REUSEPORT"):
        compiled(context, enable_reuse_port=False)


def test_sockets(context: FactoryContext) -> None:
    factory = ListenSocketFactory(compiled(context), 2)
    fds = factory.fds(0) + factory.fds(1)
    assert len(set(fds)) == 2
    for fd in fds:
        with socket.socket(fileno=socket.dup(fd)) as made:
            assert made.type == socket.SOCK_DGRAM
            assert made.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 1
            # With it another process could bind the port too, and get the datagrams.
            assert made.getsockopt(socket.SOL_SOCKET, SO_REUSEADDR) == 0
            assert made.getsockopt(socket.IPPROTO_IP, 8) == 1  # IP_PKTINFO
    factory.close()
