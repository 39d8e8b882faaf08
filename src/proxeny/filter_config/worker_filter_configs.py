"""A worker's discovered filter configurations: by key, what main told of them."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from google.protobuf import any_pb2

from proxeny.config.errors import ConfigError
from proxeny.filter_config.manager import subscription_key
from proxeny.filter_config.provider import FilterConfigProvider

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher
    from proxeny.event.slices import Steps
    from proxeny.filter_config.kinds import FilterBuilder
    from proxeny.network.factory_context import FactoryContext
    from proxeny.stats.store import StatTable, WorkerStore

LOOK_MS: Final = 200
"""How often those that drain are looked after."""

log = logging.getLogger("proxeny.filter")


class _Known:
    """One configuration, and the filters that have it."""

    __slots__ = ("config", "providers", "stats")

    def __init__(self) -> None:
        self.config: Any = None
        self.providers: weakref.WeakSet[FilterConfigProvider] = weakref.WeakSet()
        self.stats: StatTable = {}


class WorkerFilterConfigs:
    """Filters take what main tells by one assignment each; requests that began keep what they had."""

    def __init__(self, store: WorkerStore, dispatcher: Dispatcher, report: Callable[[list[int]], object]) -> None:
        """``report`` gets the serial numbers of those that were dropped and that nothing uses any more."""
        self._store = store
        self._report = report
        self._known: dict[str, _Known] = {}
        self._leaving: dict[int, _Known] = {}
        self._timer = dispatcher.create_timer(self._look)

    def provider(self, discovery: Any, builder: FilterBuilder, context: FactoryContext) -> FilterConfigProvider:
        """See ``FilterConfigs``."""
        provider = FilterConfigProvider(discovery, builder)
        known = self._of(subscription_key(builder, discovery.config_source))
        provider.begin(known.config)
        known.providers.add(provider)
        return provider

    def _of(self, key: str) -> _Known:
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _Known()
        return known

    def set(self, key: str, data: bytes | None, stats: StatTable) -> Steps[None]:
        """Another configuration (a serialized Any; None: it was removed). One step per filter."""
        known = self._of(key)
        fresh = {entry: base for entry, base in stats.items() if entry not in known.stats}
        self._store.install(fresh)
        known.stats.update(fresh)
        config = known.config = None if data is None else any_pb2.Any.FromString(data)
        for provider in list(known.providers):
            try:
                if config is not None:
                    provider.check(config)
                provider.current = provider.prepare(config)
            except ConfigError as error:
                log.error("filter config %s, which main accepted, is refused: %s", provider.name, error)
            yield

    def drop(self, key: str, serial: int) -> None:
        """Nobody uses it any more but what drains, until that is gone."""
        self._leaving[serial] = self._known.pop(key, _Known())
        self._look()

    def _look(self) -> None:
        gone = [serial for serial, known in self._leaving.items() if not known.providers]
        for serial in gone:
            self._store.release(self._leaving.pop(serial).stats)
        if gone:
            self._report(gone)
        if self._leaving:
            self._timer.enable(LOOK_MS)

    def close(self) -> None:
        """The worker ends."""
        self._timer.close()
