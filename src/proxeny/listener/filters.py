"""The listener filters of a listener, compiled: factories, each with the condition under which it is skipped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.config.errors import ConfigError
from proxeny.config.loader import unpack_any
from proxeny.listener.filter_predicate import FilterPredicate, compile_predicate
from proxeny.registry import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxeny.listener.filter import ListenerFilterFactory
    from proxeny.network.factory_context import FactoryContext

ListenerFilterEntry = tuple["ListenerFilterFactory", FilterPredicate | None]

ORIGINAL_DST = "envoy.filters.listener.original_dst"
PROXY_PROTOCOL = "envoy.filters.listener.proxy_protocol"


def compile_listener_filters(listener: Any, context: FactoryContext) -> tuple[ListenerFilterEntry, ...]:
    """In the order in which they run: the configured ones, then those that other fields stand for. ConfigError."""
    return (*_configured(listener, context), *_implied(listener, context))


def _configured(listener: Any, context: FactoryContext) -> Iterator[ListenerFilterEntry]:
    for item in listener.listener_filters:
        if item.HasField("config_discovery"):
            raise ConfigError(f"listener filter '{item.name}': config_discovery is not supported yet")
        extension = REGISTRY.factory("listener_filter", item.name, item.typed_config.type_url.rpartition("/")[2])
        factory = extension.create_filter_factory(unpack_any(item.typed_config), context)
        disabled = compile_predicate(item.filter_disabled) if item.HasField("filter_disabled") else None
        yield factory, disabled


def _implied(listener: Any, context: FactoryContext) -> Iterator[ListenerFilterEntry]:
    """``use_original_dst``, and the deprecated ``use_proxy_proto`` of the first chain, add a filter each."""
    chains = listener.filter_chains
    for name, wanted in (
        (ORIGINAL_DST, listener.use_original_dst.value),
        (PROXY_PROTOCOL, bool(chains) and chains[0].use_proxy_proto.value),
    ):
        if wanted:
            yield REGISTRY.factory("listener_filter", name).create_filter_factory(None, context), None
