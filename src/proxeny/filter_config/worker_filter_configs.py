"""A worker's discovered filter configurations: by key, what main told of them."""

from __future__ import annotations

import logging
import weakref
from typing import TYPE_CHECKING, Any

from google.protobuf import any_pb2

from proxeny.config.errors import ConfigError
from proxeny.filter_config.manager import subscription_key
from proxeny.filter_config.provider import FilterConfigProvider

if TYPE_CHECKING:
    from proxeny.event.slices import Steps
    from proxeny.filter_config.kinds import FilterBuilder
    from proxeny.network.factory_context import FactoryContext
    from proxeny.stats.store import StatTable, WorkerStore

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

    def __init__(self, store: WorkerStore) -> None:
        self._store = store
        self._known: dict[str, _Known] = {}

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

    def drop(self, key: str) -> None:
        """Nobody uses it any more."""
        known = self._known.pop(key, None)
        if known is not None:
            self._store.release(known.stats)
