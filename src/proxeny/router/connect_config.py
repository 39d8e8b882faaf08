"""A route that ends CONNECT here: its bytes go to the upstream as they are (``UpgradeConfig.ConnectConfig``)."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError
from proxeny.registry import REGISTRY

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.address import Address
    from proxeny.network.stream_info import ConnectionInfo
    from proxeny.router.filter import RouterFilter

GENERIC_POOL: Final = "envoy.filters.connection_pools.http.generic"
V2_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_PROXY: Final = 0x21
_TCP_OVER_V4: Final = 0x11
_TCP_OVER_V6: Final = 0x21


class ConnectConfig:
    """How a route tunnels."""

    __slots__ = ("allow_post", "pool", "proxy_protocol")

    def __init__(self, config: Any) -> None:
        self.allow_post: bool = config.allow_post
        self.proxy_protocol: int | None = None
        """The version (1 or 2) of the PROXY header that goes first, None = no header."""
        if config.HasField("proxy_protocol_config"):
            self.proxy_protocol = config.proxy_protocol_config.version + 1
        self.pool: Any = REGISTRY.factory("upstream_pool", GENERIC_POOL)
        """Who makes the pool where the cluster names nobody (``Cluster.upstream_config``)."""

    def tunnels(self, headers: HeaderMap) -> bool:
        """Whether this request's bytes go to the upstream without HTTP around them."""
        method = headers.get(b":method")
        return method == b"CONNECT" or (self.allow_post and method == b"POST")


def special_pool(cluster: Any, host: Any, factory: Any, connect: ConnectConfig | None, router: RouterFilter) -> Any:
    """The pool of a request whose route tunnels, or whose cluster names a pool ``factory`` of its own."""
    tunnel = connect is not None and connect.tunnels(router.request_headers)
    if factory is None:
        assert connect is not None
        factory = connect.pool
    return factory.pool(cluster, host, tunnel, router)


def compile_connect_config(upgrade: Any, name: bytes) -> ConnectConfig | None:
    """The ``connect_config`` of a route's ``UpgradeConfig``, if it has one."""
    if not upgrade.HasField("connect_config"):
        return None
    if name != b"connect":
        raise ConfigError(f"Non-CONNECT upgrade type {upgrade.upgrade_type} has ConnectConfig")
    return ConnectConfig(upgrade.connect_config)


def proxy_header(version: int, info: ConnectionInfo) -> bytes:
    """The PROXY header for a client's connection; b"" where its addresses are no IP addresses."""
    source, destination = info.remote_address, info.local_address
    if not (source.ip and destination.ip):
        return b""
    return _header_v1(source, destination) if version == 1 else _header_v2(source, destination)


def _header_v1(source: Address, destination: Address) -> bytes:
    family = "TCP6" if ":" in source.ip else "TCP4"
    return f"PROXY {family} {source.ip} {destination.ip} {source.port} {destination.port}\r\n".encode()


def _header_v2(source: Address, destination: Address) -> bytes:
    ends = [ipaddress.ip_address(end.ip.partition("%")[0]) for end in (source, destination)]
    family = _TCP_OVER_V4 if ends[0].version == 4 else _TCP_OVER_V6
    body = b"".join(end.packed for end in ends)
    body += source.port.to_bytes(2, "big") + destination.port.to_bytes(2, "big")
    return V2_SIGNATURE + bytes((_V2_PROXY, family)) + len(body).to_bytes(2, "big") + body
