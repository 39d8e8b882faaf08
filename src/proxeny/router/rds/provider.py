"""What connection managers have of discovered routes (Envoy: ``RouteConfigProvider``, ``ConfigProvider``).

A request asks the table of its connection manager's configuration, whether that is discovered or not: an update
exchanges it there, so that nobody asks a provider while requests are served. The tables of scopes are looked up by the
request's key, one step more.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.router.rds.on_demand import Asker, PendingRoutes
    from proxeny.router.route_table import RouteTable
    from proxeny.xds.init_manager import InitManager

ScopeKey = tuple[bytes, ...]


class RoutesUser(Protocol):
    """A connection manager's configuration, which has the provider for as long as it lives."""

    def use_routes(self, table: Any) -> None:
        """Route by this table from now on; None: no request has a route."""


class _Shared:
    """Something that users have in common; ``on_unused`` is called when the last one is gone."""

    __slots__ = ("_on_unused", "_users", "key", "name")

    def __init__(self, key: str, name: str, on_unused: Callable[[Any], object] | None) -> None:
        self.key = key
        self.name = name
        self._on_unused = on_unused
        self._users: set[weakref.ref[RoutesUser]] = set()

    def _add(self, user: RoutesUser) -> None:
        self._users.add(weakref.ref(user, self._gone))

    @property
    def is_used(self) -> bool:
        """Whether anybody has it."""
        return bool(self._users)

    def _gone(self, reference: weakref.ref[RoutesUser]) -> None:
        self._users.discard(reference)
        if not self._users and self._on_unused is not None:
            self._on_unused(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} users={len(self._users)}>"


class RouteConfigProvider(_Shared):
    """The route table of all users of one ``Rds`` message, whose ``route_config_name`` is ``name``."""

    __slots__ = ("asker", "current")

    def __init__(self, key: str, name: str, on_unused: Callable[[RouteConfigProvider], object] | None = None) -> None:
        super().__init__(key, name, on_unused)
        self.current: RouteTable | None = None
        """What holds; None: nothing has come yet."""
        self.asker: Asker | None = None
        """Who asks main for virtual hosts; in workers."""

    def attach(self, user: RoutesUser) -> None:
        """Have a user route by what holds, and by what comes."""
        self._add(user)
        user.use_routes(self.current)

    def exchange(self, table: RouteTable | None) -> None:
        """Another table holds."""
        self.current = table
        for reference in list(self._users):
            user = reference()
            if user is not None:
                user.use_routes(table)

    def request_update(
        self, table: Any, headers: HeaderMap, on_updated: Callable[[bool], object]
    ) -> PendingRoutes | None:
        """Ask for the virtual host of a request that has no route; None: nobody can be asked."""
        current, asker = self.current, self.asker
        if asker is None or current is None or not current.info.uses_vhds:
            return None
        host = (headers.get(b":authority") or b"").lower()
        return asker.ask(self.key, on_updated, host=host.decode("latin-1"))


class ScopedRoutesProvider(_Shared):
    """The scopes of all users of one ``ScopedRds`` message."""

    __slots__ = ("asker", "scopes")

    def __init__(self, key: str, name: str, on_unused: Callable[[ScopedRoutesProvider], object] | None = None) -> None:
        super().__init__(key, name, on_unused)
        self.scopes: dict[ScopeKey, RouteConfigProvider] = {}
        """Changed in place."""
        self.asker: Asker | None = None

    def attach(self, user: RoutesUser) -> None:
        """Somebody looks scopes up here."""
        self._add(user)

    def request_update(
        self, table: Any, headers: HeaderMap, on_updated: Callable[[bool], object]
    ) -> PendingRoutes | None:
        """Ask for the routes of a request's scope, which are loaded on demand; None: there is nothing to load."""
        key = table.key_of(headers)
        scope = None if key is None else self.scopes.get(key)
        if self.asker is None or scope is None or scope.current is not None:
            return None
        return self.asker.ask(self.key, on_updated, scope=list(key))


class RouteConfigProviders(Protocol):
    """What a factory context offers (Envoy: ``RouteConfigProviderManager``)."""

    def provider(self, rds: Any, stat_prefix: str, init_manager: InitManager | None) -> RouteConfigProvider:
        """The provider of an ``Rds`` message, one for all who have the same; ConfigError.

        ``init_manager`` is made to wait for the routes; ``stat_prefix``: ``http.<name>.``.
        """

    def static_provider(self, config: Any, init_manager: InitManager | None) -> RouteConfigProvider:
        """The provider of a ``RouteConfiguration`` with VHDS that came within a listener, likewise."""

    def scoped_provider(
        self, scoped_routes: Any, stat_prefix: str, init_manager: InitManager | None
    ) -> ScopedRoutesProvider:
        """The provider of a ``ScopedRoutes`` message with ``scoped_rds``, likewise."""

    def held(self, key: str) -> Any | None:
        """The ``RouteConfiguration`` that holds for a provider's key; None: nothing has come. Workers keep none."""

    def held_scopes_of(self, key: str) -> Mapping[ScopeKey, RouteConfigProvider]:
        """The scopes that hold for a scoped provider's key."""


def key_of(message: Any) -> str:
    """The key of an ``Rds`` or ``ScopedRds`` message, the same in main and in the workers."""
    data = message.SerializeToString(deterministic=True)
    return hashlib.blake2b(data, digest_size=16, person=message.DESCRIPTOR.name.encode()[:16]).hexdigest()
