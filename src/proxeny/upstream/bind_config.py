"""From which address upstream connections come (``BindConfig``), and with which socket options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from proxeny.config.errors import ConfigError
from proxeny.config.loader import unpack_any
from proxeny.network.address import ip_address
from proxeny.network.socket_options import SocketOption, compile_options, freebind_options, keepalive_options
from proxeny.registry import REGISTRY
from proxeny.upstream.endpoints import socket_address_pair

if TYPE_CHECKING:
    from proxeny.network.address import Address

KIND: Final = "local_address_selector"
DEFAULT_NAME: Final = "envoy.upstream.local_address_selector.default_local_address_selector"


class LocalAddress:
    """One choice (Envoy: ``UpstreamLocalAddress``): the source (None: as the kernel chooses), the socket's options."""

    __slots__ = ("address", "options")

    def __init__(self, address: Address | None, options: tuple[SocketOption, ...]) -> None:
        self.address = address
        self.options = options


NOTHING: Final = LocalAddress(None, ())


class LocalAddressSelector(Protocol):
    """Chooses among a cluster's local addresses, for every connection."""

    def select(self, endpoint: Address) -> LocalAddress:
        """The one for a connection to ``endpoint``."""


def compile(cluster_name: str, present: dict[str, Any], bootstrap: Any) -> LocalAddress | LocalAddressSelector:
    """Of a cluster with these fields; what its own BindConfig leaves out may come from the bootstrap's."""
    shared = None
    if bootstrap is not None and bootstrap.HasField("cluster_manager"):
        manager = bootstrap.cluster_manager
        shared = manager.upstream_bind_config if manager.HasField("upstream_bind_config") else None
    own = present.get("upstream_bind_config")
    bind = shared if own is None else own
    options = _common_options(own, shared)
    keepalive = _keepalive_options(present)
    if bind is None:
        return LocalAddress(None, keepalive + options) if keepalive else NOTHING
    owner = "Bootstrap" if own is None else f"Cluster {cluster_name}"
    freebind = own.freebind.value if own is not None and own.HasField("freebind") else False
    if shared is not None and shared.freebind.value and (own is None or not own.HasField("freebind")):
        freebind = True
    found = _addresses(bind, owner, freebind, keepalive, options)
    if not bind.HasField("local_address_selector"):
        factory = REGISTRY.factory(KIND, DEFAULT_NAME)
        return found[0] if len(found) == 1 else _create(factory, None, found, owner)
    extension = bind.local_address_selector
    factory = REGISTRY.factory(KIND, extension.name, extension.typed_config.type_url.rpartition("/")[2])
    return _create(factory, unpack_any(extension.typed_config), found, owner)


def _create(factory: Any, config: Any, found: list[LocalAddress], owner: str) -> LocalAddressSelector:
    selector: LocalAddressSelector = factory.create(config, found, owner)
    return selector


def _common_options(own: Any, shared: Any) -> tuple[SocketOption, ...]:
    for bind in (own, shared):
        if bind is not None and bind.socket_options:
            return compile_options(bind.socket_options)
    return ()


def _keepalive_options(present: dict[str, Any]) -> tuple[SocketOption, ...]:
    options = present.get("upstream_connection_options")
    if options is None or not options.HasField("tcp_keepalive"):
        return ()
    return keepalive_options(options.tcp_keepalive)


def _addresses(
    bind: Any, owner: str, freebind: bool, keepalive: tuple[SocketOption, ...], options: tuple[SocketOption, ...]
) -> list[LocalAddress]:
    if (bind.extra_source_addresses or bind.additional_source_addresses) and not bind.HasField("source_address"):
        raise ConfigError(
            f"{owner}'s upstream binding config has extra/additional source addresses but no source_address. "
            "Extra/additional addresses cannot be specified if source_address is not set."
        )
    if bind.extra_source_addresses and bind.additional_source_addresses:
        raise ConfigError(
            "Can't specify both `extra_source_addresses` and `additional_source_addresses` in the "
            f"{owner}'s upstream binding config"
        )
    if not bind.HasField("source_address"):
        return [LocalAddress(None, keepalive + options)]
    named = [(bind.source_address, options)]
    for extra in bind.extra_source_addresses:
        own = extra.HasField("socket_options")
        named.append((extra.address, compile_options(extra.socket_options.socket_options) if own else options))
    named += [(address, options) for address in bind.additional_source_addresses]
    found = []
    for message, its_options in named:
        address = ip_address(*socket_address_pair(message))
        free = freebind_options(address.family) if freebind else ()
        found.append(LocalAddress(address, free + keepalive + its_options))
    return found
