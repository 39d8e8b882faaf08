"""A worker's discovered route configurations: compiled in slices, exchanged when they are whole."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from envoy.config.route.v3 import route_pb2

from proxeny.event.slices import discard
from proxeny.router.rds.provider import RouteConfigProvider, rds_key
from proxeny.router.rds.stats_holder import StatsHolder
from proxeny.router.route_table import RouteTable

if TYPE_CHECKING:
    from proxeny.event.slices import Steps
    from proxeny.network.factory_context import FactoryContext
    from proxeny.stats.store import StatTable, WorkerStore

log = logging.getLogger("proxeny.router")


class WorkerRoutes:
    """Providers by key. Main says what holds, before any listener that needs it, and when nobody needs it any more."""

    def __init__(self, context: FactoryContext, store: WorkerStore, report: Callable[[list[int]], object]) -> None:
        """``report`` gets the serial numbers of versions whose statistics nobody holds any more."""
        self._context = context
        self._store = store
        self._report = report
        self._providers: dict[str, RouteConfigProvider] = {}
        self._tables: dict[int, StatTable] = {}
        self._released: list[int] = []
        self._closed = False

    def provider(self, rds: Any, stat_prefix: str, context: FactoryContext) -> RouteConfigProvider:
        """The provider of an ``Rds`` message."""
        return self._find(rds_key(rds), rds.route_config_name)

    def held(self, rds: Any) -> None:
        """Messages are not kept here."""
        return None

    def _find(self, key: str, name: str) -> RouteConfigProvider:
        found = self._providers.get(key)
        if found is None:
            found = self._providers[key] = RouteConfigProvider(key, name)
        return found

    # -- messages ----------------------------------------------------------------------------------------------

    def set(self, key: str, serial: int, table: StatTable, data: bytes) -> Steps[None]:
        """A serialized ``RouteConfiguration`` holds; raises what compiling raises, and then the last one does."""
        self._store.install(table)
        self._tables[serial] = table
        holder = StatsHolder(serial, self._on_released)
        config = route_pb2.RouteConfiguration.FromString(data)
        yield
        provider = self._find(key, config.name)
        previous = provider.current
        # Main looked for the clusters, where that was asked for.
        compiled = yield from RouteTable.compile_steps(config, self._context, previous, False)
        yield from compiled.hold_steps(holder)
        provider.exchange(compiled)
        if previous is not None and self._context.dispatcher is not None:
            discard(self._context.dispatcher, previous.parts())

    def drop(self, key: str) -> None:
        """No listener has it any more, but those that drain."""
        self._providers.pop(key, None)

    def _on_released(self, serial: int) -> None:
        # Wherever the last reference went: in the middle of a request, or of another update.
        if self._closed or self._context.dispatcher is None:
            return
        if not self._released:
            self._context.dispatcher.call_soon(self._release)
        self._released.append(serial)

    def _release(self) -> None:
        serials, self._released = self._released, []
        for serial in serials:
            self._store.release(self._tables.pop(serial))
        self._report(serials)

    def close(self) -> None:
        """The worker ends: nobody is told any more."""
        self._closed = True
