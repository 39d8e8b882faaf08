"""``envoy.config.listener.v3.Listener``, compiled (Envoy: ``ListenerImpl``)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from proxeny.access_log.config import compile_access_logs
from proxeny.config.errors import ConfigError
from proxeny.config.loader import duration_ms
from proxeny.event.slices import Steps, finish
from proxeny.listener.drain import FilterChainDrain, ListenerDrain
from proxeny.listener.filter_chain import compile_filter_chain_steps
from proxeny.listener.filter_chain_levels import MatchError
from proxeny.listener.filter_chain_match import FilterChainMatcher, FilterChainTable
from proxeny.listener.filter_chain_matcher import NamedFilterChains, UnifiedFilterChainMatcher
from proxeny.listener.filters import ListenerFilterEntry, compile_listener_filters, providers_among
from proxeny.listener.limits import LimitsConfig
from proxeny.listener.listen_address import ListenAddress, binds_to_port, compile_addresses, reuses_port
from proxeny.listener.stats import LISTENER, LISTENER_WORKER
from proxeny.network.overload_state import OverloadState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxeny.filter_config.provider import FilterConfigProvider
    from proxeny.kernel.stats import Block
    from proxeny.listener.filter_chain import FilterChain
    from proxeny.network.address import Address
    from proxeny.network.factory_context import FactoryContext

BUFFER_LIMIT = 1024 * 1024
"""``per_connection_buffer_limit_bytes`` when unset."""
BACKLOG = 2**31 - 1
"""``tcp_backlog_size`` when unset: the kernel makes net.core.somaxconn of it, and of all that is larger."""
MOST_ACCEPTS = 1024
"""Connections taken in one event where ``max_connections_to_accept_per_socket_event`` is unset."""
FILTERS_TIMEOUT_MS = 15_000
"""``listener_filters_timeout`` when unset; 0 = none."""


class ListenerConfig:
    """A compiled listener; sockets are made by ``socket_factory``, accepting is ``active_tcp_listener``."""

    __slots__ = (
        "access_logs",
        "backlog",
        "bind_to_port",
        "buffer_limit",
        "chains",
        "continue_on_listener_filters_timeout",
        "discovered_filters",
        "drain",
        "exact_balance",
        "hands_off_restored",
        "limits",
        "listen_addresses",
        "listener_filters",
        "listener_filters_timeout_ms",
        "matcher",
        "metadata",
        "most_accepts",
        "name",
        "reuse_port",
        "stat_prefix",
        "stats",
        "worker_stats",
    )

    access_logs: tuple[Any, ...]
    drain: ListenerDrain
    limits: LimitsConfig
    listener_filters: tuple[ListenerFilterEntry, ...]
    discovered_filters: tuple[FilterConfigProvider, ...]
    """Those of them whose configuration is discovered."""
    chains: dict[bytes, FilterChain]
    """By the hash of their message: equal chains of two generations are one object."""
    matcher: FilterChainMatcher | UnifiedFilterChainMatcher
    stats: Block
    worker_stats: Block

    def __init__(self, listener: Any) -> None:
        self.name: str = listener.name
        self.metadata: Any = listener.metadata if listener.HasField("metadata") else None
        self.listen_addresses = self._compile_addresses(listener)
        self.bind_to_port = binds_to_port(listener)
        self.buffer_limit = _value(listener, "per_connection_buffer_limit_bytes", BUFFER_LIMIT)
        self.backlog = min(_value(listener, "tcp_backlog_size", BACKLOG), BACKLOG)
        self.most_accepts = _value(listener, "max_connections_to_accept_per_socket_event", MOST_ACCEPTS)
        self.reuse_port = reuses_port(listener)
        self.hands_off_restored: bool = listener.use_original_dst.value
        self.exact_balance: bool = _exact_balance(listener)
        self.listener_filters_timeout_ms = (
            duration_ms(listener.listener_filters_timeout)
            if listener.HasField("listener_filters_timeout")
            else FILTERS_TIMEOUT_MS
        )
        self.continue_on_listener_filters_timeout: bool = listener.continue_on_listener_filters_timeout
        text = listener.stat_prefix or self.listen_addresses[0].address.as_string()
        self.stat_prefix = f"listener.{text.replace(':', '_')}."

    def _compile_addresses(self, listener: Any) -> list[ListenAddress]:
        return compile_addresses(listener)

    @property
    def socket_type(self) -> int:
        """SOCK_STREAM or SOCK_DGRAM, of all its addresses."""
        return self.listen_addresses[0].socket_type

    @property
    def addresses(self) -> list[Address]:
        """The configured addresses, the main one first."""
        return [listen.address for listen in self.listen_addresses]

    @classmethod
    def compile(cls, listener: Any, context: FactoryContext, origin: ListenerConfig | None = None) -> ListenerConfig:
        """From the message; ConfigError in Envoy's words.

        ``origin`` is what an update in place starts from: only filter chains differ, and equal ones are taken over.
        """
        return finish(cls.compile_steps(listener, context, origin))

    @classmethod
    def compile_steps(
        cls, listener: Any, context: FactoryContext, origin: ListenerConfig | None = None
    ) -> Steps[ListenerConfig]:
        """``compile`` in slices, chain by chain."""
        _check(listener)
        config = cls(listener)
        reuses_port(listener, warn=context.role == "main")
        if context.role == "admin":
            config.stat_prefix = "listener.admin."
        config.drain = ListenerDrain(context, listener.drain_type) if origin is None else origin.drain
        inner = context.for_listener(listener.name, config.stat_prefix, listener.traffic_direction, config.drain)
        if listener.bypass_overload_manager:
            inner.overload = OverloadState()  # nothing ever changes it
        _allot_stats(config, inner)
        config.limits = LimitsConfig(listener, inner) if origin is None else origin.limits
        try:
            yield from config._compile_chains(listener, inner, origin)
        except ConfigError as error:
            raise _in_listener_words(error, config) from None
        config.access_logs = compile_access_logs(listener.access_log, inner) if origin is None else origin.access_logs
        return config

    def _compile_chains(self, listener: Any, context: FactoryContext, origin: ListenerConfig | None) -> Steps[None]:
        if origin is None:
            self.listener_filters = compile_listener_filters(listener, context)
        else:
            self.listener_filters = origin.listener_filters
        self.discovered_filters = providers_among(self.listener_filters)
        kept = origin.chains if origin is not None else {}
        self.chains = {}
        if not listener.filter_chains and not listener.HasField("default_filter_chain"):
            raise MatchError("no filter chains specified")
        chains: FilterChainTable | NamedFilterChains = FilterChainTable()
        if listener.HasField("filter_chain_matcher"):
            chains = NamedFilterChains(listener.filter_chain_matcher, context)
        for chain in listener.filter_chains:
            chains.check(chain)
            chains.add(chain, (yield from self._chain(chain, context, kept)))
            yield
        default = None
        if listener.HasField("default_filter_chain"):
            default = yield from self._chain(listener.default_filter_chain, context, kept, b"default")
        self.matcher = yield from chains.build_steps(default)

    def _chain(
        self, message: Any, context: FactoryContext, kept: dict[bytes, FilterChain], kind: bytes = b""
    ) -> Steps[FilterChain]:
        data = message.SerializeToString(deterministic=True)
        key = hashlib.blake2b(data, digest_size=16, person=kind).digest()
        chain = kept.get(key)
        if chain is None:
            drain = FilterChainDrain(context, self.drain)
            chain = yield from compile_filter_chain_steps(message, context, drain)
        self.chains[key] = chain
        return chain

    def __repr__(self) -> str:
        return f"<ListenerConfig {self.name} {[address.as_string() for address in self.addresses]}>"


def _in_listener_words(error: ConfigError, config: ListenerConfig) -> ConfigError:
    if isinstance(error, MatchError):
        bound = ",".join([address.as_string() for address in config.addresses])
        return ConfigError(f"error adding listener '{bound}': {error.message}")
    return error


def _check(listener: Any) -> None:
    if not listener.HasField("address") and not listener.HasField("internal_listener"):
        raise ConfigError(f"error adding listener named '{listener.name}': address is necessary")


def _exact_balance(listener: Any) -> bool:
    balance = listener.connection_balance_config
    kind = balance.WhichOneof("balance_type")
    if kind == "extend_balance":
        config_type = balance.extend_balance.typed_config.type_url.rpartition("/")[2]
        raise ConfigError(f"Didn't find a registered implementation for type: '{config_type}'")
    return bool(kind == "exact_balance")


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
