"""One filter configuration that is discovered (Envoy: ``FilterConfigSubscription``), for all filters that use it."""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from envoy.config.core.v3 import extension_pb2

from proxeny.config.errors import ConfigError
from proxeny.event.slices import finish
from proxeny.filter_config.provider import FilterConfigProvider
from proxeny.stats.schema import Schema
from proxeny.xds.init_manager import InitTarget
from proxeny.xds.resource import DecodedResource, ResourceDecoder
from proxeny.xds.stats import SubscriptionStats, release_stats
from proxeny.xds.subscription import FailureReason

if TYPE_CHECKING:
    from proxeny.event.file_watcher import FileWatcher
    from proxeny.event.slices import Steps
    from proxeny.filter_config.kinds import FilterKind
    from proxeny.stats.store import MainStore, StatTable
    from proxeny.xds.manager import XdsManager
    from proxeny.xds.validation import DynamicValidation

log = logging.getLogger("proxeny.filter")

DISCOVERY: Final = Schema("extension_config_discovery", counters=("config_conflict", "config_fail", "config_reload"))
"""Beside those of every subscription."""
CONFIG_CONFLICT: Final = DISCOVERY.slot("config_conflict")
CONFIG_FAIL: Final = DISCOVERY.slot("config_fail")
CONFIG_RELOAD: Final = DISCOVERY.slot("config_reload")

MOST_AT_ONCE: Final = 20
"""Filters that take a configuration in one turn of main's loop; more are built in slices."""

FILTER_CONFIG_TYPE: Final = "envoy.config.core.v3.TypedExtensionConfig"


class FilterConfigSubscription:
    """``config`` is the Any that all its filters have; a new one is taken by all of them, or by none."""

    def __init__(
        self,
        key: str,
        kind: FilterKind,
        name: str,
        on_unused: Callable[[FilterConfigSubscription], object],
        on_change: Callable[[FilterConfigSubscription], object],
    ) -> None:
        self.key = key
        self.kind = kind
        self.name = name
        self.config: Any = None
        """None: none came, or it was removed."""
        self.version = ""
        self.updated_at = time.time()
        self.kept: StatTable = {}
        """Blocks of its filters, as long as it lives: what requests count in does not go with a configuration."""
        self.target = InitTarget(f"FilterConfigSubscription init {name}", self.start, shared=True)
        self._on_unused = on_unused
        self._on_change = on_change
        self._providers: set[weakref.ref[FilterConfigProvider]] = set()
        self._started = False
        self._closed = False

    def connect(
        self, source: Any, xds: XdsManager, store: MainStore, validation: DynamicValidation, watcher: FileWatcher
    ) -> None:
        """Make the subscription; ConfigError when ``source`` cannot be subscribed to."""
        self._store = store
        self._prefix = prefix = self.kind.stat_prefix(self.name)
        decoder = ResourceDecoder(extension_pb2.TypedExtensionConfig, "name", validation)
        with store.recording() as self._table:
            self._stats = store.block(DISCOVERY, prefix)
            stats = SubscriptionStats(store, prefix)
        try:
            self._subscription = xds.subscribe(source, self, decoder, stats, watcher)
        except ConfigError:
            release_stats(self._store, self._table, self._prefix)
            raise

    def start(self) -> None:
        """Fetch, if that was not begun."""
        if not self._started:
            self._started = True
            self._subscription.start([self.name])

    def close(self) -> None:
        """Nobody uses it any more. What it ``kept`` is whoever's who had it dropped."""
        self._closed = True
        self._subscription.close()
        release_stats(self._store, self._table, self._prefix)
        self.target.ready()

    # -- its filters -------------------------------------------------------------------------------------------

    def add(self, provider: FilterConfigProvider) -> None:
        """A filter that is to have it; it takes what there is, or its default. ConfigError."""
        self._providers.add(weakref.ref(provider, self._gone))
        if not provider.begin(self.config):
            log.debug("ECDS subscription %s is invalid in a listener context", self.name)
            self._stats.inc(CONFIG_CONFLICT)

    def _gone(self, reference: weakref.ref[FilterConfigProvider]) -> None:
        self._providers.discard(reference)
        if not self._providers:
            self._on_unused(self)

    def providers(self) -> list[FilterConfigProvider]:
        """The filters that are left."""
        return [one for one in [reference() for reference in self._providers] if one is not None]

    def applied(self) -> None:
        """All workers have it."""
        log.debug("Filter config %s worker update complete", self.name)
        if not self._closed:
            self._stats.inc(CONFIG_RELOAD)

    # -- the subscription --------------------------------------------------------------------------------------

    def on_config_update(self, resources: Sequence[DecodedResource], version: str) -> Steps[None] | None:
        """The configuration, alone; ConfigError for another one, or one that some filter cannot have."""
        if len(resources) != 1:
            raise ConfigError(f"Unexpected number of resources in ExtensionConfigDS response: {len(resources)}")
        message, error = resources[0].message, resources[0].error
        if message.name != self.name:
            raise ConfigError(f"Unexpected resource name in ExtensionConfigDS response: {message.name}")
        config = message.typed_config
        if config == self.config:
            return None
        providers = self.providers()
        for provider in providers:
            provider.check_type(config)
        if error is not None:
            raise error
        for provider in providers:
            provider.check(config)
        log.debug("Updated filter config %s accepted, posting to workers", self.name)
        return self._take(config, version, len(providers))

    def on_config_delta(
        self, added: Sequence[DecodedResource], removed: Sequence[str], version: str
    ) -> Steps[None] | None:
        """Likewise; where it was removed the default configuration holds."""
        if self.name in removed:
            log.debug("Removing filter config %s", self.name)
            return self._take(None, "", len(self._providers))
        if added:
            return self.on_config_update(added, added[0].version or version)
        return None

    def on_config_update_failed(self, reason: FailureReason, error: ConfigError | None) -> None:
        """What there was holds."""
        log.debug("Updating filter config %s failed due to %s", self.name, reason.value)
        self._stats.inc(CONFIG_FAIL)
        # Make progress even where the control plane fails for a while, as Envoy does.
        self.target.ready()

    def _take(self, config: Any, version: str, count: int) -> Steps[None] | None:
        steps = self._take_steps(config, version)
        if count > MOST_AT_ONCE:
            return steps
        finish(steps)
        return None

    def _take_steps(self, config: Any, version: str) -> Steps[None]:
        """Build for every filter, then have all take it at once; filters that come meanwhile are among them."""
        built: dict[FilterConfigProvider, Any] = {}
        tables: list[StatTable] = []
        try:
            while waiting := [provider for provider in self.providers() if provider not in built]:
                for provider in waiting:
                    with self._store.recording() as table:
                        built[provider] = provider.prepare(config)
                    tables.append(table)
                    yield
        except BaseException:
            for table in tables:
                self._store.release(table)
            raise
        for provider, factory in built.items():
            provider.current = factory
        for table in tables:
            self._store.release({key: base for key, base in table.items() if key in self.kept})
            self.kept.update(table)
        self.config, self.version, self.updated_at = config, version, time.time()
        self._on_change(self)
        self.target.ready()
