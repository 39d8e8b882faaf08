"""Whether a listener's connections should go (Envoy: ``DrainManagerImpl``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext

MODIFY_ONLY = 1
"""``Listener.DrainType.MODIFY_ONLY``: only an update or removal drains, not a failed health check."""
SCALE = 1 << 32


class ListenerDrain:
    """The drain decision of one generation of a listener.

    Once ``start``ed, the chance that a response closes its connection grows over ``--drain-time-s`` (gradual), or is
    certain at once (immediate).
    """

    __slots__ = ("_context", "_drain_ns", "_ignores_server", "_immediate", "_start_ns", "_state")

    def __init__(self, context: FactoryContext, drain_type: int) -> None:
        options: Any = context.options
        self._context = context
        self._state = context.server_state
        self._ignores_server = drain_type == MODIFY_ONLY
        self._immediate = getattr(options, "drain_strategy", "gradual") == "immediate"
        self._drain_ns = int(getattr(options, "drain_time_s", 600) * 1_000_000_000)
        self._start_ns = 0

    @property
    def started(self) -> bool:
        """Whether the listener is on its way out."""
        return self._start_ns > 0

    def start(self) -> None:
        """The listener was stopped or replaced."""
        if not self._start_ns and self._context.dispatcher is not None:
            self._start_ns = self._context.dispatcher.monotonic_ns()

    def drain_close(self) -> bool:
        """Whether the connection that asks should close after its response."""
        state = self._state
        if not self._ignores_server and (state.draining or state.health_check_failed):
            return True
        if not self._start_ns:
            return False
        if self._immediate or not self._drain_ns:
            return True
        elapsed = self._context.dispatcher.monotonic_ns() - self._start_ns  # type: ignore[union-attr]
        return bool((self._context.random.random() % SCALE) * self._drain_ns < elapsed * SCALE)


class FilterChainDrain:
    """The drain decision of one filter chain: that of its listener, and certain once an update removed the chain."""

    __slots__ = ("_listener", "started")

    def __init__(self, listener: ListenerDrain) -> None:
        self._listener = listener
        self.started = False

    def start(self) -> None:
        """The chain was removed from its listener, which lives on."""
        self.started = True

    def drain_close(self) -> bool:
        """Whether the connection that asks should close after its response."""
        return self.started or self._listener.drain_close()
