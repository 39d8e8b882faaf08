"""``envoy.filters.listener.tls_inspector``: whether a connection speaks TLS, for which name, with which protocols."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.extensions.listener_filters.tls_inspector.filter import NAME, TlsInspector, TlsInspectorConfig

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext


class TlsInspectorFactory:
    """The listener filter factory."""

    __slots__ = ("_config",)

    name = NAME

    def __init__(self, config: TlsInspectorConfig) -> None:
        self._config = config

    def create(self) -> TlsInspector:
        """The filter of one socket."""
        return TlsInspector(self._config)


class TlsInspectorExtension:
    """The registered factory."""

    def create_filter_factory(self, config: Any, context: FactoryContext) -> TlsInspectorFactory:
        """Compile ``config``."""
        return TlsInspectorFactory(TlsInspectorConfig(config, context))


FACTORY = TlsInspectorExtension()
