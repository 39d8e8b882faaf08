"""Which upgrades go on, with which filters: the connection manager's list under the route's."""

from types import SimpleNamespace
from typing import Any

import pytest
from envoy.config.route.v3 import route_components_pb2 as route_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2

from proxeny.config.errors import ConfigError, UnsupportedFieldError
from proxeny.http.connection_manager_config import UpgradeConfig
from proxeny.http.upgrades import accepted_chain, compile_upgrades, upgrade_type
from proxeny.kernel.headers import HeaderMap


class Chain:
    """Stands for a filter chain."""

    def for_route(self, route: Any) -> "Chain":
        return self


USUAL, OWN = Chain(), Chain()
MANAGER: Any = SimpleNamespace(
    chain=USUAL,
    upgrades={
        b"websocket": UpgradeConfig(True, None),
        b"off": UpgradeConfig(False, None),
        b"own": UpgradeConfig(True, None),
        b"": UpgradeConfig(True, None),
        b"connect": UpgradeConfig(True, None),
    },
)


def chain_of(kind: str | None, own: dict[bytes, bool] | None = None, is_direct: bool = False) -> Any:
    headers = HeaderMap([(b":method", b"CONNECT" if kind is None else b"GET")])
    if kind is not None:
        headers.add(b"upgrade", kind.encode())
    route = None
    if own is not None:
        route = SimpleNamespace(entry=SimpleNamespace(is_direct=is_direct, policy=SimpleNamespace(upgrades=own)))
    return accepted_chain(MANAGER, headers, route)


@pytest.mark.parametrize(
    ("kind", "own", "accepted"),
    [
        ("websocket", None, True),
        ("WebSocket", {}, True),
        ("websocket", {b"websocket": False}, False),
        ("off", {}, False),
        ("off", {b"off": True}, True),
        ("other", {}, False),
        ("other", {b"other": True}, True),
        ("websocket, other", {}, False),
        ("", {}, True),
        (None, {}, True),
        (None, {b"connect": False}, False),
    ],
)
def test_the_route_decides_first(kind: str | None, own: dict[bytes, bool] | None, accepted: bool) -> None:
    assert (chain_of(kind, own) is USUAL) == accepted


def test_a_direct_response_has_no_list() -> None:
    route: Any = SimpleNamespace(entry=SimpleNamespace(is_direct=True))
    headers = HeaderMap([(b":method", b"GET"), (b"upgrade", b"off")])
    assert accepted_chain(MANAGER, headers, route) is None


def test_types_are_compared_without_case() -> None:
    config = hcm_pb2.HttpConnectionManager()
    config.upgrade_configs.add(upgrade_type="WebSocket")
    config.upgrade_configs.add(upgrade_type="b").enabled.value = False
    context: Any = None
    compiled = compile_upgrades(config, "", context)
    assert {name: item.enabled for name, item in compiled.items()} == {b"websocket": True, b"b": False}
    config.upgrade_configs.add(upgrade_type="B")
    with pytest.raises(ConfigError, match="multiple upgrade configs with the same name: 'B'"):
        compile_upgrades(config, "", context)


def test_connect_udp_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedFieldError, match="CONNECT-UDP"):
        upgrade_type(route_pb2.RouteAction.UpgradeConfig(upgrade_type="CONNECT-UDP"))
