"""Main's discovered filter configurations (Envoy: ``FilterConfigProviderManagerImpl``).

``on_change`` and ``on_unused`` hear what the workers must know, before any listener or cluster that depends on it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from proxeny.config.errors import ConfigError
from proxeny.event.file_watcher import FileWatcher
from proxeny.filter_config.provider import FilterConfigProvider
from proxeny.filter_config.subscription import FILTER_CONFIG_TYPE, FilterConfigSubscription
from proxeny.xds.config_source import check_node, is_passed_over
from proxeny.xds.init_manager import InitManager, InitTarget

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher
    from proxeny.filter_config.kinds import FilterBuilder
    from proxeny.network.factory_context import FactoryContext
    from proxeny.stats.store import MainStore
    from proxeny.xds.validation import DynamicValidation


def subscription_key(builder: FilterBuilder, source: Any) -> str:
    """The key of what is discovered for a filter, in main and in workers."""
    digest = hashlib.blake2b(source.SerializeToString(deterministic=True), digest_size=16).hexdigest()
    return f"{builder.kind.name}:{digest}:{builder.name}"


class FilterConfigManager:
    """All of them; without a ``dispatcher`` (validation) nothing is subscribed to."""

    def __init__(
        self, store: MainStore, dispatcher: Dispatcher | None, validation: Callable[[], DynamicValidation]
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._validation = validation
        self._subscriptions: dict[str, FilterConfigSubscription] = {}
        self._watcher: FileWatcher | None = None
        self._closed = False
        self.on_change: Callable[[FilterConfigSubscription], object] = lambda subscription: None
        self.on_unused: Callable[[FilterConfigSubscription], object] = lambda subscription: None

    def subscriptions(self) -> list[FilterConfigSubscription]:
        """Those that filters use, in the order in which they were asked for."""
        return list(self._subscriptions.values())

    def provider(self, discovery: Any, builder: FilterBuilder, context: FactoryContext) -> FilterConfigProvider:
        """See ``FilterConfigs``."""
        source = discovery.config_source
        provider = FilterConfigProvider(discovery, builder)
        is_asked_for = not is_passed_over(source, context.options)
        if is_asked_for:
            check_node(context.local_info.node, FILTER_CONFIG_TYPE)
            assert context.xds is not None
            context.xds.check_source(source)
        provider.check_default()
        if self._dispatcher is None or not is_asked_for:
            provider.begin(None)
            return provider
        subscription = provider.owner = self._subscription(source, builder, context)
        subscription.add(provider)
        manager = context.init_manager or _begun()
        if discovery.apply_default_config_without_warming:
            manager.add(_only_started(subscription))
        else:
            manager.add(subscription.target)
        return provider

    def _subscription(self, source: Any, builder: FilterBuilder, context: FactoryContext) -> FilterConfigSubscription:
        key = subscription_key(builder, source)
        subscription = self._subscriptions.get(key)
        if subscription is None:
            assert context.xds is not None
            subscription = FilterConfigSubscription(key, builder.kind, builder.name, self._unused, self._changed)
            subscription.connect(source, context.xds, self._store, self._validation(), self._file_watcher())
            self._subscriptions[key] = subscription
        return subscription

    def _file_watcher(self) -> FileWatcher:
        if self._watcher is None:
            assert self._dispatcher is not None
            try:
                self._watcher = FileWatcher(self._dispatcher)
            except OSError as error:
                raise ConfigError(f"unable to watch files of filter configurations: {error.strerror}") from None
        return self._watcher

    def _changed(self, subscription: FilterConfigSubscription) -> None:
        self.on_change(subscription)

    def _unused(self, subscription: FilterConfigSubscription) -> None:
        if self._dispatcher is not None and not self._closed:
            # A listener or cluster that is leaving has the workers told so in this turn: they hear of that first.
            self._dispatcher.call_soon(self._drop, subscription)

    def _drop(self, subscription: FilterConfigSubscription) -> None:
        if not subscription.providers() and self._subscriptions.get(subscription.key) is subscription:
            del self._subscriptions[subscription.key]
            subscription.close()
            self.on_unused(subscription)

    def close(self) -> None:
        """The server ends."""
        self._closed = True
        for subscription in self._subscriptions.values():
            subscription.close()
        self._subscriptions.clear()
        if self._watcher is not None:
            self._watcher.close()


def _only_started(subscription: FilterConfigSubscription) -> InitTarget:
    """Starts the subscription, and waits for nothing."""

    def start() -> None:
        subscription.start()
        target.ready()

    target = InitTarget("DynamicFilterConfigProviderImpl", start)
    return target


def _begun() -> InitManager:
    """One that nobody waits for, which starts what it is given."""
    manager = InitManager("")
    manager.initialize(lambda: None)
    return manager
