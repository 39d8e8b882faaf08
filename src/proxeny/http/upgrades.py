"""Upgrades: which types a connection manager takes, and whether a request's may go on (Envoy: ``UpgradeConfig``).

A route's ``upgrade_configs`` come first, the connection manager's second: a route may switch a type off, or on that the
manager does not know; the filters are those that the manager has for the type, else its usual ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError, UnsupportedFieldError
from proxeny.http.connection_manager_config import UpgradeConfig
from proxeny.http.filter_compiler import DOWNSTREAM_FILTERS, compile_filters

if TYPE_CHECKING:
    from proxeny.http.connection_manager_config import ConnectionManagerConfig
    from proxeny.http.filter_chain import FilterChain
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.factory_context import FactoryContext

CONNECT: Final = b"connect"
CONNECT_UDP: Final = b"connect-udp"


def upgrade_type(config: Any) -> bytes:
    """The type that an ``UpgradeConfig`` message (the manager's or a route's) is for; types have no case."""
    name: bytes = config.upgrade_type.lower().encode()
    if name == CONNECT_UDP:
        raise UnsupportedFieldError(f"upgrade_type {config.upgrade_type}: datagrams in HTTP are not supported yet")
    return name


def compile_upgrades(config: Any, stat_prefix: str, context: FactoryContext) -> dict[bytes, UpgradeConfig]:
    """The connection manager's ``upgrade_configs``."""
    upgrades: dict[bytes, UpgradeConfig] = {}
    for item in config.upgrade_configs:
        name = upgrade_type(item)
        if name in upgrades:
            raise ConfigError(f"Error: multiple upgrade configs with the same name: '{item.upgrade_type}'")
        enabled = item.enabled.value if item.HasField("enabled") else True
        chain = compile_filters(item.filters, stat_prefix, context, DOWNSTREAM_FILTERS, False) if item.filters else None
        upgrades[name] = UpgradeConfig(enabled, chain)
    return upgrades


def accepted_chain(config: ConnectionManagerConfig, headers: HeaderMap, route: Any) -> FilterChain | None:
    """The filters of a request that asks for an upgrade (CONNECT is one); None where it may not have it."""
    asked = headers.get(b"upgrade")
    kind = CONNECT if asked is None else asked.lower()
    routed = route is not None and not route.entry.is_direct
    own: bool | None = route.entry.policy.upgrades.get(kind) if routed else None
    if own is False:
        return None
    allowed = config.upgrades.get(kind)
    if own is None and (allowed is None or not allowed.enabled):
        return None
    chain = config.chain if allowed is None or allowed.chain is None else allowed.chain
    return chain.for_route(route)
