"""Main's discovered route configurations (Envoy: ``RouteConfigProviderManagerImpl``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from proxeny.router.rds.provider import RouteConfigProvider, rds_key
from proxeny.router.rds.subscription import RdsSubscription

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext


class RouteConfigProviderManager:
    """One subscription for every ``Rds`` message that some connection manager has; it ends with its last user.

    Workers are told through ``on_change`` of every version that holds, and through ``on_unused`` of what goes.
    """

    def __init__(self, context: FactoryContext, cluster_names: Callable[[], frozenset[str]] | None = None) -> None:
        """``context``: the server's; ``cluster_names``: what ``validate_clusters`` goes by, static or not."""
        self._context = context
        self.cluster_names = cluster_names
        self._subscriptions: dict[str, RdsSubscription] = {}
        self._closed = False
        self.on_change: Callable[[RdsSubscription], object] = lambda subscription: None
        self.on_unused: Callable[[RdsSubscription], object] = lambda subscription: None

    def provider(self, rds: Any, stat_prefix: str, context: FactoryContext) -> RouteConfigProvider:
        """The provider of an ``Rds`` message; ConfigError where its source cannot be subscribed to."""
        key = rds_key(rds)
        subscription = self._subscriptions.get(key)
        if subscription is None:
            provider = RouteConfigProvider(key, rds.route_config_name, self._on_unused)
            subscription = RdsSubscription(provider, rds, stat_prefix, self)
            self._subscriptions[key] = subscription
        subscription.wait_in(context.init_manager)
        return subscription.provider

    def compile_context(self) -> FactoryContext:
        """What route configurations are compiled with: nothing of a listener."""
        if self.cluster_names is None:
            return self._context
        return replace(self._context, cluster_names=self.cluster_names())

    def changed(self, subscription: RdsSubscription) -> None:
        """Another version holds."""
        self.on_change(subscription)

    def _on_unused(self, provider: RouteConfigProvider) -> None:
        if self._context.dispatcher is None or self._closed:
            return
        # A listener that is leaving has the workers told so in this turn: they hear of that first.
        self._context.dispatcher.call_soon(self._drop, provider)

    def _drop(self, provider: RouteConfigProvider) -> None:
        subscription = self._subscriptions.get(provider.key)
        if provider.is_used or subscription is None or subscription.provider is not provider:
            return
        del self._subscriptions[provider.key]
        subscription.close()
        self.on_unused(subscription)

    # -- for others --------------------------------------------------------------------------------------------

    def held(self, rds: Any) -> Any | None:
        """The ``RouteConfiguration`` that holds; None: nothing has come."""
        subscription = self._subscriptions.get(rds_key(rds))
        version = None if subscription is None else subscription.version
        return None if version is None else version.message

    def subscriptions(self) -> Iterator[RdsSubscription]:
        """All of them, in the order in which they were made."""
        yield from self._subscriptions.values()

    def close(self) -> None:
        """The server ends."""
        self._closed = True
        for subscription in self._subscriptions.values():
            subscription.close()
        self._subscriptions.clear()
