"""One filter chain of a listener, compiled (Envoy: ``FilterChainImpl``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.config.errors import ConfigError
from proxeny.config.loader import duration_ms, unpack_any
from proxeny.event.slices import finish
from proxeny.filter_config.kinds import NETWORK, FilterBuilder
from proxeny.filter_config.terminal import check_terminal
from proxeny.network.transport_socket import compile_downstream
from proxeny.registry import REGISTRY

if TYPE_CHECKING:
    from proxeny.event.slices import Steps
    from proxeny.listener.drain import FilterChainDrain
    from proxeny.network.factory_context import FactoryContext
    from proxeny.network.filter import NetworkFilterFactory
    from proxeny.network.transport_socket import DownstreamTransportSocketFactory


class FilterChain:
    """The network filters of the connections that match it."""

    __slots__ = ("drain", "factories", "metadata", "name", "transport_socket", "transport_socket_connect_timeout_ms")

    def __init__(
        self, name: str, factories: tuple[NetworkFilterFactory, ...], drain: FilterChainDrain | None = None
    ) -> None:
        self.name = name
        self.factories = factories
        self.metadata: Any = None
        """``FilterChain.metadata`` (``core.v3.Metadata``), where there is any."""
        self.drain = drain
        """What its connections ask; None where the chain cannot go without its listener (admin)."""
        self.transport_socket: DownstreamTransportSocketFactory | None = None
        """Makes the transports of its connections; None: plain bytes."""
        self.transport_socket_connect_timeout_ms = 0
        """How long their handshakes may take; 0 = for ever."""

    def __repr__(self) -> str:
        return f"FilterChain({self.name!r}, {[factory.name for factory in self.factories]})"


def compile_filter_chain(chain: Any, context: FactoryContext, drain: FilterChainDrain | None = None) -> FilterChain:
    """One filter chain: its filters by the registry, its transport socket checked."""
    return finish(compile_filter_chain_steps(chain, context, drain))


def compile_filter_chain_steps(
    chain: Any, context: FactoryContext, drain: FilterChainDrain | None = None
) -> Steps[FilterChain]:
    """``compile_filter_chain`` in slices, as far as its filters' factories know how."""
    if drain is not None:
        context = context.with_drain_decision(drain)
    factories: list[Any] = []
    last = len(chain.filters) - 1
    for position, item in enumerate(chain.filters):
        if item.HasField("config_discovery"):
            builder = FilterBuilder(NETWORK, item.name, context, "network", position == last)
            factories.append(context.filter_configs.provider(item.config_discovery, builder, context))
            continue
        config_type = item.typed_config.type_url.rpartition("/")[2]
        if not config_type:
            raise ConfigError(f"Didn't find a registered implementation for '{item.name}' with type URL: ''")
        extension = REGISTRY.factory("network_filter", item.name, config_type)
        message = unpack_any(item.typed_config)
        canonical = REGISTRY.canonical_name("network_filter", item.name, config_type)
        check_terminal(item.name, canonical, "network", extension.is_terminal, position == last)
        steps = getattr(extension, "create_filter_factory_steps", None)
        if steps is None:
            factories.append(extension.create_filter_factory(message, context))
        else:
            factories.append((yield from steps(message, context)))
    made = FilterChain(chain.name, tuple(factories), drain)
    if chain.HasField("transport_socket"):
        made.transport_socket = compile_downstream(chain.transport_socket, context)
        made.transport_socket_connect_timeout_ms = duration_ms(chain.transport_socket_connect_timeout)
    if chain.HasField("metadata"):
        made.metadata = chain.metadata
    return made
