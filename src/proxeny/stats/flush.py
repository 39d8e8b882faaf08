"""Flushes the statistics at their interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher
    from proxeny.stats.snapshot import StatsView


class StatsFlusher:
    """Calls StatsView.flush every `stats_flush_interval`, in main (Envoy: InstanceImpl::flushStats)."""

    __slots__ = ("_interval_ms", "_timer", "_view")

    def __init__(self, dispatcher: Dispatcher, view: StatsView) -> None:
        self._view = view
        self._interval_ms = view.settings.flush_interval_ms
        self._timer = dispatcher.create_timer(self._flush)
        self._timer.enable(self._interval_ms)

    def _flush(self) -> None:
        self._timer.enable(self._interval_ms)
        self._view.flush()

    def stop(self) -> None:
        """No further flushes."""
        self._timer.disable()
