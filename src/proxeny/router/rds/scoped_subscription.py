"""The scopes of a connection manager, discovered (Envoy: ``ScopedRdsConfigSubscription``).

A scope is a key and the name of a route configuration, which is discovered in its turn; one that is loaded on demand is
not asked for before a request wants it. A scope may have its route configuration in itself.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from envoy.config.route.v3 import scoped_route_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2

from proxeny.config.errors import ConfigError
from proxeny.config.loader import LoadOptions
from proxeny.router.rds.inline_routes import InlineRoutes
from proxeny.router.rds.provider import RouteConfigProvider, ScopedRoutesProvider, ScopeKey
from proxeny.router.rds.stats import (
    ACTIVE_SCOPES,
    ALL_SCOPES,
    ON_DEMAND_SCOPES,
    SCOPED_CONFIG_RELOAD,
    SCOPED_CONFIG_RELOAD_TIME_MS,
    SCOPED_RDS,
)
from proxeny.xds.config_source import check_node
from proxeny.xds.init_manager import InitManager, InitTarget
from proxeny.xds.resource import DecodedResource, ResourceDecoder
from proxeny.xds.stats import SubscriptionStats, release_stats
from proxeny.xds.subscription import FailureReason, Subscription
from proxeny.xds.validation import DynamicValidation

if TYPE_CHECKING:
    from proxeny.router.rds.manager import RouteConfigProviderManager
    from proxeny.stats.store import MainStore

log = logging.getLogger("proxeny.config")

ROUTE_TYPE: Final = "envoy.config.route.v3.RouteConfiguration"
_TYPE: Final = "envoy.config.route.v3.ScopedRouteConfiguration"


class Scope:
    """One scope in main. As a user of its provider it keeps the route configuration subscribed to."""

    __slots__ = ("__weakref__", "inline", "key", "message", "provider", "waiting")

    def __init__(self, message: Any) -> None:
        """``message``: ``ScopedRouteConfiguration``."""
        self.message = message
        self.key: ScopeKey = tuple([fragment.string_key.encode() for fragment in message.key.fragments])
        self.provider: RouteConfigProvider | None = None
        """None: its routes are loaded on demand, and nobody asked yet."""
        self.inline: InlineRoutes | None = None
        self.waiting: dict[Callable[[bool], object], None] = {}
        """Who waits for its routes; equal ones are told once."""

    def use_routes(self, table: Any) -> None:
        """Its routes came; whoever waits is told behind them."""
        if table is not None:
            self.tell(True)

    def tell(self, found: bool) -> None:
        """Tell those that wait."""
        waiting, self.waiting = self.waiting, {}
        for on_loaded in waiting:
            on_loaded(found)


class ScopedRdsSubscription:
    """Subscribes to scopes, and to the route configurations that they name."""

    def __init__(
        self, provider: ScopedRoutesProvider, scoped_routes: Any, stat_prefix: str, manager: RouteConfigProviderManager
    ) -> None:
        """``scoped_routes``: a ``ScopedRoutes`` message with ``scoped_rds``; ConfigError as ``RdsSubscription``."""
        context = manager.compile_context()
        assert context.xds is not None
        self.provider = provider
        self.scopes: dict[str, Scope] = {}
        self._by_key: dict[ScopeKey, Scope] = {}
        """The same."""
        self.version_info = ""
        self.last_updated = 0.0
        """Of the last update that changed anything; 0: there was none."""
        self._is_changed = False
        self._leaving: list[Scope] = []
        """Scopes that were removed or replaced, whose routes are not let go of yet."""
        self._manager = manager
        self._xds = context.xds
        self._rds_source = scoped_routes.rds_config_source
        self._store = cast("MainStore", context.stats)
        self._stat_prefix = stat_prefix
        self._prefix = f"{stat_prefix}scoped_rds.{provider.name}."
        self._subscription: Subscription | None = None
        self._init = InitManager("ConfigSubscriptionCommonBase local init manager 'SRDS'")
        self._target = InitTarget("ConfigSubscriptionCommonBase init target 'SRDS'", self._initialize)
        self._own_target = InitTarget("ConfigSubscriptionCommonBase local init target 'SRDS'", self._start)
        self._init.add(self._own_target)
        source = scoped_routes.scoped_rds.scoped_rds_config_source
        if context.local_info.node is not None:
            check_node(context.local_info.node, _TYPE)
        context.xds.check_source(source, _TYPE)
        with self._store.recording() as self._table:
            self._stats = self._store.block(SCOPED_RDS, self._prefix)
            stats = SubscriptionStats(self._store, self._prefix)
            if context.dispatcher is not None:
                validation = context.dynamic_validation or DynamicValidation(LoadOptions())
                decoder = ResourceDecoder(scoped_route_pb2.ScopedRouteConfiguration, "name", validation)
                self._subscription = context.xds.subscribe(source, self, decoder, stats)

    def wait_in(self, init_manager: InitManager | None) -> None:
        """Have a listener wait for the first scopes and their routes."""
        if init_manager is not None:
            init_manager.add(self._target)

    def _initialize(self) -> None:
        self._init.initialize(self._target.ready)

    def _start(self) -> None:
        if self._subscription is not None:
            self._subscription.start()

    def close(self) -> None:
        """Nobody uses it any more."""
        if self._subscription is not None:
            self._subscription.close()
        for scope in self.scopes.values():
            self._drop(scope)
        self.scopes.clear()
        self._by_key.clear()
        self._own_target.ready()
        self._target.ready()
        release_stats(self._store, self._table, self._prefix)

    # -- the subscription --------------------------------------------------------------------------------------

    def on_config_update(self, resources: Sequence[DecodedResource], version: str) -> None:
        """The state of the world; ConfigError, and then only removals took place."""
        self.on_config_delta(resources, list(self.scopes), version)

    def on_config_delta(self, added: Sequence[DecodedResource], removed: Sequence[str], version: str) -> None:
        """Likewise, for what changed."""
        # One request for all route configurations that become wanted.
        with self._xds.pause(ROUTE_TYPE):
            try:
                self._update(added, removed, version)
            except ConfigError as error:
                log.warning("srds: scoped route config '%s' rejected: %s", self.provider.name, error)
                raise
        self._own_target.ready()

    def _update(self, added: Sequence[DecodedResource], removed: Sequence[str], version: str) -> None:
        fresh = [Scope(resource.message) for resource in added]
        self._check_conflicts(fresh, removed)
        self._remove(set(removed).difference(scope.message.name for scope in fresh))
        try:
            for resource in added:
                _check(resource)
            self._add([scope for scope in fresh if not self._is_same(scope)], version)
        finally:
            self._by_key = {scope.key: scope for scope in self.scopes.values()}
            # Only now, since an added scope may have the same routes.
            leaving, self._leaving = self._leaving, []
            while leaving:
                self._drop(leaving.pop())
        self._count()

    def _remove(self, names: Iterable[str]) -> None:
        gone = [self.scopes.pop(name) for name in names if name in self.scopes]
        if gone:
            self._manager.scopes_changed(self.provider, [scope.key for scope in gone], [])
            self._leaving += gone
            self._is_changed = True

    def _add(self, changed: Sequence[Scope], version: str) -> None:
        init = InitManager(f"SRDS {self.provider.name}:{version}") if self._init.is_done else self._init
        self._load_all(changed, init)
        replaced = [self.scopes.pop(name) for scope in changed if (name := scope.message.name) in self.scopes]
        self._leaving += replaced
        self.scopes |= {scope.message.name: scope for scope in changed}
        self._manager.scopes_changed(self.provider, [scope.key for scope in replaced], changed)
        if init is not self._init:
            init.initialize(lambda: None)  # nobody waits for routes of scopes that come later
        if changed or self._is_changed:
            self.version_info, self.last_updated = version, time.time()
            self._is_changed = False

    def _count(self) -> None:
        stats, scopes = self._stats, self.scopes.values()
        stats.set(ALL_SCOPES, len(scopes))
        stats.inc(SCOPED_CONFIG_RELOAD)
        stats.set(SCOPED_CONFIG_RELOAD_TIME_MS, int(time.time() * 1000))
        stats.set(ON_DEMAND_SCOPES, sum(scope.message.on_demand for scope in scopes))
        self._count_active()

    def _count_active(self) -> None:
        self._stats.set(ACTIVE_SCOPES, sum(scope.provider is not None for scope in self.scopes.values()))

    def _check_conflicts(self, fresh: list[Scope], removed: Sequence[str]) -> None:
        names = {scope.message.name for scope in fresh}.union(removed)
        keys = {scope.key: name for name, scope in self.scopes.items() if name not in names}
        seen = set()
        for scope in fresh:
            name = scope.message.name
            words = ""
            if name in seen:
                words = f"duplicate scoped route configuration '{name}' found"
            elif scope.key in keys:
                words = f"scope key conflict found, first scope is '{keys[scope.key]}', second scope is '{name}'"
            if words:
                raise ConfigError(f"Error adding/updating scoped route(s): {words}")
            seen.add(name)
            keys[scope.key] = name

    def _is_same(self, scope: Scope) -> bool:
        known = self.scopes.get(scope.message.name)
        return known is not None and known.message == scope.message

    # -- routes ------------------------------------------------------------------------------------------------

    def _load_all(self, scopes: Sequence[Scope], init: InitManager) -> None:
        """Have the routes of scopes; ConfigError, and then workers have heard of none of them."""
        inline: list[InlineRoutes] = []
        try:
            for scope in scopes:
                self._load(scope, init)
                if scope.inline is not None:
                    inline.append(scope.inline)
        except ConfigError:
            for routes in inline:
                routes.discard()
            raise
        for routes in inline:
            self._manager.hold_inline(routes)

    def _load(self, scope: Scope, init: InitManager) -> None:
        """Have a scope's routes, or wait for a request that wants them."""
        message = scope.message
        if not message.route_configuration_name:
            key = f"{self.provider.key}:{message.name}"
            scope.inline = InlineRoutes(key, message.route_configuration, self._manager.compile_context())
        elif not message.on_demand:
            self._subscribe(scope, init)

    def _subscribe(self, scope: Scope, init: InitManager) -> None:
        rds = http_connection_manager_pb2.Rds(
            config_source=self._rds_source, route_config_name=scope.message.route_configuration_name
        )
        scope.provider = self._manager.provider(rds, self._stat_prefix, init)
        scope.provider.attach(scope)

    def _drop(self, scope: Scope) -> None:
        if scope.inline is not None:
            self._manager.drop_inline(scope.inline)
        scope.tell(False)

    def load(self, key: ScopeKey, on_loaded: Callable[[bool], object]) -> None:
        """A request wants the routes of a scope; ``on_loaded`` hears when they are there, or that there is no scope."""
        scope = self._by_key.get(key)
        if scope is None or scope.inline is not None:
            on_loaded(False)
            return
        if scope.provider is not None and scope.provider.current is not None:
            on_loaded(True)
            return
        scope.waiting[on_loaded] = None
        if scope.provider is not None:
            return
        log.debug("Scope on demand update: %s", scope.message.name)
        init = InitManager("SRDS on demand init manager.")
        self._subscribe(scope, init)
        self._count_active()
        self._manager.scopes_changed(self.provider, [], [scope])
        init.initialize(lambda: None)

    def on_config_update_failed(self, reason: FailureReason, error: ConfigError | None) -> None:
        """The start goes on without, unless it is tried again."""
        if reason is not FailureReason.CONNECTION_FAILURE:
            self._own_target.ready()

    def __repr__(self) -> str:
        return f"<ScopedRdsSubscription {self.provider.name} scopes={len(self.scopes)}>"


def _check(resource: DecodedResource) -> None:
    """ConfigError for a scope that can have no routes."""
    if resource.error is not None:
        raise resource.error
    if not (resource.message.route_configuration_name or resource.message.HasField("route_configuration")):
        raise ConfigError("route_configuration_name is empty.")
