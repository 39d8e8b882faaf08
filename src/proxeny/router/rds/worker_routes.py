"""A worker's discovered route configurations: compiled in slices, exchanged when they are whole."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
from envoy.config.route.v3 import route_pb2

from proxeny.event.slices import discard
from proxeny.router.rds.on_demand import RouteQuestions
from proxeny.router.rds.provider import RouteConfigProvider, ScopedRoutesProvider, ScopeKey, key_of
from proxeny.router.rds.stats_holder import StatsHolder
from proxeny.router.reuse import Digests
from proxeny.router.route_table import RouteTable

if TYPE_CHECKING:
    from proxeny.event.slices import Steps
    from proxeny.network.factory_context import FactoryContext
    from proxeny.stats.store import StatTable, WorkerStore
    from proxeny.xds.init_manager import InitManager

_DECODE_DIGESTS: Final = msgspec.msgpack.Decoder(Digests).decode

log = logging.getLogger("proxeny.router")


class WorkerRoutes:
    """Providers by key. Main says what holds, before any listener that needs it, and when nobody needs it any more."""

    def __init__(
        self,
        context: FactoryContext,
        store: WorkerStore,
        report: Callable[[list[int]], object],
        ask: Callable[[int, str, str, list[bytes]], object],
    ) -> None:
        """``report`` gets the serial numbers of versions whose statistics nobody holds any more; ``ask``: main."""
        self._context = context
        self._store = store
        self._report = report
        self.questions = RouteQuestions(ask)
        self._providers: dict[str, RouteConfigProvider] = {}
        self._scoped: dict[str, ScopedRoutesProvider] = {}
        self._tables: dict[int, StatTable] = {}
        self._released: list[int] = []
        self._closed = False

    def provider(self, rds: Any, stat_prefix: str, init_manager: InitManager | None) -> RouteConfigProvider:
        """The provider of an ``Rds`` message."""
        return self._find(key_of(rds), rds.route_config_name)

    def static_provider(self, config: Any, init_manager: InitManager | None) -> RouteConfigProvider:
        """The provider of a ``RouteConfiguration`` with VHDS."""
        return self._find(key_of(config), config.name)

    def scoped_provider(
        self, scoped_routes: Any, stat_prefix: str, init_manager: InitManager | None
    ) -> ScopedRoutesProvider:
        """The provider of a ``ScopedRoutes`` message."""
        return self._find_scopes(key_of(scoped_routes.scoped_rds))

    def held(self, key: str) -> None:
        """Messages are not kept here."""
        return None

    def held_scopes_of(self, key: str) -> Mapping[ScopeKey, RouteConfigProvider]:
        """The scopes of a key."""
        return self._scoped[key].scopes if key in self._scoped else {}

    def _find(self, key: str, name: str = "") -> RouteConfigProvider:
        found = self._providers.get(key)
        if found is None:
            found = self._providers[key] = RouteConfigProvider(key, name)
            found.asker = self.questions
        return found

    def _find_scopes(self, key: str) -> ScopedRoutesProvider:
        found = self._scoped.get(key)
        if found is None:
            found = self._scoped[key] = ScopedRoutesProvider(key, "")
            found.asker = self.questions
        return found

    # -- messages ----------------------------------------------------------------------------------------------

    def set(self, key: str, serial: int, table: StatTable, data: bytes, digests: bytes = b"") -> Steps[None]:
        """A serialized ``RouteConfiguration`` holds; raises what compiling raises, and then the last one does.

        ``digests``: those of it, serialized, where main sent them along.
        """
        self._store.install(table)
        self._tables[serial] = table
        holder = StatsHolder(serial, self._on_released)
        config = route_pb2.RouteConfiguration.FromString(data)
        yield
        provider = self._find(key)
        provider.name = config.name
        previous = provider.current
        # Main looked for the clusters, where that was asked for.
        known = _DECODE_DIGESTS(digests) if digests else None
        compiled = yield from RouteTable.compile_steps(config, self._context, previous, False, known)
        yield from compiled.hold_steps(holder)
        provider.exchange(compiled)
        if previous is not None and self._context.dispatcher is not None:
            discard(self._context.dispatcher, previous.parts())

    def drop(self, key: str) -> None:
        """No listener has it any more, but those that drain."""
        self._providers.pop(key, None)

    def set_scopes(self, key: str, removed: Iterable[list[bytes]], scopes: Iterable[tuple[list[bytes], str]]) -> None:
        """Scopes went, then scopes came or changed: their keys, and the keys of their routes ("": to be loaded)."""
        provider = self._find_scopes(key)
        for scope in removed:
            provider.scopes.pop(tuple(scope), None)
        for scope, routes in scopes:
            provider.scopes[tuple(scope)] = self._find(routes) if routes else RouteConfigProvider("", "")
        if not provider.scopes and not provider.is_used:
            del self._scoped[key]

    # -- statistics --------------------------------------------------------------------------------------------

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
