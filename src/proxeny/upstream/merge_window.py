"""When load balancing follows what changes of a cluster's hosts (Envoy: ``ClusterManagerImpl::scheduleUpdate``).

What discovery brings is followed at once. A change of hosts' health is too after a while of rest; else it waits until
``update_merge_window`` has passed since, and all changes until then are followed together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from proxeny.upstream.stats import (
    CM_CLUSTER_UPDATED,
    CM_CLUSTER_UPDATED_VIA_MERGE,
    CM_UPDATE_MERGE_CANCELLED,
    CM_UPDATE_OUT_OF_MERGE_WINDOW,
)

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher
    from proxeny.kernel.stats import Block
    from proxeny.kernel.timer import Timer

DEFAULT_MERGE_WINDOW_MS: Final = 1000
"""Cluster.CommonLbConfig.update_merge_window."""


class MergeWindow:
    """That of one cluster. ``on_end`` is called when a window ends within which a change was held back."""

    __slots__ = ("_dispatcher", "_last_ms", "_on_end", "_stats", "_timer", "_window_ms")

    def __init__(self, dispatcher: Dispatcher, stats: Block, window_ms: int, on_end: Callable[[], object]) -> None:
        """``stats``: the block ``cluster_manager.``; ``window_ms``: 0 = nothing is ever held back."""
        self._dispatcher = dispatcher
        self._stats = stats
        self._window_ms = window_ms
        self._on_end = on_end
        self._last_ms: int | None = None
        """When load balancing last followed."""
        self._timer: Timer | None = None

    def force(self, count: int) -> None:
        """So many changes are followed that do not wait: what was held back goes with them."""
        self._stats.add(CM_CLUSTER_UPDATED, count)
        if not self._window_ms:
            return
        if self._timer is not None and self._timer.enabled:
            self._timer.disable()
            self._stats.inc(CM_UPDATE_MERGE_CANCELLED)
        self._last_ms = self._dispatcher.wheel.now_ms

    def admits(self) -> bool:
        """Whether a change of health is followed now; else ``on_end`` is called later."""
        if not self._window_ms:
            self._stats.inc(CM_CLUSTER_UPDATED)
            return True
        if self._timer is not None and self._timer.enabled:
            return False
        now_ms = self._dispatcher.wheel.now_ms
        if self._last_ms is None or now_ms - self._last_ms > self._window_ms:
            self._stats.inc(CM_UPDATE_OUT_OF_MERGE_WINDOW)
            self._stats.inc(CM_CLUSTER_UPDATED)
            self._last_ms = now_ms
            return True
        if self._timer is None:
            self._timer = self._dispatcher.create_timer(self._on_timer)
        self._timer.enable(self._window_ms)
        return False

    def reset(self) -> None:
        """The cluster begins anew: its next change is the first."""
        self._last_ms = None

    def _on_timer(self) -> None:
        self._stats.inc(CM_CLUSTER_UPDATED_VIA_MERGE)
        self._last_ms = self._dispatcher.wheel.now_ms
        self._on_end()

    def close(self) -> None:
        """The cluster goes."""
        if self._timer is not None:
            self._timer.close()
