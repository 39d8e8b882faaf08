"""The kinds of listeners: one place that says which configuration class a Listener message compiles to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.listener.config import ListenerConfig

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext


def compile_listener(listener: Any, context: FactoryContext) -> ListenerConfig:
    """From the message to the compiled listener of its kind; ConfigError in Envoy's words."""
    return ListenerConfig.compile(listener, context)
