"""``envoy.bootstrap.internal_listener``: without it there are no internal listeners."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext

NAME: Final = "envoy.bootstrap.internal_listener"


class InternalListenerExtension:
    """The registered factory."""

    def install(self, config: Any, context: FactoryContext) -> None:
        """``buffer_size_kb`` is what a connection may hold in each direction, as far as the system allows it."""
        listeners = context.internal_listeners
        listeners.enabled = True
        listeners.buffer_size = config.buffer_size_kb.value * 1024 if config.HasField("buffer_size_kb") else 0


FACTORY = InternalListenerExtension()
