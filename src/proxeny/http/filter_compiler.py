"""``http_filters`` and ``upstream_http_filters`` compiled into chains (Envoy: ``FilterChainHelper``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError
from proxeny.config.loader import unpack_any
from proxeny.filter_config.kinds import HTTP, UPSTREAM_HTTP, FilterBuilder, FilterKind, check_discovery
from proxeny.filter_config.provider import FilterConfigProvider
from proxeny.filter_config.terminal import check_terminal
from proxeny.http.dynamic_filter_chain import DynamicFilterChain
from proxeny.http.filter_chain import FilterChain
from proxeny.registry import REGISTRY

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext


@dataclass(frozen=True, slots=True)
class ChainKind:
    """Where a chain of filters runs."""

    extension: str
    """The kind of extensions that may be in it."""
    words: str
    """What Envoy calls it in errors."""
    discovered: FilterKind
    """What its filters are where they are discovered."""
    unique_names: bool = False


DOWNSTREAM_FILTERS: Final = ChainKind("http_filter", "http", HTTP, True)
UPSTREAM_FILTERS: Final = ChainKind("upstream_http_filter", "router upstream http", UPSTREAM_HTTP)
CLUSTER_FILTERS: Final = ChainKind("upstream_http_filter", "upstream http", UPSTREAM_HTTP)


def compile_filters(
    filters: Sequence[Any],
    stat_prefix: str,
    context: FactoryContext,
    kind: ChainKind = DOWNSTREAM_FILTERS,
    unique_names: bool = True,
) -> FilterChain:
    """Compile HttpFilter messages in Envoy's words: names unique, the terminal filter last and only there."""
    factories: list[Any] = []
    names: set[str] = set()
    for position, item in enumerate(filters):
        if kind.unique_names and unique_names and item.name in names:
            raise ConfigError(f"Duplicate HTTP filter name: {item.name}")
        names.add(item.name)
        last = position == len(filters) - 1
        if item.WhichOneof("config_type") == "config_discovery":
            factories.append(_discovered(item, stat_prefix, context, kind, last))
            continue
        config_type = item.typed_config.type_url.rpartition("/")[2] if item.HasField("typed_config") else ""
        extension = REGISTRY.factory(kind.extension, item.name, config_type)
        canonical = REGISTRY.canonical_name(kind.extension, item.name, config_type)
        message = unpack_any(item.typed_config) if item.HasField("typed_config") else None
        check_terminal(item.name, canonical, kind.words, extension.is_terminal, last)
        factory = extension.create_filter_factory(message, stat_prefix, context)
        factory.name = item.name
        factories.append(factory)
    disabled = [item.disabled for item in filters]
    if any(isinstance(factory, FilterConfigProvider) for factory in factories):
        return DynamicFilterChain(factories, disabled)
    return FilterChain(factories, disabled)


def _discovered(
    item: Any, stat_prefix: str, context: FactoryContext, kind: ChainKind, last: bool
) -> FilterConfigProvider:
    discovery = item.config_discovery
    check_discovery(discovery, kind.discovered, item.name)
    builder = FilterBuilder(kind.discovered, item.name, context, kind.words, last, stat_prefix)
    return context.filter_configs.provider(discovery, builder, context)
