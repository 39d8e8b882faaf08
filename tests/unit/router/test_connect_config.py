"""CONNECT that ends here: which requests tunnel, and the PROXY header that goes first."""

import pytest
from envoy.config.route.v3 import route_components_pb2 as route_pb2

from proxeny import extensions
from proxeny.config.errors import ConfigError
from proxeny.kernel.headers import HeaderMap
from proxeny.network.address import Address, ip_address
from proxeny.network.stream_info import ConnectionInfo
from proxeny.router.connect_config import ConnectConfig, compile_connect_config, proxy_header

Upgrade = route_pb2.RouteAction.UpgradeConfig


@pytest.fixture(autouse=True)
def installed() -> None:
    extensions.install()


def info(source: Address, destination: Address) -> ConnectionInfo:
    return ConnectionInfo(destination, source, 1)


def test_which_requests_tunnel() -> None:
    plain, posting = ConnectConfig(Upgrade.ConnectConfig()), ConnectConfig(Upgrade.ConnectConfig(allow_post=True))
    verdicts = [
        [config.tunnels(HeaderMap([(b":method", method)])) for method in (b"CONNECT", b"POST", b"GET")]
        for config in (plain, posting)
    ]
    assert verdicts == [[True, False, False], [True, True, False]]


def test_only_connect_has_such_a_config() -> None:
    upgrade = Upgrade(upgrade_type="websocket")
    assert compile_connect_config(upgrade, b"websocket") is None
    upgrade.connect_config.SetInParent()
    with pytest.raises(ConfigError, match="Non-CONNECT upgrade type websocket has ConnectConfig"):
        compile_connect_config(upgrade, b"websocket")


@pytest.mark.parametrize(("version", "expected"), [(None, None), (0, 1), (1, 2)])
def test_the_version_of_the_proxy_header(version: int | None, expected: int | None) -> None:
    message = Upgrade.ConnectConfig()
    if version is not None:
        message.proxy_protocol_config.version = version  # type: ignore[assignment]
    assert ConnectConfig(message).proxy_protocol == expected


def test_proxy_headers() -> None:
    v4 = info(ip_address("10.0.0.1", 1000), ip_address("10.0.0.2", 80))
    assert proxy_header(1, v4) == b"PROXY TCP4 10.0.0.1 10.0.0.2 1000 80\r\n"
    assert proxy_header(2, v4) == (
        b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x0a\x00\x00\x01\x0a\x00\x00\x02\x03\xe8\x00\x50"
    )
    v6 = info(ip_address("2001:db8::1", 1000), ip_address("2001:db8::2", 80))
    assert proxy_header(1, v6) == b"PROXY TCP6 2001:db8::1 2001:db8::2 1000 80\r\n"
    assert proxy_header(2, v6)[12:16] == b"\x21\x21\x00\x24"
    assert len(proxy_header(2, v6)) == 16 + 36


def test_no_proxy_header_for_other_addresses() -> None:
    unnamed = Address(1, b"\x01\x00")
    assert proxy_header(1, info(unnamed, unnamed)) == b""
