"""A filter at its place in a chain, with the configuration that it has now (Envoy: ``FilterConfigProvider``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from proxeny.config.errors import ConfigError
from proxeny.config.message_types import type_name_of
from proxeny.registry import REGISTRY

if TYPE_CHECKING:
    from proxeny.filter_config.kinds import FilterBuilder
    from proxeny.network.factory_context import FactoryContext


class MissingFilterConfigError(Exception):
    """A filter is to be made whose configuration has not come."""


class FilterConfigProvider:
    """In main and in a worker alike. What makes filters holds it, and looks at ``current`` whenever it makes one."""

    __slots__ = ("__weakref__", "_builder", "_default", "_type_names", "current", "name", "owner")

    def __init__(self, discovery: Any, builder: FilterBuilder) -> None:
        """``discovery``: a ``core.v3.ExtensionConfigSource``."""
        self.name = builder.name
        self.owner: Any = None
        """Whoever must live as long."""
        self.current: Any = None
        """The factory of the filter; None: there is no configuration yet."""
        self._builder = builder
        self._default: Any = discovery.default_config if discovery.HasField("default_config") else None
        self._type_names = sorted(type_name_of(url) for url in discovery.type_urls)

    def check_default(self) -> None:
        """ConfigError for a default configuration that this filter cannot have."""
        if self._default is None:
            return
        type_name = type_name_of(self._default.type_url)
        if not REGISTRY.knows(self._builder.kind.extension, self.name, type_name):
            raise ConfigError(
                f"Error: cannot find filter factory {self.name} for default filter configuration with type URL "
                f"{self._default.type_url}."
            )
        self.check_type(self._default)
        self._builder.check(self._default)

    def check_type(self, config: Any) -> None:
        """ConfigError for an Any of a type that is not among those that were asked for."""
        type_name = type_name_of(config.type_url)
        if type_name not in self._type_names:
            raise ConfigError(
                f"Error: filter config has type URL {type_name} but expect {', '.join(self._type_names)}."
            )

    def check(self, config: Any) -> None:
        """ConfigError for an Any that this filter cannot have at its place."""
        self.check_type(config)
        self._builder.check(config)

    def prepare(self, config: Any | None) -> Any:
        """The factory for a configuration, None: for the default one. None where there is none; ConfigError."""
        chosen = self._default if config is None else config
        return None if chosen is None else self._builder.build(chosen)

    def begin(self, config: Any | None) -> bool:
        """Take what there is, else the default; False where this filter cannot have what there is. ConfigError."""
        fits = True
        if config is not None:
            try:
                self.check(config)
            except ConfigError:
                fits, config = False, None
        self.current = self.prepare(config)
        return fits

    def create(self) -> Any:
        """A fresh filter; MissingFilterConfigError."""
        factory = self.current
        if factory is None:
            raise MissingFilterConfigError(self.name)
        return factory.create()


class FilterConfigs(Protocol):
    """What a factory context offers."""

    def provider(self, discovery: Any, builder: FilterBuilder, context: FactoryContext) -> FilterConfigProvider:
        """A filter that ``discovery`` (a ``core.v3.ExtensionConfigSource``) configures; ConfigError."""


class DirectFilterConfigs:
    """Where nobody discovers anything (tools, tests): filters have their default configuration."""

    def provider(self, discovery: Any, builder: FilterBuilder, context: FactoryContext) -> FilterConfigProvider:
        """See ``FilterConfigs``."""
        provider = FilterConfigProvider(discovery, builder)
        provider.check_default()
        provider.begin(None)
        return provider


def current_of(factory: Any) -> Any:
    """The factory behind a provider (None: there is none); any other factory is itself."""
    return factory.current if isinstance(factory, FilterConfigProvider) else factory
