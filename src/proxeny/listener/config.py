"""``envoy.config.listener.v3.Listener``, compiled (Envoy: ``ListenerImpl``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.access_log.config import compile_access_logs
from proxeny.config.errors import ConfigError
from proxeny.config.loader import unpack_any
from proxeny.listener.drain import ListenerDrain
from proxeny.listener.filter_chain_match import FilterChainMatcher
from proxeny.listener.listen_address import binds_to_port, compile_addresses, reuses_port
from proxeny.listener.stats import LISTENER, LISTENER_WORKER
from proxeny.registry import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxeny.kernel.stats import Block
    from proxeny.network.address import Address
    from proxeny.network.factory_context import FactoryContext
    from proxeny.network.filter import NetworkFilterFactory

BUFFER_LIMIT = 1024 * 1024
"""``per_connection_buffer_limit_bytes`` when unset."""
BACKLOG = 2**31 - 1
"""``tcp_backlog_size`` when unset: the kernel makes net.core.somaxconn of it, and of all that is larger."""
MOST_ACCEPTS = 1024
"""Connections taken in one event where ``max_connections_to_accept_per_socket_event`` is unset."""
RAW_BUFFER_TYPE = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"


class FilterChain:
    """The network filters of the connections that match it."""

    __slots__ = ("factories", "name")

    def __init__(self, name: str, factories: tuple[NetworkFilterFactory, ...]) -> None:
        self.name = name
        self.factories = factories

    def __repr__(self) -> str:
        return f"FilterChain({self.name!r}, {[factory.name for factory in self.factories]})"


class ListenerConfig:
    """A compiled listener; sockets are made by ``socket_factory``, accepting is ``active_tcp_listener``."""

    __slots__ = (
        "access_logs",
        "backlog",
        "bind_to_port",
        "buffer_limit",
        "drain",
        "listen_addresses",
        "matcher",
        "most_accepts",
        "name",
        "reuse_port",
        "stat_prefix",
        "stats",
        "worker_stats",
    )

    access_logs: tuple[Any, ...]
    drain: ListenerDrain
    matcher: FilterChainMatcher
    stats: Block
    worker_stats: Block

    def __init__(self, listener: Any) -> None:
        self.name: str = listener.name
        self.listen_addresses = compile_addresses(listener)
        self.bind_to_port = binds_to_port(listener)
        self.buffer_limit = _value(listener, "per_connection_buffer_limit_bytes", BUFFER_LIMIT)
        self.backlog = min(_value(listener, "tcp_backlog_size", BACKLOG), BACKLOG)
        self.most_accepts = _value(listener, "max_connections_to_accept_per_socket_event", MOST_ACCEPTS)
        self.reuse_port = reuses_port(listener)
        text = listener.stat_prefix or self.listen_addresses[0].address.as_string()
        self.stat_prefix = f"listener.{text.replace(':', '_')}."

    @property
    def addresses(self) -> list[Address]:
        """The configured addresses, the main one first."""
        return [listen.address for listen in self.listen_addresses]

    @classmethod
    def compile(cls, listener: Any, context: FactoryContext) -> ListenerConfig:
        """From the message; ConfigError in Envoy's words."""
        _check(listener)
        config = cls(listener)
        reuses_port(listener, warn=context.role == "main")
        if context.role == "admin":
            config.stat_prefix = "listener.admin."
        config.drain = ListenerDrain(context, listener.drain_type)
        inner = context.for_listener(listener.name, config.stat_prefix, listener.traffic_direction, config.drain)
        _allot_stats(config, inner)
        try:
            config._compile_chains(listener, inner)
        except ConfigError as error:
            raise _in_listener_words(error, config) from None
        config.access_logs = compile_access_logs(listener.access_log, inner)
        return config

    def _compile_chains(self, listener: Any, context: FactoryContext) -> None:
        for item in listener.listener_filters:
            REGISTRY.factory("listener_filter", item.name, item.typed_config.type_url.rpartition("/")[2])
        if not listener.filter_chains and not listener.HasField("default_filter_chain"):
            raise MatchError("no filter chains specified")
        pairs = [(chain.filter_chain_match, compile_filter_chain(chain, context)) for chain in listener.filter_chains]
        default = None
        if listener.HasField("default_filter_chain"):
            default = compile_filter_chain(listener.default_filter_chain, context)
        try:
            self.matcher = FilterChainMatcher(pairs, default)
        except ConfigError as error:
            raise MatchError(error.message) from None

    def __repr__(self) -> str:
        return f"<ListenerConfig {self.name} {[address.as_string() for address in self.addresses]}>"


class MatchError(ConfigError):
    """An error that Envoy reports with the listener's addresses in front."""


def _in_listener_words(error: ConfigError, config: ListenerConfig) -> ConfigError:
    if isinstance(error, MatchError):
        bound = ",".join([address.as_string() for address in config.addresses])
        return ConfigError(f"error adding listener '{bound}': {error.message}")
    return error


def _check(listener: Any) -> None:
    if not listener.HasField("address"):
        raise ConfigError(f"error adding listener named '{listener.name}': address is necessary")
    socket_address = listener.address.socket_address
    if listener.address.HasField("socket_address") and socket_address.protocol == socket_address.UDP:
        raise ConfigError(f"listener '{listener.name}': UDP listeners are not supported yet")


def _value(message: Any, field: str, default: Any) -> Any:
    """A wrapper field's value, or the default where it is not set."""
    return getattr(message, field).value if message.HasField(field) else default


def _allot_stats(config: ListenerConfig, context: FactoryContext) -> None:
    """Main allots every worker's block; a worker finds its own."""
    config.stats = context.stats.block(LISTENER, config.stat_prefix)
    if context.role == "admin":
        config.worker_stats = context.stats.block(LISTENER_WORKER, f"{config.stat_prefix}main_thread.")
        return
    indexes: Iterable[int] = range(context.concurrency) if context.role == "main" else (context.worker_index,)
    for index in indexes:
        config.worker_stats = context.stats.block(LISTENER_WORKER, f"{config.stat_prefix}worker_{index}.")


def compile_filter_chain(chain: Any, context: FactoryContext) -> FilterChain:
    """One filter chain: its filters by the registry, its transport socket checked."""
    if chain.HasField("transport_socket"):
        _check_transport_socket(chain.transport_socket)
    factories = []
    last = len(chain.filters) - 1
    for position, item in enumerate(chain.filters):
        if item.HasField("config_discovery"):
            raise ConfigError(f"network filter '{item.name}': config_discovery is not supported yet")
        config_type = item.typed_config.type_url.rpartition("/")[2]
        if not config_type:
            raise ConfigError(f"Didn't find a registered implementation for '{item.name}' with type URL: ''")
        extension = REGISTRY.factory("network_filter", item.name, config_type)
        message = unpack_any(item.typed_config)
        canonical = REGISTRY.canonical_name("network_filter", item.name, config_type)
        _check_terminal(item.name, canonical, extension, position == last)
        factories.append(extension.create_filter_factory(message, context))
    return FilterChain(chain.name, tuple(factories))


def _check_terminal(name: str, canonical: str, extension: Any, last: bool) -> None:
    if extension.is_terminal and not last:
        raise ConfigError(
            f"Error: terminal filter named {name} of type {canonical} must be the last filter in a network filter "
            "chain."
        )
    if last and not extension.is_terminal:
        raise ConfigError(
            f"Error: non-terminal filter named {name} of type {canonical} is the last filter in a network filter chain."
        )


def _check_transport_socket(transport_socket: Any) -> None:
    config_type = transport_socket.typed_config.type_url.rpartition("/")[2]
    if config_type == RAW_BUFFER_TYPE:
        unpack_any(transport_socket.typed_config)
        return
    REGISTRY.factory("transport_socket", transport_socket.name, config_type)
