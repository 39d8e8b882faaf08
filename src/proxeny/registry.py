"""The registry of extensions: canonical names and config message types to lazily imported factories.

The core never imports ``proxeny.extensions``; a composition root (``server``, ``worker``) installs the table. Third
parties add to it through the entry-point group ``proxeny.extensions``.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from proxeny.config.errors import ConfigError
from proxeny.config.message_types import declare_extension_type


class Extension:
    """Where one extension lives: its canonical name, config message types, and ``module:ATTRIBUTE`` of its factory."""

    __slots__ = ("aliases", "config_types", "kind", "name", "target")

    def __init__(
        self, kind: str, name: str, target: str, config_types: tuple[str, ...] = (), aliases: tuple[str, ...] = ()
    ) -> None:
        self.kind = kind
        self.name = name
        self.target = target
        self.config_types = config_types
        self.aliases = aliases


class Registry:
    """Factories by kind and name, and by kind and config type; imports a factory's module at its first use."""

    __slots__ = ("_by_name", "_by_type", "_loaded")

    def __init__(self) -> None:
        self._by_name: dict[tuple[str, str], Extension] = {}
        self._by_type: dict[tuple[str, str], Extension] = {}
        self._loaded: dict[str, Any] = {}

    def add(self, extension: Extension) -> None:
        """Register ``extension``; a later one of the same kind and name replaces the earlier."""
        for name in (extension.name, *extension.aliases):
            self._by_name[extension.kind, name] = extension
        for config_type in extension.config_types:
            self._by_type[extension.kind, config_type] = extension
            declare_extension_type(config_type, extension.target.partition(":")[0])

    def factory(self, kind: str, name: str, config_type: str = "") -> Any:
        """The factory for ``config_type`` (full message name), else for ``name``; ConfigError in Envoy's words."""
        extension = self._by_type.get((kind, config_type)) if config_type else self._by_name.get((kind, name))
        if extension is None:
            raise ConfigError(f"Didn't find a registered implementation for '{name}' with type URL: '{config_type}'")
        factory = self._loaded.get(extension.target)
        if factory is None:
            module, _, attribute = extension.target.partition(":")
            factory = self._loaded[extension.target] = getattr(import_module(module), attribute)
        return factory

    def knows(self, kind: str, name: str, config_type: str = "") -> bool:
        """Whether ``factory`` finds one."""
        return ((kind, config_type) in self._by_type) if config_type else ((kind, name) in self._by_name)

    def canonical_name(self, kind: str, name: str, config_type: str = "") -> str:
        """Envoy's name of the extension that ``factory`` finds; ``name`` itself where there is none."""
        extension = self._by_type.get((kind, config_type)) if config_type else self._by_name.get((kind, name))
        return name if extension is None else extension.name

    def names(self, kind: str) -> list[str]:
        """Canonical names of one kind, sorted."""
        return sorted({e.name for (k, _), e in self._by_name.items() if k == kind})

    def extensions(self) -> list[Extension]:
        """All registered extensions, each once."""
        return list({id(e): e for e in self._by_name.values()}.values())


REGISTRY = Registry()
