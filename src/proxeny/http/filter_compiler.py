"""``http_filters`` and ``upstream_http_filters`` compiled into chains (Envoy: ``FilterChainHelper``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError
from proxeny.config.loader import unpack_any
from proxeny.http.filter_chain import FilterChain
from proxeny.registry import REGISTRY

if TYPE_CHECKING:
    from proxeny.http.filter import HttpFilterFactory
    from proxeny.network.factory_context import FactoryContext


@dataclass(frozen=True, slots=True)
class ChainKind:
    """Where a chain of filters runs."""

    extension: str
    """The kind of extensions that may be in it."""
    words: str
    """What Envoy calls it in errors."""
    unique_names: bool = False


DOWNSTREAM_FILTERS: Final = ChainKind("http_filter", "http", True)
UPSTREAM_FILTERS: Final = ChainKind("upstream_http_filter", "router upstream http")
CLUSTER_FILTERS: Final = ChainKind("upstream_http_filter", "upstream http")


def compile_filters(
    filters: Sequence[Any],
    stat_prefix: str,
    context: FactoryContext,
    kind: ChainKind = DOWNSTREAM_FILTERS,
    unique_names: bool = True,
) -> FilterChain:
    """Compile HttpFilter messages in Envoy's words: names unique, the terminal filter last and only there."""
    factories: list[HttpFilterFactory] = []
    names: set[str] = set()
    for position, item in enumerate(filters):
        if kind.unique_names and unique_names and item.name in names:
            raise ConfigError(f"Duplicate HTTP filter name: {item.name}")
        names.add(item.name)
        config_type = item.typed_config.type_url.rpartition("/")[2] if item.HasField("typed_config") else ""
        extension = REGISTRY.factory(kind.extension, item.name, config_type)
        canonical = REGISTRY.canonical_name(kind.extension, item.name, config_type)
        message = unpack_any(item.typed_config) if item.HasField("typed_config") else None
        last = position == len(filters) - 1
        if extension.is_terminal and not last:
            raise ConfigError(
                f"Error: terminal filter named {item.name} of type {canonical} must be the last filter in a "
                f"{kind.words} filter chain."
            )
        if last and not extension.is_terminal:
            raise ConfigError(
                f"Error: non-terminal filter named {item.name} of type {canonical} is the last filter in a "
                f"{kind.words} filter chain."
            )
        factory = extension.create_filter_factory(message, stat_prefix, context)
        factory.name = item.name
        factories.append(factory)
    return FilterChain(factories, [item.disabled for item in filters])
