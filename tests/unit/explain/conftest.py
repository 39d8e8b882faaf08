"""Listeners of a sidecar, compiled as main compiles them."""

from collections.abc import Callable
from typing import Any

import pytest
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.filters.listener.http_inspector.v3 import http_inspector_pb2 as _http  # noqa: F401
from envoy.extensions.filters.listener.original_dst.v3 import original_dst_pb2 as _original_dst  # noqa: F401
from envoy.extensions.filters.listener.proxy_protocol.v3 import proxy_protocol_pb2 as _proxy  # noqa: F401
from envoy.extensions.filters.listener.tls_inspector.v3 import tls_inspector_pb2 as _tls  # noqa: F401
from envoy.extensions.filters.network.echo.v3 import echo_pb2 as _echo  # noqa: F401
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2 as _tcp  # noqa: F401
from google.protobuf import wrappers_pb2 as _wrappers  # noqa: F401
from google.protobuf.json_format import ParseDict

from proxeny import extensions
from proxeny.explain.connection import ListenerView
from proxeny.listener.config import ListenerConfig
from proxeny.network.factory_context import FactoryContext
from proxeny.stats.store import MainStore

TYPE = "type.googleapis.com/envoy.extensions.filters"
Make = Callable[..., ListenerView]


def tcp(cluster: str) -> dict[str, Any]:
    config = {"@type": f"{TYPE}.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "s", "cluster": cluster}
    return {"name": "tcp", "typed_config": config}


def chain(name: str, **match: Any) -> dict[str, Any]:
    return {"name": name, "filters": [tcp(f"to-{name}")], **({"filter_chain_match": match} if match else {})}


def listener_filter(kind: str, message: str, **fields: Any) -> dict[str, Any]:
    config = {"@type": f"{TYPE}.listener.{kind}.v3.{message}"}
    return {"name": f"envoy.filters.listener.{kind}", "typed_config": config, **fields}


TLS_INSPECTOR = listener_filter("tls_inspector", "TlsInspector")
ORIGINAL_DST = listener_filter("original_dst", "OriginalDst")


@pytest.fixture(scope="session", autouse=True)
def installed() -> None:
    extensions.install()


@pytest.fixture
def make() -> Make:
    context = FactoryContext("main", MainStore(), concurrency=1)

    def made(name: str, address: str, **fields: Any) -> ListenerView:
        ip, _, port = address.rpartition(":")
        at = {"pipe": {"path": address}} if "/" in address else None
        where = at or {"socket_address": {"address": ip.strip("[]"), "port_value": int(port)}}
        base = {"name": name, "address": where, "filter_chains": [chain("only")]}
        message = ParseDict(base | fields, Listener())
        config = ListenerConfig.compile(message, context)
        return ListenerView(config, message.traffic_direction, config.addresses, message)

    return made


@pytest.fixture
def sidecar(make: Make) -> list[ListenerView]:
    return [
        make("inbound", "0.0.0.0:15006", traffic_direction="INBOUND", listener_filters=[ORIGINAL_DST]),
        make("outbound", "0.0.0.0:15001", traffic_direction="OUTBOUND", use_original_dst=True),
        make("own", "127.0.0.1:9000"),
        make(
            "443",
            "0.0.0.0:443",
            bind_to_port=False,
            listener_filters=[TLS_INSPECTOR],
            filter_chains=[
                chain("a", server_names=["a.test"]),
                chain("wild", server_names=["*.test"], application_protocols=["h2"]),
                chain("ten", prefix_ranges=[{"address_prefix": "10.1.0.0", "prefix_len": 16}]),
            ],
        ),
        make("exact", "10.0.0.1:443", bind_to_port=False, filter_chains=[chain("one", destination_port=444)]),
    ]
