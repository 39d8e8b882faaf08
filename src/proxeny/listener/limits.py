"""How many connections a listener, and all listeners together, may have at once; rejections under overload.

Envoy: ``openConnections`` of a listener, ``TcpListenerImpl::rejectCxOverGlobalLimit``. A connection counts from its
accept to its end, wherever it goes meanwhile; the counts hold across workers (kernel/limits.pyx). Limits come from the
runtime and may change at any time: they are read again at the first accept after a change.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from proxeny.config.loader import unpack_any
from proxeny.kernel.limits import ConnectionCounts
from proxeny.kernel.sockets import close_descriptor
from proxeny.listener import stats as s
from proxeny.network.overload_state import GLOBAL_DOWNSTREAM_MAX_CONNECTIONS, TCP_LISTENER_ACCEPT, falls_within

if TYPE_CHECKING:
    from proxeny.kernel.limits import LimitTable
    from proxeny.kernel.stats import Block
    from proxeny.network.factory_context import FactoryContext

log = logging.getLogger("proxeny.config")

GLOBAL_RUNTIME_KEY: Final = "overload.global_downstream_max_connections"
UNLIMITED: Final = 2**63 - 1
OVER_ALL, SHED, OVER_OWN = range(1, 4)
"""What ``ConnectionCounts.acquire`` answers where it refuses."""


def monitored_limit(bootstrap: Any) -> int | None:
    """The maximum of the resource monitor for all downstream connections; None without one."""
    if bootstrap is None:
        return None
    for monitor in bootstrap.overload_manager.resource_monitors:
        if monitor.name == GLOBAL_DOWNSTREAM_MAX_CONNECTIONS:
            # Another type of configuration is refused by the overload manager.
            config: Any = unpack_any(monitor.typed_config)
            return getattr(config, "max_active_downstream_connections", None)
    return None


class LimitsConfig:
    """What a listener's configuration says about limits, and where its connections are counted."""

    __slots__ = ("all_row", "bypasses_overload", "ignores_global", "monitored", "own_key", "own_row", "rejections",
                 "shed")  # fmt: skip

    def __init__(self, listener: Any, context: FactoryContext) -> None:
        is_admin = context.role == "admin"
        self.ignores_global: bool = listener.ignore_global_conn_limit
        self.bypasses_overload: bool = listener.bypass_overload_manager or is_admin
        self.own_key = "" if is_admin else f"envoy.resource_limits.listener.{listener.name}.connection_limit"
        everything = context.stats.block(s.ALL_CONNECTIONS, "")
        monitored = monitored_limit(context.bootstrap)
        self.monitored: int | None = None if self.bypasses_overload else monitored
        self.own_row = -1
        if not is_admin:
            self.own_row = context.stats.block(s.LISTENER_CONNECTIONS, f"listener_connections.{listener.name}.").base
        # The monitor's resource is taken only by who obeys it; without a monitor all connections count.
        counts = monitored is None or (self.monitored is not None and not self.ignores_global)
        self.all_row = everything.base if counts else -1
        self.rejections: Block | None = None
        """The monitor's ``failed_updates``."""
        self.shed: Block | None = None
        if self.monitored is not None:
            prefix = f"overload.{GLOBAL_DOWNSTREAM_MAX_CONNECTIONS}."
            self.rejections = context.stats.block(s.PROACTIVE_RESOURCE, prefix)
        if not self.bypasses_overload and context.bootstrap is not None:
            points = [point.name for point in context.bootstrap.overload_manager.loadshed_points]
            if TCP_LISTENER_ACCEPT in points:
                self.shed = context.stats.block(s.LOAD_SHED_POINT, f"overload.{TCP_LISTENER_ACCEPT}.")
        if context.role == "main":
            self._warn(context, listener.name)

    def _warn(self, context: FactoryContext, name: str) -> None:
        entry = context.runtime.snapshot.entries.get(self.own_key) if context.runtime is not None else None
        if entry is not None and not entry.raw:
            log.warning(
                "Listener connection limit runtime key %s is empty. There are currently no limitations on the number "
                "of accepted connections for listener %s.",
                self.own_key,
                name,
            )


class ConnectionLimits:
    """The limits of one listener in one process. ``counts`` has every connection, limited or not."""

    __slots__ = ("_config", "_overload", "_random", "_runtime", "_seen", "_stats", "_table", "counts")

    def __init__(self, config: LimitsConfig, stats: Block, context: FactoryContext, table: LimitTable) -> None:
        self._config = config
        self._stats = stats
        self._overload = context.overload
        self._random = context.random
        self._runtime = context.runtime
        self._seen: Any = None
        self._table = table
        self.counts = ConnectionCounts(table, config.own_row, config.all_row)
        self._read()

    @property
    def rows(self) -> tuple[int, int]:
        """Where a connection counts: of this listener, of all."""
        return self._config.own_row, self._config.all_row

    def take_over(self, own_row: int, all_row: int) -> None:
        """A connection that counted in these rows, of a listener that is gone, is this one's now."""
        if (own_row, all_row) != self.rows:
            mine = own_row if own_row == self._config.own_row else -1  # another's is gone with it
            ConnectionCounts(self._table, mine, all_row).pass_to(self.counts)

    def refresh(self) -> bool:
        """Once per event: take up changes of the runtime. Whether single connections may be shed (``sheds``)."""
        if self._runtime is not None and self._runtime.snapshot is not self._seen:
            self._read()
        overload = self._overload
        return bool(overload.values) and not self._config.bypasses_overload

    def _read(self) -> None:
        config, counts, runtime = self._config, self.counts, self._runtime
        counts.all_most = config.monitored if config.monitored is not None else UNLIMITED
        if runtime is not None:
            self._seen = runtime.snapshot
            if config.own_key:
                counts.own_most = runtime.get_integer(config.own_key, UNLIMITED)
            if config.monitored is None:
                counts.all_most = runtime.get_integer(GLOBAL_RUNTIME_KEY, UNLIMITED)
        if config.ignores_global:
            counts.all_most = UNLIMITED

    def sheds(self) -> bool:
        """Draw whether this connection is shed: by the load shed point, or as the overload action says."""
        overload = self._overload
        if overload.tcp_listener_accept and falls_within(self._random.random(), overload.tcp_listener_accept):
            if self._config.shed is not None:
                self._config.shed.inc(s.SHED_LOAD_COUNT)
            return True
        fraction = overload.reject_incoming_connections
        return bool(fraction) and falls_within(self._random.random(), fraction)

    def refuse(self, reason: int, fd: int) -> None:
        """Close an accepted socket that may not be, and count why."""
        close_descriptor(fd)
        if reason == OVER_OWN:
            self._stats.inc(s.CX_OVERFLOW)
        elif reason == SHED:
            self._stats.inc(s.CX_OVERLOAD_REJECT)
        else:
            self._stats.inc(s.GLOBAL_CX_OVERFLOW)
            if self._config.rejections is not None:
                self._config.rejections.inc(s.FAILED_UPDATES)
