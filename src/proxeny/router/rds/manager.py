"""Main's discovered routes (Envoy: ``RouteConfigProviderManagerImpl``, ``ScopedRoutesConfigProviderManager``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from proxeny.router.rds.inline_routes import InlineRoutes
from proxeny.router.rds.provider import RouteConfigProvider, ScopedRoutesProvider, ScopeKey, key_of
from proxeny.router.rds.scoped_subscription import Scope, ScopedRdsSubscription
from proxeny.router.rds.static_vhds import StaticVhds
from proxeny.router.rds.subscription import RdsSubscription

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext
    from proxeny.router.rds.route_version import HeldRoutes
    from proxeny.xds.init_manager import InitManager

ScopeRows = list[tuple[list[bytes], str]]
"""Scopes as workers are told of them: their keys, and the keys of their route configurations ("": to be loaded)."""


class RouteConfigProviderManager:
    """One subscription for every ``Rds`` and ``ScopedRds`` message that somebody has; it ends with its last user.

    Workers are told through ``on_change`` of every version that holds, through ``on_unused`` of what goes, and through
    ``on_scopes`` (key of the scopes, keys of those that go, those that are new or changed) of scopes.
    """

    def __init__(self, context: FactoryContext) -> None:
        """``context``: the server's."""
        self._context = context
        self._subscriptions: dict[str, RdsSubscription | StaticVhds] = {}
        self._scoped: dict[str, ScopedRdsSubscription] = {}
        self._inline: dict[str, InlineRoutes] = {}
        self._closed = False
        self.on_change: Callable[[HeldRoutes], object] = lambda routes: None
        self.on_unused: Callable[[HeldRoutes], object] = lambda routes: None
        self.on_scopes: Callable[[str, list[list[bytes]], ScopeRows], object] = lambda key, removed, scopes: None

    def provider(self, rds: Any, stat_prefix: str, init_manager: InitManager | None) -> RouteConfigProvider:
        """The provider of an ``Rds`` message; ConfigError where its source cannot be subscribed to."""
        key = key_of(rds)
        subscription = self._subscriptions.get(key)
        if subscription is None:
            provider = RouteConfigProvider(key, rds.route_config_name, self._unused)
            subscription = self._subscriptions[key] = RdsSubscription(provider, rds, stat_prefix, self)
            self._unused(provider)  # if what asks for it is refused
        subscription.wait_in(init_manager)
        return subscription.provider

    def static_provider(self, config: Any, init_manager: InitManager | None) -> RouteConfigProvider:
        """The provider of a ``RouteConfiguration`` with VHDS that came within a listener; ConfigError."""
        key = key_of(config)
        static = self._subscriptions.get(key)
        if static is None:
            provider = RouteConfigProvider(key, config.name, self._unused)
            static = self._subscriptions[key] = StaticVhds(provider, config, self)
            self._unused(provider)
        static.wait_in(init_manager)
        return static.provider

    def scoped_provider(
        self, scoped_routes: Any, stat_prefix: str, init_manager: InitManager | None
    ) -> ScopedRoutesProvider:
        """The provider of a ``ScopedRoutes`` message with ``scoped_rds``, likewise.

        Of several that differ in anything else than ``scoped_rds`` the first counts, as in Envoy.
        """
        key = key_of(scoped_routes.scoped_rds)
        subscription = self._scoped.get(key)
        if subscription is None:
            provider = ScopedRoutesProvider(key, scoped_routes.name, self._scopes_unused)
            subscription = ScopedRdsSubscription(provider, scoped_routes, stat_prefix, self)
            self._scoped[key] = subscription
            self._scopes_unused(provider)
        subscription.wait_in(init_manager)
        return subscription.provider

    def compile_context(self) -> FactoryContext:
        """What route configurations are compiled with: nothing of a listener."""
        return self._context

    # -- scopes ------------------------------------------------------------------------------------------------

    def scopes_changed(
        self, provider: ScopedRoutesProvider, removed: Sequence[ScopeKey], changed: Iterable[Scope]
    ) -> None:
        """Scopes went, and scopes are new or other than before: in main's own look-up, then in the workers'."""
        rows: ScopeRows = []
        fresh: dict[ScopeKey, RouteConfigProvider] = {}
        for scope in changed:
            routes = scope.provider if scope.inline is None else scope.inline.provider
            rows.append((list(scope.key), "" if routes is None else routes.key))
            fresh[scope.key] = RouteConfigProvider("", scope.message.name) if routes is None else routes
        gone = [key for key in removed if key not in fresh]
        for key in gone:
            provider.scopes.pop(key, None)
        provider.scopes.update(fresh)
        if gone or rows:
            self.on_scopes(provider.key, [list(key) for key in gone], rows)

    def hold_inline(self, routes: InlineRoutes) -> None:
        """The route configuration of a scope holds: workers have it from now on."""
        self._inline[routes.provider.key] = routes
        self.on_change(routes)

    def drop_inline(self, routes: InlineRoutes) -> None:
        """Its scope is gone, or has another one."""
        key = routes.provider.key
        if self._inline.get(key) is routes:
            del self._inline[key]
            self.on_unused(routes)

    # -- the end of providers ----------------------------------------------------------------------------------

    def _unused(self, provider: RouteConfigProvider) -> None:
        """Look whether it is, later in this turn."""
        # A listener that is leaving has the workers told so in this turn: they hear of that first.
        if self._context.dispatcher is not None and not self._closed:
            self._context.dispatcher.call_soon(self._drop, provider)

    def _drop(self, provider: RouteConfigProvider) -> None:
        subscription = self._subscriptions.get(provider.key)
        if provider.is_used or subscription is None or subscription.provider is not provider:
            return
        del self._subscriptions[provider.key]
        subscription.close()
        self.on_unused(subscription)

    def _scopes_unused(self, provider: ScopedRoutesProvider) -> None:
        if self._context.dispatcher is not None and not self._closed:
            self._context.dispatcher.call_soon(self._drop_scopes, provider)

    def _drop_scopes(self, provider: ScopedRoutesProvider) -> None:
        subscription = self._scoped.get(provider.key)
        if provider.is_used or subscription is None or subscription.provider is not provider:
            return
        del self._scoped[provider.key]
        self.on_scopes(provider.key, [list(key) for key in provider.scopes], [])
        subscription.close()

    # -- for others --------------------------------------------------------------------------------------------

    def held(self, key: str) -> Any | None:
        """The ``RouteConfiguration`` that holds for a provider's key; None: nothing has come."""
        routes = self._subscriptions.get(key) or self._inline.get(key)
        version = None if routes is None else routes.version
        return None if version is None else version.message

    def held_scopes_of(self, key: str) -> Mapping[ScopeKey, RouteConfigProvider]:
        """The scopes that hold for a scoped provider's key."""
        return self._scoped[key].provider.scopes if key in self._scoped else {}

    def held_routes(self) -> Iterator[HeldRoutes]:
        """Whatever workers must know before their listeners."""
        yield from self._subscriptions.values()
        yield from self._inline.values()

    def held_scopes(self) -> Iterator[tuple[str, ScopeRows]]:
        """Likewise all scopes, by key."""
        for key, subscription in self._scoped.items():
            scopes = subscription.provider.scopes
            yield key, [(list(scope), routes.key) for scope, routes in scopes.items()]

    def subscriptions(self) -> list[RdsSubscription]:
        """Those to route configurations, in the order in which they were made."""
        return [one for one in self._subscriptions.values() if isinstance(one, RdsSubscription)]

    def scoped_subscriptions(self) -> list[ScopedRdsSubscription]:
        """Those to scopes."""
        return list(self._scoped.values())

    def load(self, key: str, host: str, scope: Sequence[bytes], on_loaded: Callable[[bool], object]) -> None:
        """A request in a worker waits for a virtual host, or for the routes of a scope, of the provider of this key."""
        scoped = self._scoped.get(key)
        if scoped is not None:
            scoped.load(tuple(scope), on_loaded)
        elif key in self._subscriptions:
            self._subscriptions[key].load(host, on_loaded)
        else:
            on_loaded(False)

    def close(self) -> None:
        """The server ends."""
        self._closed = True
        for scoped in self._scoped.values():
            scoped.close()
        for subscription in self._subscriptions.values():
            subscription.close()
        self._scoped.clear()
        self._subscriptions.clear()
