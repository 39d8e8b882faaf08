"""The listener filters of a listener, compiled: factories, each with the condition under which it is skipped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.config.loader import unpack_any
from proxeny.filter_config.kinds import TCP_LISTENER, FilterBuilder, check_discovery
from proxeny.filter_config.provider import FilterConfigProvider
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
            yield _discovered(item, context), _predicate(item)
            continue
        extension = REGISTRY.factory("listener_filter", item.name, item.typed_config.type_url.rpartition("/")[2])
        factory = extension.create_filter_factory(unpack_any(item.typed_config), context)
        yield factory, _predicate(item)


def _predicate(item: Any) -> FilterPredicate | None:
    return compile_predicate(item.filter_disabled) if item.HasField("filter_disabled") else None


def _discovered(item: Any, context: FactoryContext) -> FilterConfigProvider:
    check_discovery(item.config_discovery, TCP_LISTENER, item.name)
    builder = FilterBuilder(TCP_LISTENER, item.name, context)
    return context.filter_configs.provider(item.config_discovery, builder, context)


def providers_among(entries: tuple[ListenerFilterEntry, ...]) -> tuple[FilterConfigProvider, ...]:
    """Those of discovered filters, without which no connection is taken."""
    return tuple([factory for factory, _ in entries if isinstance(factory, FilterConfigProvider)])


def _implied(listener: Any, context: FactoryContext) -> Iterator[ListenerFilterEntry]:
    """``use_original_dst``, and the deprecated ``use_proxy_proto`` of the first chain, add a filter each."""
    chains = listener.filter_chains
    for name, wanted in (
        (ORIGINAL_DST, listener.use_original_dst.value),
        (PROXY_PROTOCOL, bool(chains) and chains[0].use_proxy_proto.value),
    ):
        if wanted:
            yield REGISTRY.factory("listener_filter", name).create_filter_factory(None, context), None
