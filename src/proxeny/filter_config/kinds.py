"""The kinds of filters that can be discovered, and how the factory of one is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError
from proxeny.config.loader import unpack_any
from proxeny.config.message_types import type_name_of
from proxeny.filter_config.terminal import check_terminal
from proxeny.registry import REGISTRY

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext


@dataclass(frozen=True, slots=True, eq=False)
class FilterKind:
    """Filters of one kind share a subscription where their names and sources are the same."""

    name: str
    extension: str
    """The kind of extensions."""
    stats: str
    """Where the statistics are: ``extension_config_discovery.<stats>.<name>.``"""
    create: Callable[[Any, Any, str, FactoryContext], Any]
    """(extension, message, stat prefix, context) -> the factory of the filter."""
    words: str = ""
    """What Envoy calls it in errors: "listener " or nothing."""

    def stat_prefix(self, name: str) -> str:
        """Of the discovery of the filter ``name``."""
        return f"extension_config_discovery.{self.stats}.{name}."


def _http(extension: Any, message: Any, stat_prefix: str, context: FactoryContext) -> Any:
    return extension.create_filter_factory(message, stat_prefix, context)


def _plain(extension: Any, message: Any, stat_prefix: str, context: FactoryContext) -> Any:
    return extension.create_filter_factory(message, context)


HTTP: Final = FilterKind("http", "http_filter", "http_filter", _http)
UPSTREAM_HTTP: Final = FilterKind("upstream_http", "upstream_http_filter", "upstream_http_filter", _http)
NETWORK: Final = FilterKind("network", "network_filter", "network_filter", _plain)
TCP_LISTENER: Final = FilterKind("tcp_listener", "listener_filter", "tcp_listener_filter", _plain, "listener ")
KINDS: Final = (HTTP, UPSTREAM_HTTP, NETWORK, TCP_LISTENER)


def check_discovery(discovery: Any, kind: FilterKind, name: str) -> None:
    """ConfigError for an ``ExtensionConfigSource`` that asks for what there cannot be."""
    if discovery.apply_default_config_without_warming and not discovery.HasField("default_config"):
        raise ConfigError(f"Error: {kind.words}filter config {name} applied without warming but has no default config.")
    for url in discovery.type_urls:
        type_name = type_name_of(url)
        if not type_name or not REGISTRY.knows(kind.extension, name, type_name):
            raise ConfigError(f"Error: no {kind.words}factory found for a required type URL {type_name}.")


class FilterBuilder:
    """Makes the factories of one filter: it knows where the filter stands."""

    __slots__ = ("_chain", "_context", "_is_last", "_stat_prefix", "kind", "name")

    def __init__(
        self,
        kind: FilterKind,
        name: str,
        context: FactoryContext,
        chain: str = "",
        is_last: bool = False,
        stat_prefix: str = "",
    ) -> None:
        """``chain``: what Envoy calls its filter chain; empty: one without a terminal filter. ``stat_prefix``: of an
        HTTP filter."""
        self.kind = kind
        self.name = name
        self._context = context
        self._chain = chain
        self._is_last = is_last
        self._stat_prefix = stat_prefix

    def check(self, config: Any) -> None:
        """ConfigError for an Any whose filter is not known, or may not stand here."""
        extension, canonical = self._find(config)
        if self._chain:
            check_terminal(self.name, canonical, self._chain, extension.is_terminal, self._is_last)

    def build(self, config: Any) -> Any:
        """The factory that an Any configures; ConfigError."""
        extension, _ = self._find(config)
        message = unpack_any(config)
        factory = self.kind.create(extension, message, self._stat_prefix, self._context)
        if self.kind.create is _http:
            factory.name = self.name
        return factory

    def _find(self, config: Any) -> tuple[Any, str]:
        kind, type_name = self.kind.extension, type_name_of(config.type_url)
        if not type_name:
            raise ConfigError(f"Didn't find a registered implementation for '{self.name}' with type URL: ''")
        return REGISTRY.factory(kind, self.name, type_name), REGISTRY.canonical_name(kind, self.name, type_name)
