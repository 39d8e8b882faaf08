"""A listener with ``internal_listener``, compiled: it has no sockets, upstream connections of this proxy come to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError
from proxeny.event.slices import Steps
from proxeny.listener.config import ListenerConfig
from proxeny.listener.listen_address import ListenAddress
from proxeny.network.address import InternalAddress

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext

_OF_TCP: Final = (
    "transparent",
    "freebind",
    "tcp_backlog_size",
    "tcp_fast_open_queue_length",
    "enable_reuse_port",
    "connection_balance_config",
)
"""Fields that Envoy refuses on an internal listener."""


class InternalListenerConfig(ListenerConfig):
    """A compiled internal listener; accepting is ``active_internal_listener``."""

    __slots__ = ()

    def __init__(self, listener: Any) -> None:
        super().__init__(listener)
        self.bind_to_port = False
        # Nothing is handed off from an internal listener: as in Envoy.
        self.hands_off_restored = False
        if not listener.stat_prefix:
            self.stat_prefix = f"listener.envoy_internal_{listener.name}."

    def _compile_addresses(self, listener: Any) -> list[ListenAddress]:
        return [ListenAddress(InternalAddress(listener.name), ())]

    @classmethod
    def compile_steps(
        cls, listener: Any, context: FactoryContext, origin: ListenerConfig | None = None
    ) -> Steps[ListenerConfig]:
        """From the message; ConfigError in Envoy's words."""
        _check(listener, context)
        config = yield from super().compile_steps(listener, context, origin)
        # The client behind such a connection counts at the listener that it came to.
        config.limits.all_row = -1
        return config


def _check(listener: Any, context: FactoryContext) -> None:
    name = listener.name
    if listener.HasField("address") or listener.additional_addresses:
        raise ConfigError(
            f"error adding listener '{name}': address should not be used when an internal listener config is provided"
        )
    if listener.enable_mptcp:
        raise ConfigError(f"listener {name}: enable_mptcp can only be used with IP addresses")
    if listener.socket_options:
        raise ConfigError(f"error adding listener named '{name}': does not support socket option")
    if any(listener.HasField(field) for field in _OF_TCP):
        raise ConfigError(f"error adding listener named '{name}': has unsupported tcp listener feature")
    if not context.internal_listeners.enabled:
        raise ConfigError(f"error adding listener named '{name}': InternalListener bootstrap extension is mandatory")
