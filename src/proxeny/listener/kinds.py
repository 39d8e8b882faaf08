"""The kinds of listeners: one place that says which configuration class a Listener message compiles to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.config.errors import ConfigError
from proxeny.event.slices import Steps, finish
from proxeny.listener.config import ListenerConfig
from proxeny.listener.internal_config import InternalListenerConfig
from proxeny.listener.listen_address import DATAGRAM, socket_type
from proxeny.listener.udp_config import UdpListenerConfig

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext


def compile_listener(listener: Any, context: FactoryContext, origin: ListenerConfig | None = None) -> ListenerConfig:
    """From the message to the compiled listener of its kind; ConfigError in Envoy's words.

    ``origin``: the listener that an update in place starts from.
    """
    return finish(compile_listener_steps(listener, context, origin))


def compile_listener_steps(
    listener: Any, context: FactoryContext, origin: ListenerConfig | None = None
) -> Steps[ListenerConfig]:
    """``compile_listener`` in slices."""
    if listener.HasField("internal_listener"):
        return InternalListenerConfig.compile_steps(listener, context, origin)
    if listener.address.HasField("envoy_internal_address"):
        raise ConfigError(
            f"error adding listener named '{listener.name}': use internal_listener field instead of address for "
            "internal listeners"
        )
    if socket_type(listener.address) == DATAGRAM:
        return UdpListenerConfig.compile_steps(listener, context, origin)
    return ListenerConfig.compile_steps(listener, context, origin)
