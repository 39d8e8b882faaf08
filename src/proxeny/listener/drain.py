"""Whether connections should go (Envoy: ``DrainManagerImpl``): of a whole listener, or of one of its filter chains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext

MODIFY_ONLY = 1
"""``Listener.DrainType.MODIFY_ONLY``: only an update or removal drains, not a failed health check."""
SECOND_NS = 1_000_000_000


class DrainSequence:
    """What began to drain goes bit by bit.

    The chance that a response closes its connection grows by whole seconds and is certain after half of
    ``--drain-time-s`` (gradual: as measured on Envoy 1.40), or at once (immediate).
    """

    __slots__ = ("_context", "_drain_s", "_immediate", "_start_ns")

    def __init__(self, context: FactoryContext) -> None:
        options: Any = context.options
        self._context = context
        self._drain_s = int(getattr(options, "drain_time_s", 600))
        self._immediate = not self._drain_s or getattr(options, "drain_strategy", "gradual") == "immediate"
        self._start_ns = 0

    @property
    def started(self) -> bool:
        """Whether it is on its way out."""
        return self._start_ns > 0

    def start(self) -> None:
        """It was stopped, replaced or removed."""
        if not self._start_ns and self._context.dispatcher is not None:
            self._start_ns = self._context.dispatcher.monotonic_ns()

    def is_due(self) -> bool:
        """Whether it is this connection's turn."""
        if not self._start_ns:
            return False
        if self._immediate:
            return True
        elapsed_s = (self._context.dispatcher.monotonic_ns() - self._start_ns) // SECOND_NS  # type: ignore[union-attr]
        return bool(elapsed_s and self._context.random.random() % self._drain_s < 2 * elapsed_s)


class ListenerDrain(DrainSequence):
    """The drain decision of one generation of a listener."""

    __slots__ = ("_ignores_server", "_state")

    def __init__(self, context: FactoryContext, drain_type: int) -> None:
        super().__init__(context)
        self._state = context.server_state
        self._ignores_server = drain_type == MODIFY_ONLY

    def drain_close(self) -> bool:
        """Whether the connection that asks should close after its response."""
        state = self._state
        if not self._ignores_server and (state.draining or state.health_check_failed):
            return True
        return self.is_due()


class FilterChainDrain(DrainSequence):
    """The drain decision of one filter chain: that of its listener, or its own once an update removed it."""

    __slots__ = ("_listener",)

    def __init__(self, context: FactoryContext, listener: ListenerDrain) -> None:
        super().__init__(context)
        self._listener = listener

    def drain_close(self) -> bool:
        """Whether the connection that asks should close after its response."""
        return self.is_due() or self._listener.drain_close()
